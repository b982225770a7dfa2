/** Where the page is. Screens mount anew for each address; the heading takes the focus when a person went there. */
import { href, parseRoute, type Route } from '../router';

class Navigation {
  hash = $state(location.hash);
  route: Route = $derived(parseRoute(this.hash));
  /** Counts the moves; 0 is the first page, which takes no focus. */
  moves = $state(0);

  listen(): void {
    window.addEventListener('hashchange', () => {
      this.hash = location.hash;
      this.moves += 1;
      window.scrollTo(0, 0);
    });
  }

  go(route: Route): void {
    location.hash = href(route);
  }
}

export const navigation = new Navigation();
