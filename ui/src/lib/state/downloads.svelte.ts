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
    this.#patchAll([download]);
  }

  /** Puts several in their places: a queue of 10,000 is gone through once, and sorted only where an order changed. */
  #patchAll(changed: DownloadView[], removed: readonly string[] = []): void {
    const fresh: Record<string, DownloadView> = {};
    for (const download of changed) fresh[download.id] = download;
    const gone = new Set(removed);
    const added: DownloadView[] = [];
    const here = new Set(this.list.map((one) => one.id));
    let moved = false;
    const list: DownloadView[] = [];
    for (const one of this.list) {
      if (gone.has(one.id)) continue;
      const now = fresh[one.id];
      if (now && inOrder(one, now) !== 0) moved = true;
      list.push(now ?? one);
    }
    for (const download of changed) if (!here.has(download.id)) added.push(download);
    list.push(...added);
    if (moved || added.length > 0) list.sort(inOrder);
    this.list = list;
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
        const before = new Map(this.list.map((one) => [one.id, one]));
        this.#patchAll(event.changed, event.removed);
        let changed = event.removed.length > 0;
        for (const download of event.changed) {
          const was = before.get(download.id);
          if (was?.state !== download.state) changed = true;
          this.#announce(was, download);
        }
        // Lists elsewhere show its state as well.
        if (changed) app.revision.catalogue += 1;
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

/** The order of the queue, as the engine has it: what is over comes last, then priority, then place. */
function inOrder(one: DownloadView, other: DownloadView): number {
  return (
    Number(isOver(one)) - Number(isOver(other)) ||
    other.priority - one.priority ||
    one.position - other.position ||
    (one.id < other.id ? -1 : Number(one.id > other.id))
  );
}

function isOver({ state }: DownloadView): boolean {
  return state === 'completed' || state === 'cancelled' || state === 'expired';
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
