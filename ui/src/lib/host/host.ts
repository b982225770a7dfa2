/**
 * The one way to everything outside the page. A member is added only when a screen needs it; each says why it is here.
 * Two implementations: `tauri.ts` (the app's window) and `http.ts` (a browser at the HTTP host).
 */
import type { Commands } from '../api/commands';
import type { EngineEvent } from '../api/types/EngineEvent';
import type { ErrorCode } from '../api/types/ErrorCode';
import type { HostError } from '../api/types/HostError';

/** Rows of a `SELECT`, for the diagnostics window. */
export type Rows = Record<string, unknown>[];

export interface Host {
  /** Everything a learner does goes through the commands of the engine. */
  readonly commands: Commands;
  /** Screens re-read or patch what they show when something changed. Answers the way to stop. */
  onEvents(listener: (events: EngineEvent[]) => void): () => void;
  /** An export leaves the app as a file. `false`: the person changed their mind. */
  saveFile(name: string, content: string): Promise<boolean>;
  /** Links inside course content lead outside; the app itself never navigates there. */
  openExternal(url: string): Promise<void>;
  /** The settings screen leads to the diagnostics window. */
  openDiagnostics(): Promise<void>;
  /** Only the diagnostics window of the app may look into the database; none elsewhere. */
  readonly select: ((query: string) => Promise<Rows>) | null;
}

/** What is thrown by every command. */
export class HostFailure extends Error implements HostError {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Record<string, unknown> | null;

  constructor(error: HostError) {
    super(error.message);
    this.name = 'HostFailure';
    this.code = error.code;
    this.retryable = error.retryable;
    this.details = error.details;
  }

  /** A number of `details`, where it is there. */
  number(key: string): number | null {
    const value = this.details?.[key];
    return typeof value === 'number' ? value : null;
  }
}

/** Anything thrown as a `HostFailure`: a `HostError` as it is, the rest as `internal`. */
export function asFailure(thrown: unknown): HostFailure {
  if (thrown instanceof HostFailure) return thrown;
  if (isHostError(thrown)) return new HostFailure(thrown);
  const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  return new HostFailure({ code: 'internal', message, retryable: false, details: null });
}

function isHostError(thrown: unknown): thrown is HostError {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && 'message' in thrown;
}
