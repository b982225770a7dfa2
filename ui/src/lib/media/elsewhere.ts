/** When a place from another device is worth offering. Pure. */
import type { ProgressView } from '../api/types/ProgressView';

export interface Offer {
  position: number;
  at: string;
}

/**
 * The place another device wrote since `known`, if it is further on than `here` by more than `near`. A place behind is not
 * offered: whoever listens here has it behind them.
 */
export function offered(
  progress: ProgressView,
  known: string | null,
  here: number,
  near: number,
): Offer | null {
  if (!progress.elsewhere || progress.updated_at === null) return null;
  if (known !== null && progress.updated_at <= known) return null;
  if (progress.position - here <= near) return null;
  return { position: progress.position, at: progress.updated_at };
}
