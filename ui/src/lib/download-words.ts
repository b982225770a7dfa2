/** The line of facts about a download, the same wherever it is shown. */
import type { DownloadView } from './api/types/DownloadView';
import { i18n } from './i18n/index.svelte';
import { asksAboutNetwork } from './let-run';
import { errorBody } from './error-words';

/** "12 of 40 MB". */
export function sizeFacts(download: DownloadView): string {
  const [done, total] = i18n.formats.bytesOf(download.bytes_done, download.bytes_total);
  return download.state === 'completed'
    ? i18n.formats.bytes(download.bytes_total)
    : i18n.t.app.of(done, total);
}

/** "about 2 minutes", while it runs. */
export function timeLeft(download: DownloadView): string | null {
  if (download.state !== 'downloading' || download.seconds_left === null) return null;
  return i18n.formats.duration(download.seconds_left * 1000);
}

/** For `aria-valuetext`: "12 of 40 MB, about 2 minutes left". */
export function progressText(download: DownloadView): string {
  const [done, total] = i18n.formats.bytesOf(download.bytes_done, download.bytes_total);
  const left = timeLeft(download);
  return i18n.t.progressText(done, total, left);
}

/** One sentence of cause for what waits or failed. */
export function cause(download: DownloadView): string | null {
  if (download.state === 'failed' && download.error) {
    return errorBody({ code: download.error, message: '', retryable: true, details: null });
  }
  if (download.state === 'paused') return i18n.t.downloads.pausedBody;
  if (download.state === 'expired') return i18n.t.downloads.expiredBody;
  if (download.state === 'pending' && asksAboutNetwork(download)) return i18n.t.waitAsks;
  if (download.state === 'pending' && download.wait_reason) return i18n.t.waitCause[download.wait_reason];
  return null;
}

/** 0–100. */
export function percent(download: DownloadView): number {
  return download.bytes_total === 0 ? 0 : Math.min(100, (download.bytes_done / download.bytes_total) * 100);
}
