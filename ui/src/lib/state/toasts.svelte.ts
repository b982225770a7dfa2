/** Short words at the foot of the page: what was done, how to undo it, what could not be saved. */
import { asFailure, type HostFailure } from '../host';
import { i18n } from '../i18n/index.svelte';

export interface Toast {
  id: number;
  text: string;
  urgent: boolean;
  undo: (() => void) | null;
}

class Toasts {
  list = $state.raw<Toast[]>([]);
  #next = 1;

  /** Says something for a while; with `undo` as long as it can be undone. */
  say(text: string, options: { undo?: () => void; ms?: number; urgent?: boolean } = {}): void {
    const id = this.#next++;
    const undo = options.undo ?? null;
    this.list = [
      ...this.list.filter((toast) => toast.undo !== null || undo !== null).slice(-2),
      { id, text, undo, urgent: options.urgent ?? false },
    ];
    setTimeout(() => this.close(id), options.ms ?? 5_000);
  }

  failure(thrown: unknown): HostFailure {
    const failure = asFailure(thrown);
    const words = i18n.t.errors[failure.code];
    this.say(`${words.title}. ${words.body}`, { urgent: true, ms: 9_000 });
    return failure;
  }

  close(id: number): void {
    this.list = this.list.filter((toast) => toast.id !== id);
  }
}

export const toasts = new Toasts();
