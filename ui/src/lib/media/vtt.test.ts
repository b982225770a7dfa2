import { describe, expect, it } from 'vitest';
import { cueAt, parseVtt } from './vtt';

const SAMPLE = `\uFEFFWEBVTT - a lecture\r
\r
NOTE nobody reads this\r
\r
STYLE
::cue { color: red }

intro
00:00.000 --> 00:02.500 align:start
<v Amina>When the river &amp; the sea meet</v>

00:00:02.500 --> 01:00:04.000
it slows,
<i>and settles</i>

00:09.000 --> 00:08.000
backwards

99:99.000 --> 00:08.000
rubbish
`;

describe('parseVtt', () => {
  it('reads times with and without hours, drops tags, notes, styles and impossible cues', () => {
    expect(parseVtt(SAMPLE)).toEqual([
      { startMs: 0, endMs: 2500, text: 'When the river & the sea meet' },
      { startMs: 2500, endMs: 3_604_000, text: 'it slows, and settles' },
    ]);
  });

  it('finds nothing in what is not WebVTT', () => {
    expect(parseVtt('<!doctype html>')).toEqual([]);
    expect(parseVtt('')).toEqual([]);
  });
});

describe('cueAt', () => {
  const cues = [10, 20, 30].map((startMs) => ({ startMs, endMs: startMs + 5, text: 'x' }));

  it('is the last cue that has begun', () => {
    expect([0, 10, 19, 20, 29, 30, 1000].map((ms) => cueAt(cues, ms))).toEqual([-1, 0, 0, 1, 1, 2, 2]);
    expect(cueAt([], 5)).toBe(-1);
  });
});
