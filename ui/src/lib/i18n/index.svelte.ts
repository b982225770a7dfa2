/**
 * The language in use: words, formats, direction. A catalogue is loaded when it is first needed; until then the one
 * before it stays, so that nothing ever shows a key.
 */
import { Formats } from './format';
import type { Messages } from './en';

/** Languages there are words for. */
export const LANGUAGES = ['en', 'ar'] as const;
export type Language = (typeof LANGUAGES)[number];

/** Each in its own words. */
export const LANGUAGE_NAMES: Record<Language, string> = { en: 'English', ar: 'العربية' };

/** For dates and numbers, and – where it differs – for units: British "31 mins" is more than a line of facts needs. */
const LOCALES: Record<Language, [string, string?]> = { en: ['en-GB', 'en'], ar: ['ar-u-nu-arab'] };
const RIGHT_TO_LEFT = new Set(['ar', 'dv', 'fa', 'he', 'ks', 'ku', 'ps', 'sd', 'ug', 'ur', 'yi']);

/** The direction of a text in a language (BCP 47). */
export function direction(language: string): 'ltr' | 'rtl' {
  return RIGHT_TO_LEFT.has(language.toLowerCase().split('-')[0] ?? '') ? 'rtl' : 'ltr';
}

/** The language to use: the chosen one, else the first of the system's there are words for, else English. */
export function pickLanguage(chosen: string | null, system: readonly string[]): Language {
  for (const wanted of chosen === null ? system : [chosen]) {
    const found = LANGUAGES.find((language) => wanted.toLowerCase().split('-')[0] === language);
    if (found) return found;
  }
  return 'en';
}

async function load(language: Language): Promise<Messages> {
  switch (language) {
    case 'ar':
      return (await import('./ar')).ar;
    case 'en':
      return (await import('./en')).en;
  }
}

class I18n {
  #language = $state<Language>('en');
  #words = $state.raw<Messages | null>(null);
  #formats = $derived(new Formats(...LOCALES[this.#language]));

  /** The words. Only read after the first `use`. */
  get t(): Messages {
    if (this.#words === null) throw new Error('no catalogue loaded yet');
    return this.#words;
  }

  get formats(): Formats {
    return this.#formats;
  }

  get language(): Language {
    return this.#language;
  }

  get dir(): 'ltr' | 'rtl' {
    return direction(this.#language);
  }

  async use(language: Language): Promise<void> {
    const words = await load(language);
    this.#words = words;
    this.#language = language;
    document.documentElement.lang = language;
    document.documentElement.dir = direction(language);
  }
}

export const i18n = new I18n();
