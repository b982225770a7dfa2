import { describe, expect, it } from 'vitest';
import type { ProgressView } from '../api/types/ProgressView';
import { offered } from './elsewhere';

const OPENED = '2026-11-20T10:00:00.000Z';
const LATER = '2026-11-20T10:05:00.000Z';

function progress(change: Partial<ProgressView>): ProgressView {
  return {
    status: 'in_progress',
    percent: 50,
    position: 90_000,
    completed_at: null,
    updated_at: LATER,
    unsent: false,
    elsewhere: true,
    ...change,
  };
}

describe('a place from another device', () => {
  it('is offered when it is newer and further on', () => {
    expect(offered(progress({}), OPENED, 30_000, 10_000)).toEqual({ position: 90_000, at: LATER });
    expect(offered(progress({}), null, 0, 10_000)).toEqual({ position: 90_000, at: LATER });
  });
  it('is not offered otherwise', () => {
    expect(offered(progress({ elsewhere: false }), OPENED, 0, 10_000), 'written here').toBeNull();
    expect(offered(progress({ updated_at: OPENED }), OPENED, 0, 10_000), 'known at opening').toBeNull();
    expect(offered(progress({}), OPENED, 85_000, 10_000), 'near enough').toBeNull();
    expect(offered(progress({}), OPENED, 120_000, 10_000), 'behind').toBeNull();
  });
});
