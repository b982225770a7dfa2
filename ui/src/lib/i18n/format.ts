/**
 * Numbers, sizes, times and plurals of one language, all through `Intl`. Pure: "now" is an argument.
 */

/** Words by plural category; `#` stands for the number. */
export type PluralWords = { other: string } & Partial<Record<Intl.LDMLPluralRule, string>>;

const SIZE_UNITS = ['kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;

export class Formats {
  readonly #locale: string;
  readonly #unitLocale: string;
  readonly #plurals: Intl.PluralRules;
  readonly #numbers = new Map<string, Intl.NumberFormat>();
  readonly #dates = new Map<string, Intl.DateTimeFormat>();
  readonly #relative: Intl.RelativeTimeFormat;
  readonly #ahead: Intl.RelativeTimeFormat;

  constructor(locale: string, unitLocale = locale) {
    this.#locale = locale;
    this.#unitLocale = unitLocale;
    this.#plurals = new Intl.PluralRules(locale);
    this.#relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto' });
    this.#ahead = new Intl.RelativeTimeFormat(locale, { numeric: 'always' });
  }

  number(value: number, options: Intl.NumberFormatOptions = {}): string {
    const key = JSON.stringify(options);
    let format = this.#numbers.get(key);
    if (!format) {
      const locale = options.style === 'unit' ? this.#unitLocale : this.#locale;
      format = new Intl.NumberFormat(locale, options);
      this.#numbers.set(key, format);
    }
    return format.format(value);
  }

  /** Words that fit a number, which takes the place of `#`. */
  plural(count: number, words: PluralWords): string {
    return this.words(count, words).replace('#', this.number(count));
  }

  /** Words that fit a number which stands elsewhere. */
  words(count: number, words: PluralWords): string {
    return words[this.#plurals.select(count)] ?? words.other;
  }

  /** `62` → "62%". */
  percent(value: number): string {
    return this.number(value / 100, { style: 'percent', maximumFractionDigits: 0 });
  }

  /** Decimal units, as disks and phones are sold: `184_300_000` → "184 MB". */
  bytes(bytes: number): string {
    const [value, unit] = scaled(bytes);
    return this.#unit(value, unit, fraction(value, unit));
  }

  /** "38 of 61 MB" in two halves that share the unit of the larger one. */
  bytesOf(done: number, total: number): [string, string] {
    const [value, unit, factor] = scaled(total);
    const digits = fraction(value, unit);
    return [this.number(done / factor, { maximumFractionDigits: digits }), this.#unit(value, unit, digits)];
  }

  /** "1.4 MB/s". */
  speed(bytesPerSecond: number): string {
    const [value, unit] = scaled(Math.max(bytesPerSecond, 1000));
    return this.#unit(value, `${unit}-per-second`, fraction(value, unit));
  }

  /** Play time as on a clock: "12:40", "1:02:03". */
  clock(ms: number): string {
    const seconds = Math.max(0, Math.floor(ms / 1000));
    const two = (value: number) => this.number(value, { minimumIntegerDigits: 2 });
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor(seconds / 60) % 60;
    const tail = two(seconds % 60);
    return hours > 0 ? `${this.number(hours)}:${two(minutes)}:${tail}` : `${this.number(minutes)}:${tail}`;
  }

  /** A length: "25 sec", "31 min", "6 hr 20 min". */
  duration(ms: number, display: 'short' | 'long' = 'short'): string {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 60) return this.#unit(seconds, 'second', 0, display);
    const minutes = Math.round(seconds / 60);
    if (minutes < 60) return this.#unit(minutes, 'minute', 0, display);
    const hours = this.#unit(Math.floor(minutes / 60), 'hour', 0, display);
    return minutes % 60 === 0 ? hours : `${hours} ${this.#unit(minutes % 60, 'minute', 0, display)}`;
  }

  /** How far ahead: "in 10 minutes", "in 4 days", "in 3 months". */
  ahead(ms: number): string {
    const minutes = Math.max(1, Math.round(ms / 60_000));
    const say = (value: number, unit: Intl.RelativeTimeFormatUnit) =>
      this.#ahead.format(Math.round(value), unit);
    if (minutes < 60) return say(minutes, 'minute');
    if (minutes < 24 * 60) return say(minutes / 60, 'hour');
    const days = minutes / (24 * 60);
    if (days < 45) return say(days, 'day');
    return days < 540 ? say(days / 30.44, 'month') : say(days / 365.25, 'year');
  }

  /** "12:41". */
  time(at: string | number | Date): string {
    return this.#date(at, { hour: 'numeric', minute: '2-digit' });
  }

  /** "12 Dec", with the year where it isn't this one. */
  day(at: string | number | Date, now: number): string {
    const sameYear = new Date(at).getFullYear() === new Date(now).getFullYear();
    return this.#date(at, { day: 'numeric', month: 'short', ...(sameYear ? {} : { year: 'numeric' }) });
  }

  /** "today", "yesterday", "Monday", "12 Dec". */
  nearDay(at: string | number | Date, now: number): string {
    const days = dayNumber(now) - dayNumber(at);
    if (days === 0 || days === 1) return this.#relative.format(-days, 'day');
    if (days > 1 && days < 7) return this.#date(at, { weekday: 'long' });
    return this.day(at, now);
  }

  /** "today 11:52", "Monday 11:52", "12 Dec 11:52". */
  moment(at: string | number | Date, now: number): string {
    return `${this.nearDay(at, now)} ${this.time(at)}`;
  }

  #unit(value: number, unit: string, digits: number, display: 'short' | 'long' = 'short'): string {
    return this.number(value, { style: 'unit', unit, unitDisplay: display, maximumFractionDigits: digits });
  }

  #date(at: string | number | Date, options: Intl.DateTimeFormatOptions): string {
    const key = JSON.stringify(options);
    let format = this.#dates.get(key);
    if (!format) {
      format = new Intl.DateTimeFormat(this.#locale, options);
      this.#dates.set(key, format);
    }
    return format.format(new Date(at));
  }
}

function scaled(bytes: number): [number, (typeof SIZE_UNITS)[number], number] {
  let factor = 1000;
  let step = 0;
  // 999.5 would be rounded to "1,000 kB".
  while (bytes / factor >= 999.5 && step < SIZE_UNITS.length - 1) {
    factor *= 1000;
    step += 1;
  }
  return [bytes / factor, SIZE_UNITS[step] ?? 'kilobyte', factor];
}

function fraction(value: number, unit: string): number {
  if (unit === 'kilobyte') return value > 0 && value < 0.95 ? 1 : 0;
  return value < 9.95 ? 1 : 0;
}

/** Days by the local calendar, so that "yesterday" is a date and not 24 hours. */
function dayNumber(at: string | number | Date): number {
  const date = new Date(at);
  return Math.floor((date.getTime() - date.getTimezoneOffset() * 60_000) / 86_400_000);
}
