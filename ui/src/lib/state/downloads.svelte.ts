/** The queue as it is now: read once, then patched by events; milestones are said aloud. */
import type { Availability } from '../api/types/Availability';
import type { DownloadView } from '../api/types/DownloadView';
import type { EngineEvent } from '../api/types/EngineEvent';
import type { OfflineState } from '../api/types/OfflineState';
import { asFailure, host, type HostFailure } from '../host';
import { i18n } from '../i18n/index.svelte';
import { announcer } from './announcer.svelte';
import { app } from './app.svelte';
import { milestone, section } from './download-sections';

class Downloads {
  list = $state.raw<DownloadView[]>([]);
  failure = $state.raw<HostFailure | null>(null);
  loaded = $state(false);
  /** What the badge counts: everything that isn't over. */
  count = $derived(this.list.filter((download) => section(download) !== 'finished').length);
  #reading = false;
  #again = false;

  async reload(): Promise<void> {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    try {
      do {
        this.#again = false;
        this.take((await host.commands.downloads.list()).downloads);
      } while (this.#again);
    } catch (thrown) {
      this.failure = asFailure(thrown);
    } finally {
      this.#reading = false;
    }
  }

  take(list: DownloadView[]): void {
    this.list = list;
    this.failure = null;
    this.loaded = true;
  }

  /** Puts one in its place. */
  patch(download: DownloadView): void {
    const at = this.list.findIndex((one) => one.id === download.id);
    if (at < 0) this.list = [...this.list, download];
    else this.list = this.list.with(at, download);
  }

  forget(): void {
    this.list = [];
    this.loaded = false;
  }

  /** The download of a whole unit that is under way or waits for somebody. */
  ofUnit(unitId: string): DownloadView | null {
    return this.list.find((one) => one.unit_id === unitId && one.lesson_id === null && live(one)) ?? null;
  }

  /** The state of a unit with what events have said since it was read. */
  stateOf(unitId: string, read: OfflineState): OfflineState {
    const download = this.ofUnit(unitId);
    if (!download) return read;
    return {
      availability: availability(download),
      wait_reason: download.wait_reason,
      error: download.error,
      percent:
        download.bytes_total === 0 ? 0 : Math.floor((download.bytes_done / download.bytes_total) * 100),
      download_id: download.id,
    };
  }

  handle(event: EngineEvent): void {
    switch (event.kind) {
      case 'downloads': {
        if (event.profile_id !== app.current?.id) return;
        let order = event.removed.length > 0;
        for (const download of event.changed) {
          const before = this.list.find((one) => one.id === download.id);
          this.patch(download);
          if (before?.state !== download.state || before.priority !== download.priority) order = true;
          this.#announce(before, download);
        }
        if (event.removed.length > 0) this.list = this.list.filter((one) => !event.removed.includes(one.id));
        if (order) {
          // An event says what a download is, not where it stands; and lists elsewhere show its state as well.
          void this.reload();
          app.revision.catalogue += 1;
        }
        break;
      }
      case 'download_ended':
        if (event.profile_id === app.current?.id) {
          this.patch(event.download);
          app.revision.catalogue += 1;
        }
        break;
      case 'resync':
        void this.reload();
        break;
      default:
        break;
    }
  }

  #announce(before: DownloadView | undefined, now: DownloadView): void {
    const words = i18n.t.downloads;
    const reached = milestone(before, now);
    if (reached === null) return;
    if (reached === 'start') announcer.say(words.announceStart(now.title));
    else if (reached === 'ready') announcer.say(words.announceReady(now.title));
    else if (reached === 'failed') announcer.say(words.announceFailed(now.title));
    else announcer.say(words.announcePart(now.title, i18n.formats.percent(reached)));
  }
}

function live(download: DownloadView): boolean {
  return download.state !== 'completed' && download.state !== 'cancelled';
}

/** The word for a download that is not over. */
export function availability(download: DownloadView): Availability {
  switch (download.state) {
    case 'pending':
      return download.wait_reason === null ? 'queued' : 'waiting';
    case 'downloading':
      return 'downloading';
    case 'verifying':
      return 'checking';
    case 'completed':
      return 'ready_offline';
    case 'paused':
      return 'paused';
    case 'failed':
      return 'failed';
    case 'expired':
      return 'expired';
    case 'cancelled':
      return 'not_downloaded';
  }
}

export const downloads = new Downloads();
