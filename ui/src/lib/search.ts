/** Finding titles the way people type them: without case, accents and Arabic vowel signs. */

/** Whether every word typed is in one of the texts. */
export function matches(typed: string, texts: readonly string[]): boolean {
  const words = fold(typed).split(/\s+/).filter(Boolean);
  const folded = texts.map(fold).join(' ');
  return words.every((word) => folded.includes(word));
}

function fold(text: string): string {
  // NFD splits letters from their marks; hamza forms of alef count as alef, as Arabic readers type them.
  return text
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .replace(/[أإآٱ]/g, 'ا')
    .toLowerCase()
    .trim();
}
