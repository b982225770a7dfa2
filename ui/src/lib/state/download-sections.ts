/** Where a download belongs on the screen, and what is worth saying about it. Pure. */
import type { DownloadView } from '../api/types/DownloadView';

export type Section = 'running' | 'waiting' | 'needs-you' | 'finished';

/** What only a person can end is "needs you"; what ends by itself is "waiting". */
export function section(download: Pick<DownloadView, 'state' | 'wait_reason'>): Section {
  switch (download.state) {
    case 'downloading':
    case 'verifying':
      return 'running';
    case 'pending':
      return download.wait_reason === 'sign_in' || download.wait_reason === 'space' ? 'needs-you' : 'waiting';
    case 'paused':
      return 'waiting';
    case 'failed':
    case 'expired':
      return 'needs-you';
    case 'completed':
    case 'cancelled':
      return 'finished';
  }
}

type Moment = Pick<DownloadView, 'state' | 'bytes_done' | 'bytes_total'>;

/** What was reached between two looks: the start, a quarter (25, 50, 75), the end; none: nothing worth a word. */
export function milestone(
  before: Moment | undefined,
  now: Moment,
): 'start' | 25 | 50 | 75 | 'ready' | 'failed' | null {
  if (before?.state !== now.state) {
    if (now.state === 'downloading' && (before === undefined || before.state === 'pending')) return 'start';
    if (now.state === 'completed' && before !== undefined) return 'ready';
    if (now.state === 'failed') return 'failed';
  }
  if (!before || now.state !== 'downloading') return null;
  const [from, to] = [quarter(before), quarter(now)];
  return to !== 0 && to > from ? to : null;
}

function quarter({ bytes_done, bytes_total }: Moment): 25 | 50 | 75 | 0 {
  const share = bytes_total > 0 ? bytes_done / bytes_total : 0;
  if (share >= 0.75) return 75;
  if (share >= 0.5) return 50;
  return share >= 0.25 ? 25 : 0;
}
