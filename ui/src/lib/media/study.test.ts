import { describe, expect, it } from 'vitest';
import type { RecordStudy } from '../api/types/RecordStudy';
import { PLAYING_GAP_MS, READING_GAP_MS, StudyClock } from './study';

function clock(gapMs: number) {
  const said: RecordStudy[] = [];
  const time = { now: 1_000, fails: false };
  const study = new StudyClock('lesson', gapMs, {
    study: (request) => {
      if (time.fails) return Promise.reject(new Error('full disk'));
      said.push(request);
      return Promise.resolve({ session_id: 'opening', started_at: '2026-11-20T10:00:00.000Z' });
    },
    now: () => time.now,
  });
  async function play(seconds: number) {
    for (let at = 0; at < seconds; at++) {
      time.now += 1_000;
      study.moved();
      await Promise.resolve();
    }
    await new Promise((done) => setTimeout(done));
  }
  return { study, said, time, play };
}

const settled = () => new Promise((done) => setTimeout(done));

describe('the time with a lesson', () => {
  it('counts what plays and not the pauses', async () => {
    const { study, said, time, play } = clock(PLAYING_GAP_MS);
    await play(30);
    study.stopped();
    await settled();
    expect(said.map((one) => one.active_ms)).toEqual([30_000]);
    time.now += 3_600_000;
    await play(30);
    study.stopped();
    await settled();
    expect(said.at(-1)?.active_ms).toBe(60_000 - 1_000 + PLAYING_GAP_MS);
  });

  it('reports each minute, as one opening', async () => {
    const { said, play } = clock(PLAYING_GAP_MS);
    await play(190);
    expect(said.map((one) => one.active_ms)).toEqual([60_000, 120_000, 180_000]);
    expect(said.map((one) => one.session?.session_id ?? null)).toEqual([null, 'opening', 'opening']);
  });

  it('leaves out a page that lies open', async () => {
    const { study, said, time } = clock(READING_GAP_MS);
    time.now += 90_000;
    study.moved();
    await settled();
    time.now += 8 * 3_600_000;
    study.stopped();
    await settled();
    expect(said.at(-1)?.active_ms).toBe(90_000 + READING_GAP_MS);
  });

  it('is silent about a glance, and says after a failure what it could not', async () => {
    const { study, said, time, play } = clock(PLAYING_GAP_MS);
    await play(10);
    study.stopped();
    expect(said).toEqual([]);
    time.fails = true;
    await play(60);
    time.fails = false;
    study.stopped();
    await settled();
    expect(said.map((one) => one.active_ms)).toEqual([70_000]);
  });
});
