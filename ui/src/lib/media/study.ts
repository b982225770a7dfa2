/**
 * Counts the time somebody spends with a lesson. Players say that something moved; what lies between two moves counts, as
 * long as it isn't longer than anybody looks at one place. Reports are totals of one opening, so one that comes twice
 * changes nothing.
 */
import type { LessonId } from '../api/types/LessonId';
import type { RecordStudy } from '../api/types/RecordStudy';
import type { StudyView } from '../api/types/StudyView';

/** Sound and film move several times a second while they play. */
export const PLAYING_GAP_MS = 5_000;
/** A page is looked at for a while before it is turned. */
export const READING_GAP_MS = 120_000;
/** A report while it goes on, and the least that is worth one at a stop. */
const EVERY_MS = 60_000;
const LEAST_MS = 20_000;

export interface StudyPorts {
  study(request: RecordStudy): Promise<StudyView>;
  now(): number;
}

export class StudyClock {
  readonly #lessonId: LessonId;
  readonly #gapMs: number;
  readonly #ports: StudyPorts;
  #last: number;
  #total = 0;
  #reported = 0;
  #session: StudyView | null = null;
  #sending: Promise<void> | null = null;

  constructor(lessonId: LessonId, gapMs: number, ports: StudyPorts) {
    this.#lessonId = lessonId;
    this.#gapMs = gapMs;
    this.#ports = ports;
    this.#last = ports.now();
  }

  /** Something moved. */
  moved(): void {
    this.#count();
    if (this.#total - this.#reported >= EVERY_MS) this.#report();
  }

  /** A stop: paused, left, or just written down. */
  stopped(): void {
    this.#count();
    if (this.#total - this.#reported >= LEAST_MS) this.#report();
  }

  #count(): void {
    const now = this.#ports.now();
    this.#total += Math.min(Math.max(0, now - this.#last), this.#gapMs);
    this.#last = now;
  }

  /** The second report needs the answer to the first; one at a time is enough. */
  #report(): void {
    if (this.#sending !== null) return;
    const total = Math.round(this.#total);
    this.#sending = this.#ports
      .study({ lesson_id: this.#lessonId, session: this.#session, active_ms: total })
      .then((session) => {
        this.#session = session;
        this.#reported = total;
      })
      // What counts time must never disturb whoever learns; the next report says it all again.
      .catch(() => {})
      .finally(() => (this.#sending = null));
  }
}
