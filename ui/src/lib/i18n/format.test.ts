import { describe, expect, it } from 'vitest';
import { Formats } from './format';

const en = new Formats('en-GB', 'en');
const ar = new Formats('ar-u-nu-arab');
const now = new Date(2026, 10, 20, 12, 30).getTime();

describe('sizes', () => {
  it('use decimal units and no more digits than help', () => {
    expect([0, 999, 1_000, 184_300_000, 3_240_000_000].map((bytes) => en.bytes(bytes))).toEqual([
      '0 kB',
      '1 kB',
      '1 kB',
      '184 MB',
      '3.2 GB',
    ]);
  });

  it('never say 1,000 of a unit', () => {
    expect(en.bytes(999_999)).toBe('1 MB');
  });

  it('share a unit in "of"', () => {
    expect(en.bytesOf(12_100_000, 40_000_000)).toEqual(['12', '40 MB']);
    expect(en.bytesOf(500_000, 4_000_000)).toEqual(['0.5', '4 MB']);
  });

  it('are in Arabic digits in Arabic', () => {
    expect(ar.bytes(415_000_000)).toMatch(/^\u200f?٤١٥/);
    expect(ar.speed(1_400_000)).toContain('١٫٤');
  });
});

describe('times', () => {
  it('are like a clock for playing', () => {
    expect([0, 59_999, 760_000, 3_723_000, -5].map((ms) => en.clock(ms))).toEqual([
      '0:00',
      '0:59',
      '12:40',
      '1:02:03',
      '0:00',
    ]);
  });

  it('are lengths for planning', () => {
    expect(en.duration(25_000)).toBe('25 sec');
    expect(en.duration(31 * 60_000)).toBe('31 min');
    expect(en.duration(380 * 60_000)).toBe('6 hr 20 min');
  });

  it('name near days by word and weekday, far ones by date', () => {
    const day = (back: number) => en.nearDay(now - back * 86_400_000, now);
    expect([day(0), day(1), day(4), day(30), day(400)]).toEqual([
      'today',
      'yesterday',
      'Monday',
      '21 Oct',
      '16 Oct 2025',
    ]);
  });
});

describe('plurals', () => {
  it('put the number where the words want it', () => {
    expect(en.plural(1, { one: '# unit', other: '# units' })).toBe('1 unit');
    expect(en.plural(1200, { one: '# unit', other: '# units' })).toBe('1,200 units');
  });
});
