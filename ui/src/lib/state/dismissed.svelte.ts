/** Notices a person has read. Kept by the browser, since "told once" holds over restarts. */
import { SvelteSet } from 'svelte/reactivity';

const KEY = 'carrel.dismissed';

function stored(): string[] {
  try {
    const list: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : [];
  } catch {
    return [];
  }
}

class Dismissed {
  readonly #keys = new SvelteSet(stored());

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  add(key: string): void {
    this.#keys.add(key);
    try {
      localStorage.setItem(KEY, JSON.stringify([...this.#keys].slice(-20)));
    } catch {
      // Then it is told again; that does no harm.
    }
  }
}

export const dismissed = new Dismissed();
