import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ar } from './ar';
import { en } from './en';
import { direction, pickLanguage } from './index.svelte';

type Leaf = string | ((...args: never[]) => string);

function leaves(tree: object, path = ''): Map<string, Leaf> {
  const found = new Map<string, Leaf>();
  for (const [key, value] of Object.entries(tree)) {
    const at = path === '' ? key : `${path}.${key}`;
    if (typeof value === 'object' && value !== null)
      for (const [name, leaf] of leaves(value, at)) found.set(name, leaf);
    else found.set(at, value as Leaf);
  }
  return found;
}

/** The words of a generated union type, read from the contract itself. */
function union(name: string): string[] {
  const source = readFileSync(join(import.meta.dirname, '../api/types', `${name}.ts`), 'utf8');
  const right = /export type \w+ = ([^;]+);/.exec(source)?.[1] ?? '';
  return [...right.matchAll(/"([^"]+)"/g)].map((match) => match[1] ?? '');
}

describe.each([
  ['en', en],
  ['ar', ar],
])('the catalogue %s', (_name, catalogue) => {
  it('has the keys of the other, and no empty words', () => {
    expect([...leaves(catalogue).keys()]).toEqual([...leaves(en).keys()]);
    for (const [key, leaf] of leaves(catalogue)) {
      if (typeof leaf === 'string') expect(leaf.trim(), key).not.toBe('');
    }
  });

  it.each([
    ['ErrorCode', catalogue.errors],
    ['WaitReason', catalogue.wait],
    ['WaitReason', catalogue.waitCause],
    ['Availability', catalogue.availability],
    ['RejectCode', catalogue.reject],
    ['DownloadState', catalogue.downloadState],
    ['NetworkState', catalogue.network],
    ['OpKind', catalogue.op],
    ['SyncNowOutcome', catalogue.sync.answer],
    ['LessonKind', catalogue.kind],
  ])('has words for every %s of the contract, and no others', (type, words) => {
    expect(union(type).length).toBeGreaterThan(0);
    expect(Object.keys(words).sort()).toEqual(union(type).sort());
  });
});

describe('Arabic', () => {
  it('is written in Arabic letters', () => {
    for (const [key, leaf] of leaves(ar)) {
      if (typeof leaf === 'string' && key !== 'app.name' && !key.startsWith('qualityHint'))
        expect(leaf, key).toMatch(/[\u0600-\u06ff]/);
    }
  });

  it('counts with its six forms', () => {
    const words = [0, 1, 2, 3, 11, 100].map((n) => ar.library.lessons(n));
    expect(words).toEqual(['لا دروس', 'درس واحد', 'درسان', '٣ دروس', '١١ درسًا', '١٠٠ درسًا']);
  });
});

describe('pickLanguage', () => {
  it('takes the choice, else the first of the system there are words for, else English', () => {
    expect(pickLanguage('ar', ['en-US'])).toBe('ar');
    expect(pickLanguage(null, ['fr-FR', 'ar-EG', 'en'])).toBe('ar');
    expect(pickLanguage(null, ['fr-FR'])).toBe('en');
    expect(pickLanguage('xx', ['ar'])).toBe('en');
  });

  it('knows which way a language runs', () => {
    expect([direction('ar-EG'), direction('he'), direction('en'), direction('')]).toEqual([
      'rtl',
      'rtl',
      'ltr',
      'ltr',
    ]);
  });
});
