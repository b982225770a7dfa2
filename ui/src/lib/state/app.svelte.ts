/** What every screen knows: who learns, network and sync, choices, and what has changed since it was read. */
import type { AppView } from '../api/types/AppView';
import type { DeviceView } from '../api/types/DeviceView';
import type { EngineEvent } from '../api/types/EngineEvent';
import type { Settings } from '../api/types/Settings';
import type { SyncView } from '../api/types/SyncView';
import { asFailure, host, type HostFailure } from '../host';
import { i18n, pickLanguage } from '../i18n/index.svelte';
import { forgetLoaded } from './loaded.svelte';

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');

class App {
  view = $state.raw<AppView | null>(null);
  sync = $state.raw<SyncView | null>(null);
  /** What the platform says of link and power. */
  device = $state.raw<DeviceView | null>(null);
  settings = $state.raw<Settings | null>(null);
  /** Why not even the state could be read (the host is gone). */
  failure = $state.raw<HostFailure | null>(null);
  /** Go up when screens should read again. */
  revision = $state({ catalogue: 0, learning: 0, storage: 0 });
  /** The time, to the half minute: enough for "today" and "about 5 minutes". */
  now = $state(Date.now());
  /** The width in pixels at a text size of 100 %: twice the text is half the room. */
  room = $state(window.innerWidth);
  #systemDark = $state(systemDark.matches);

  dark = $derived(this.settings?.theme === 'dark' || (this.settings?.theme !== 'light' && this.#systemDark));
  layout: 'rail' | 'tabs' = $derived(this.room >= 860 ? 'rail' : 'tabs');
  current = $derived(this.view?.current ?? null);
  profiles = $derived(this.view?.profiles ?? []);
  online = $derived(this.sync?.network === 'online');

  /** Starts what goes on by itself: clock, theme and width. */
  start(): void {
    setInterval(() => (this.now = Date.now()), 30_000);
    systemDark.addEventListener('change', (event) => (this.#systemDark = event.matches));
    window.addEventListener('resize', () => this.#measure());
  }

  async load(): Promise<void> {
    try {
      await this.take(await host.commands.app.state());
    } catch (thrown) {
      this.failure = asFailure(thrown);
      await i18n.use(pickLanguage(this.settings?.language ?? null, navigator.languages));
    }
  }

  /** Tries to open the store again. */
  async reopen(): Promise<void> {
    try {
      await this.take(await host.commands.app.reopen());
    } catch (thrown) {
      this.failure = asFailure(thrown);
    }
  }

  async take(view: AppView): Promise<void> {
    if (this.view?.current?.id !== view.current?.id) forgetLoaded();
    await this.#apply(view.settings);
    this.failure = null;
    this.sync = view.sync;
    this.device = view.device;
    this.view = view;
  }

  /** Keeps choices: they show at once, and come back when they can't be kept. */
  async choose(change: Partial<Settings>): Promise<void> {
    if (!this.settings) return;
    const before = this.settings;
    await this.#apply({ ...before, ...change });
    try {
      await this.#apply(await host.commands.settings.set({ ...before, ...change }));
    } catch (thrown) {
      await this.#apply(before);
      throw thrown;
    }
  }

  handle(event: EngineEvent): void {
    switch (event.kind) {
      case 'sync':
        if (event.profile_id === null || event.profile_id === this.current?.id) this.sync = event.sync;
        break;
      case 'device':
        this.device = event.device;
        break;
      case 'catalogue':
      case 'learning':
        if (event.profile_id === this.current?.id) this.revision[event.kind] += 1;
        break;
      case 'storage':
        this.revision.storage += 1;
        break;
      case 'profiles':
        void this.load();
        break;
      case 'resync':
        void this.load();
        this.revision.catalogue += 1;
        this.revision.learning += 1;
        this.revision.storage += 1;
        break;
      default:
        break;
    }
  }

  async #apply(settings: Settings): Promise<void> {
    const language = pickLanguage(settings.language, navigator.languages);
    await i18n.use(language);
    const root = document.documentElement;
    if (settings.theme === 'system') delete root.dataset['theme'];
    else root.dataset['theme'] = settings.theme;
    root.style.fontSize = `${settings.text_percent}%`;
    this.settings = settings;
    this.#measure();
  }

  #measure(): void {
    this.room = window.innerWidth / ((this.settings?.text_percent ?? 100) / 100);
  }
}

export const app = new App();
