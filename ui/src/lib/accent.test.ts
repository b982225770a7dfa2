import { describe, expect, it } from 'vitest';
import { accentColours, contrast, parse } from './accent';

const colours = ['#ffff00', '#1f5f5b', '#d9784f', '#000000', '#ffffff', '#46548f', 'nonsense'];

describe('accentColours', () => {
  it.each(colours)('makes %s readable on paper, and its ink readable on it, in both themes', (colour) => {
    for (const dark of [false, true]) {
      const made = accentColours(colour, dark);
      const accent = parse(made.accent)!;
      expect(contrast(accent, parse(dark ? '#1f1e1b' : '#ffffff')!)).toBeGreaterThanOrEqual(4.5);
      expect(contrast(accent, parse(made.soft)!)).toBeGreaterThanOrEqual(3);
      expect(contrast(accent, parse(made.ink)!)).toBeGreaterThanOrEqual(4.5);
    }
  });

  it('leaves a colour that is readable as it is', () => {
    expect(accentColours('#1f5f5b', false).accent).toBe('#1f5f5b');
  });
});
