/**
 * Focus after a move: the heading of the new screen, so that keyboards and screen readers start there. The first page
 * takes no focus – nobody moved yet.
 */
import { untrack } from 'svelte';
import { navigation } from './state/navigation.svelte';

let focusedMove = 0;

/** For the `h1` of a screen (it needs `tabindex="-1"`). Once per move, also when a heading comes late or twice. */
export function arrive(heading: HTMLElement): void {
  const moves = untrack(() => navigation.moves);
  if (moves === focusedMove) return;
  focusedMove = moves;
  heading.focus({ preventScroll: true });
}
