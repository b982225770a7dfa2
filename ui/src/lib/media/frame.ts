/**
 * Lesson HTML as a document of its own, for a sandboxed frame without scripts. The service has sanitised it; here only
 * its pictures are put in and our typesetting around it.
 */
import type { MediaRef } from '../api/types/MediaRef';
import { direction } from '../i18n/index.svelte';
import stylesheet from '../../styles/lesson.css?url';

export interface FrameLook {
  language: string;
  dark: boolean;
  textPercent: number;
  /** A text of its own stands in the middle of its sheet; a remark begins where its card does. */
  centred: boolean;
}

/** The document for `srcdoc`. */
export function lessonDocument(html: string, images: readonly MediaRef[], look: FrameLook): string {
  const page = new DOMParser().parseFromString(html, 'text/html');
  const addresses = new Map(images.map((image) => [image.asset_id, image.url]));
  for (const picture of page.querySelectorAll('img')) {
    const id = /^asset:(.+)$/.exec(picture.getAttribute('src') ?? '')?.[1];
    if (id === undefined) continue;
    const address = addresses.get(id);
    if (address === undefined) picture.removeAttribute('src');
    else picture.setAttribute('src', address);
    picture.removeAttribute('loading');
  }
  const root = page.documentElement;
  root.lang = look.language;
  root.dir = direction(look.language);
  root.dataset['theme'] = look.dark ? 'dark' : 'light';
  root.dataset['place'] = look.centred ? 'middle' : 'start';
  root.dataset['text'] = String(textStep(look.textPercent));
  const link = page.createElement('link');
  link.rel = 'stylesheet';
  link.href = stylesheet;
  page.head.prepend(link);
  return `<!doctype html>${root.outerHTML}`;
}

/** The frame can't be given a style, so text sizes are steps its style sheet knows. */
function textStep(percent: number): number {
  return Math.min(200, Math.max(80, Math.round(percent / 10) * 10));
}
