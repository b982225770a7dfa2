import { describe, expect, it } from 'vitest';
import { href, parseRoute, type Route } from './router';

describe('routes', () => {
  const routes: Route[] = [
    { name: 'library' },
    { name: 'device' },
    { name: 'unit', id: '0192f0c1-2b3c' },
    { name: 'lesson', id: 'a b/c?d#é' },
    { name: 'review', id: null },
    { name: 'review', id: 'a b/c' },
    { name: 'statistics' },
    { name: 'downloads' },
    { name: 'sync' },
    { name: 'settings' },
    { name: 'sign-in', add: false },
    { name: 'sign-in', add: true },
  ];

  it.each(routes)('survives being an address: %o', (route) => {
    expect(parseRoute(href(route))).toEqual(route);
  });

  it.each(['', '#', '#/', '#/nowhere', '#/unit', '#/lesson/', '#/unit/%E0%A4%A'])(
    'leads %o to the library',
    (hash) => {
      expect(parseRoute(hash)).toEqual({ name: 'library' });
    },
  );
});
