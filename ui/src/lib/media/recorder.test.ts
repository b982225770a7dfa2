import { beforeEach, describe, expect, it } from 'vitest';
import { EVERY_MS, PositionRecorder, type RecorderPorts } from './recorder';

describe('PositionRecorder', () => {
  let now = 0;
  let written: string[] = [];
  let broken = false;
  const ports: RecorderPorts = {
    record: ({ position, percent }) => {
      written.push(`${position}@${percent}`);
      return broken ? Promise.reject(new Error('disk')) : Promise.resolve();
    },
    complete: () => {
      written.push('complete');
      return Promise.resolve();
    },
    now: () => now,
    failed: () => written.push('failed'),
  };

  beforeEach(() => {
    now = 1_000;
    written = [];
    broken = false;
  });

  it('writes every 15 seconds while playing, and at once on flush', () => {
    const recorder = new PositionRecorder('l', false, ports);
    for (let ms = 0; ms <= 30_000; ms += 250) {
      now = 1_000 + ms;
      recorder.reached(ms, ms / 1_000);
    }
    expect(written).toEqual([`${EVERY_MS}@15`, `${2 * EVERY_MS}@30`]);
    recorder.reached(30_400.6, 30.4);
    recorder.flush();
    expect(written.at(-1)).toBe('30401@30');
  });

  it('writes a place once', () => {
    const recorder = new PositionRecorder('l', false, ports);
    recorder.reached(5, 1);
    recorder.flush();
    recorder.flush();
    expect(written).toEqual(['5@1']);
  });

  it('tries a place again that could not be written', async () => {
    const recorder = new PositionRecorder('l', false, ports);
    broken = true;
    recorder.reached(5, 1);
    recorder.flush();
    await Promise.resolve();
    await Promise.resolve();
    broken = false;
    recorder.flush();
    expect(written).toEqual(['5@1', 'failed', '5@1']);
  });

  it('completes once, and not what was completed before', () => {
    const recorder = new PositionRecorder('l', false, ports);
    recorder.complete();
    recorder.complete();
    new PositionRecorder('l', true, ports).complete();
    expect(written).toEqual(['complete']);
  });

  it('never writes a percentage outside 0–100', () => {
    const recorder = new PositionRecorder('l', false, ports);
    recorder.reached(1, Number.NaN);
    recorder.flush();
    recorder.reached(2, 140);
    recorder.flush();
    expect(written).toEqual(['1@0', '2@100']);
  });
});
