/**
 * A course's colour, made fit to be read. Publishers choose any `#rrggbb`; text and buttons need 4.5:1 against paper,
 * so the colour is moved towards black or white until it has that, and keeps its hue.
 */

/** What a page in a course's colour uses instead of the app's own. */
export interface AccentColours {
  accent: string;
  ink: string;
  soft: string;
}

type Rgb = [number, number, number];

const PAPER = { light: [0xf3, 0xf1, 0xeb] as Rgb, dark: [0x2a, 0x29, 0x26] as Rgb };
const FALLBACK: Rgb = [0x1f, 0x5f, 0x5b];

export function accentColours(colour: string, dark: boolean): AccentColours {
  const ground = dark ? PAPER.dark : PAPER.light;
  const goal: Rgb = dark ? [255, 255, 255] : [0, 0, 0];
  const wished = parse(colour) ?? FALLBACK;
  let accent = wished;
  for (let step = 1; step <= 20 && contrast(accent, ground) < 4.6; step += 1)
    accent = mix(wished, goal, step / 20);
  return {
    accent: css(accent),
    ink: dark ? '#14130f' : '#ffffff',
    soft: css(mix(ground, accent, dark ? 0.16 : 0.13)),
  };
}

/** Contrast after WCAG 2, 1–21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

export function parse(colour: string): Rgb | null {
  const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(colour);
  return match ? (match.slice(1, 4).map((part) => parseInt(part, 16)) as Rgb) : null;
}

function luminance([r, g, b]: Rgb): number {
  const linear = (value: number) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

function mix(from: Rgb, to: Rgb, share: number): Rgb {
  return from.map((value, index) => Math.round(value + ((to[index] ?? 0) - value) * share)) as Rgb;
}

function css(colour: Rgb): string {
  return `#${colour.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
}
