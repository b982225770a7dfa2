import { describe, expect, it } from 'vitest';
import { matches } from './search';

describe('matches', () => {
  it('finds words anywhere, without case, accents and vowel signs', () => {
    expect(matches('', ['anything'])).toBe(true);
    expect(matches('RIV land', ['How rivers shape the land'])).toBe(true);
    expect(matches('rivers geo', ['How rivers', 'Geography'])).toBe(true);
    expect(matches('resume', ['Le résumé'])).toBe(true);
    expect(matches('الاصوات', ['الأَصوات والحروف'])).toBe(true);
    expect(matches('sea', ['How rivers shape the land'])).toBe(false);
  });
});
