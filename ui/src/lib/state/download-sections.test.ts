import { describe, expect, it } from 'vitest';
import type { DownloadState } from '../api/types/DownloadState';
import { milestone, section } from './download-sections';

const at = (state: DownloadState, bytes_done: number) => ({ state, bytes_done, bytes_total: 100 });

describe('section', () => {
  it('puts what only a person can end under "needs you"', () => {
    const of = (state: DownloadState, wait_reason: 'space' | 'network' | 'sign_in' | null) =>
      section({ state, wait_reason });
    expect(of('failed', null)).toBe('needs-you');
    expect(of('pending', 'space')).toBe('needs-you');
    expect(of('pending', 'sign_in')).toBe('needs-you');
    expect(of('pending', 'network')).toBe('waiting');
    expect(of('pending', null)).toBe('waiting');
    expect(of('paused', null)).toBe('waiting');
    expect(of('verifying', null)).toBe('running');
    expect(of('completed', null)).toBe('finished');
  });
});

describe('milestone', () => {
  it('speaks at the start, the quarters and the end, and not in between', () => {
    const history = [
      at('pending', 0),
      at('downloading', 0),
      at('downloading', 10),
      at('downloading', 25),
      at('downloading', 30),
      at('downloading', 80),
      at('verifying', 100),
      at('completed', 100),
    ];
    const spoken = history.map((now, index) => milestone(history[index - 1], now));
    expect(spoken).toEqual([null, 'start', null, 25, null, 75, null, 'ready']);
  });

  it('says nothing of downloads that were over when they were first seen', () => {
    expect(milestone(undefined, at('completed', 100))).toBeNull();
  });
});
