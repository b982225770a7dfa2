import { describe, expect, it } from 'vitest';
import { moved, orderShown, plainNumber } from './quiz';

describe('plainNumber', () => {
  it.each([
    ['12', '12'],
    [' 1 250,5 ', '1250.5'],
    ['٣٫٥', '3.5'],
    ['−4', '-4'],
    ['+7.', '7'],
    ['.5', '.5'],
  ])('reads %o as %o', (typed, plain) => expect(plainNumber(typed)).toBe(plain));

  it.each(['', 'twelve', '1e5', '1.2.3', '-', '0x10'])('takes %o for no number', (typed) =>
    expect(plainNumber(typed)).toBeNull(),
  );
});

describe('orderShown', () => {
  const body = {
    kind: 'order' as const,
    options: ['a', 'b', 'c'].map((id) => ({ id, text: id })),
    correct: ['a', 'b', 'c'],
  };

  it('is the answered order, completed with what the answer lacks', () => {
    expect(orderShown(body, null)).toEqual(['a', 'b', 'c']);
    expect(orderShown(body, { kind: 'order', options: ['c', 'gone', 'a'] })).toEqual(['c', 'a', 'b']);
  });
});

describe('moved', () => {
  it('puts one entry in another place', () => {
    expect(moved(['a', 'b', 'c'], 0, 2)).toEqual(['b', 'c', 'a']);
    expect(moved(['a', 'b', 'c'], 2, 1)).toEqual(['a', 'c', 'b']);
    expect(moved(['a'], 5, 0)).toEqual(['a']);
  });
});
