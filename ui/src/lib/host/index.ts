/** Which host this page has. Decided once: a page never changes its host. */
import { httpHost } from './http';
import type { Host } from './host';
import { tauriHost } from './tauri';

export { asFailure, HostFailure, type Host, type Rows } from './host';

export const host: Host = '__TAURI_INTERNALS__' in window ? tauriHost() : httpHost();
