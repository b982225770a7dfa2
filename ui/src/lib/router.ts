/** Routes as hashes: no server has to know them, and they work in the app's window and in a browser alike. */

/** Where one can be. */
export type Route =
  | { name: 'library' }
  | { name: 'device' }
  | { name: 'unit'; id: string }
  | { name: 'lesson'; id: string }
  | { name: 'review'; id: string | null }
  | { name: 'statistics' }
  | { name: 'downloads' }
  | { name: 'sync' }
  | { name: 'settings' }
  | { name: 'sign-in'; add: boolean };

/** The address of a route. */
export function href(route: Route): string {
  switch (route.name) {
    case 'unit':
    case 'lesson':
      return `#/${route.name}/${encodeURIComponent(route.id)}`;
    case 'review':
      return route.id === null ? '#/review' : `#/review/${encodeURIComponent(route.id)}`;
    case 'sign-in':
      return route.add ? '#/sign-in?add' : '#/sign-in';
    default:
      return `#/${route.name}`;
  }
}

/** The route of an address; what isn't one leads to the library. */
export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  const [name, id] = path.split('/');
  switch (name) {
    case 'unit':
    case 'lesson': {
      const decoded = decode(id ?? '');
      return decoded === '' ? { name: 'library' } : { name, id: decoded };
    }
    case 'review':
      return { name, id: decode(id ?? '') || null };
    case 'device':
    case 'statistics':
    case 'downloads':
    case 'sync':
    case 'settings':
      return { name };
    case 'sign-in':
      return { name, add: query === 'add' };
    default:
      return { name: 'library' };
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
