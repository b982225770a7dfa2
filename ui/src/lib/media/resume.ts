/** Where to go on: a few seconds earlier than one stopped, to find the thread again; from the start when it was over. */
const REWIND_MS = 3_000;
const OVER_MS = 3_000;

export function resumeAt(positionMs: number, durationMs: number): number {
  if (durationMs > 0 && positionMs >= durationMs - OVER_MS) return 0;
  return Math.max(0, positionMs - REWIND_MS);
}
