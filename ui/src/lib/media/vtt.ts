/** Reads WebVTT far enough for a transcript: cues with times and plain text. Styling, regions and notes are left out. */

export interface Cue {
  startMs: number;
  endMs: number;
  text: string;
}

const TIMING =
  /^(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})\s+-->\s+(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})/;
const ENTITIES: Record<string, string> = {
  amp: '&',
  lt: '<',
  gt: '>',
  nbsp: '\u00a0',
  lrm: '\u200e',
  rlm: '\u200f',
};

/** The cues in order of time; what isn't WebVTT gives none. */
export function parseVtt(source: string): Cue[] {
  const text = source.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');
  if (!/^WEBVTT(?:[ \t\n]|$)/.test(text)) return [];
  const cues: Cue[] = [];
  for (const block of text.split(/\n{2,}/)) {
    const lines = block.split('\n').filter((line) => line !== '');
    const at = lines.findIndex((line) => line.includes('-->'));
    const timing = TIMING.exec(lines[at]?.trim() ?? '');
    if (!timing) continue;
    const words = plain(lines.slice(at + 1).join(' '));
    const [startMs, endMs] = [time(timing.slice(1, 5)), time(timing.slice(5, 9))];
    if (words !== '' && endMs > startMs) cues.push({ startMs, endMs, text: words });
  }
  return cues.sort((a, b) => a.startMs - b.startMs);
}

/** Index of the cue that is spoken at a moment: the last that has begun; -1 before the first. */
export function cueAt(cues: readonly Cue[], ms: number): number {
  let low = 0;
  let high = cues.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cues[middle]?.startMs ?? 0) <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function time(parts: (string | undefined)[]): number {
  const [hours, minutes, seconds, ms] = parts.map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms;
}

function plain(text: string): string {
  return text
    .replace(/<[^>]*>/g, '')
    .replace(/&([a-z]+);/g, (whole, name: string) => ENTITIES[name] ?? whole)
    .trim();
}
