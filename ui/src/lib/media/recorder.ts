/**
 * Keeps where a learner is. Players tell it every move; it writes at most every 15 seconds while they go on, and at
 * once on `flush` (pause, seek, end, leaving). A place that was written is not written again.
 */
import type { LessonId } from '../api/types/LessonId';
import type { RecordPosition } from '../api/types/RecordPosition';

export const EVERY_MS = 15_000;
/** From here on a recording counts as heard: the last words are often credits. */
export const COMPLETE_PERCENT = 95;

export interface RecorderPorts {
  record(request: RecordPosition): Promise<unknown>;
  complete(request: { lesson_id: LessonId }): Promise<unknown>;
  now(): number;
  failed(thrown: unknown): void;
  /** Counts the time spent. */
  clock?: { moved(): void; stopped(): void };
}

export class PositionRecorder {
  readonly #lessonId: LessonId;
  readonly #ports: RecorderPorts;
  #reached: { position: number; percent: number } | null = null;
  #written = -1;
  #writtenAt: number;
  #completed: boolean;

  constructor(lessonId: LessonId, completed: boolean, ports: RecorderPorts) {
    this.#lessonId = lessonId;
    this.#completed = completed;
    this.#ports = ports;
    this.#writtenAt = ports.now();
  }

  /** A place in the lesson's own unit. `percent` may be a fraction. */
  reached(position: number, percent: number): void {
    this.#reached = { position: Math.max(0, Math.round(position)), percent: clamp(percent) };
    this.#ports.clock?.moved();
    if (this.#ports.now() - this.#writtenAt >= EVERY_MS) this.#write();
  }

  /** Writes the last place, if it isn't written yet. */
  flush(): void {
    this.#ports.clock?.stopped();
    this.#write();
  }

  #write(): void {
    if (this.#reached === null || this.#reached.position === this.#written) return;
    this.#written = this.#reached.position;
    this.#writtenAt = this.#ports.now();
    const request = { lesson_id: this.#lessonId, ...this.#reached };
    this.#ports.record(request).catch((thrown: unknown) => {
      // Not written after all: the next flush tries again.
      this.#written = -1;
      this.#ports.failed(thrown);
    });
  }

  /** The lesson is done. Written once. */
  complete(): void {
    if (this.#completed) return;
    this.#completed = true;
    this.#ports.complete({ lesson_id: this.#lessonId }).catch((thrown: unknown) => {
      this.#completed = false;
      this.#ports.failed(thrown);
    });
  }
}

function clamp(percent: number): number {
  return Number.isFinite(percent) ? Math.min(100, Math.max(0, Math.round(percent))) : 0;
}
