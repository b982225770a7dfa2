import { describe, expect, it } from 'vitest';
import { dayEdges } from './days';

describe('days', () => {
  it('begin at midnight here, in their order, and today is the last', () => {
    const now = new Date(2026, 10, 20, 15, 30).getTime();
    const edges = dayEdges(now, 7).map((edge) => new Date(edge));
    expect(edges).toHaveLength(8);
    expect(edges.every((edge) => edge.getHours() === 0 && edge.getMinutes() === 0)).toBe(true);
    expect(edges.map((edge) => edge.getDate())).toEqual([14, 15, 16, 17, 18, 19, 20, 21]);
  });
  it('are all there across the end of a month and a change of clocks', () => {
    const edges = dayEdges(new Date(2026, 3, 10, 0, 0, 1).getTime(), 90);
    expect(edges).toHaveLength(91);
    expect(new Set(edges.map((edge) => new Date(edge).toDateString())).size).toBe(91);
    expect([...edges].sort()).toEqual(edges);
  });
});
