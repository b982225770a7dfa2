/**
 * Something read from the host, kept while it is read again. What was seen under the same key is there at once, so a
 * screen one returns to paints without waiting.
 */
import { asFailure, type HostFailure } from '../host';

// What was seen is a plain note: nothing on a screen depends on it.
// eslint-disable-next-line svelte/prefer-svelte-reactivity
const seen = new Map<string, unknown>();

/** Forgets what was seen: another learner must not see it, even for a moment. */
export function forgetLoaded(): void {
  seen.clear();
}

export class Loaded<T> {
  data = $state.raw<T | null>(null);
  failure = $state.raw<HostFailure | null>(null);
  readonly #key: string;
  readonly #read: () => Promise<T>;
  #running: Promise<void> | null = null;
  #again = false;

  constructor(key: string, read: () => Promise<T>) {
    this.#key = key;
    this.#read = read;
    this.data = (seen.get(key) as T | undefined) ?? null;
  }

  /** Reads it again. Calls while one is under way become one more reading after it. */
  reload(): Promise<void> {
    if (this.#running) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#run().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** Takes an answer a command gave. */
  set(data: T): void {
    this.data = data;
    this.failure = null;
    seen.set(this.#key, data);
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      try {
        this.set(await this.#read());
      } catch (thrown) {
        this.failure = asFailure(thrown);
      }
    } while (this.#again);
  }
}
