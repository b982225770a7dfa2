/** Days by the local calendar, for what is shown day by day. Pure. */

/** Where the last `count` days begin, and where today ends. A day has 23 or 25 hours where the clocks change. */
export function dayEdges(now: number, count: number): string[] {
  const edges: string[] = [];
  for (let back = count - 1; back >= -1; back--) {
    const day = new Date(now);
    day.setHours(0, 0, 0, 0);
    day.setDate(day.getDate() - back);
    edges.push(day.toISOString());
  }
  return edges;
}
