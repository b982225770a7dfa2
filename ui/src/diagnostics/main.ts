/** The diagnostics window: for developers and whoever helps, in English only like the logs. */
import { mount } from 'svelte';
import Diagnostics from './Diagnostics.svelte';
import '../styles/tokens.css';
import '../styles/fonts.css';
import '../styles/parts.css';

const target = document.getElementById('app');
if (!target) throw new Error('diagnostics.html has no #app');
mount(Diagnostics, { target });
