/** What the quiz screen needs to know of questions and answers. Pure. */
import type { Question } from './api/types/Question';
import type { QuestionBody } from './api/types/QuestionBody';
import type { Response } from './api/types/Response';

/** A number as people type it – any digits, a comma, spaces – as the contract has it; `null`: not a number. */
export function plainNumber(typed: string): string | null {
  const western = typed
    .replace(/[\u0660-\u0669]/g, (digit) => String(digit.charCodeAt(0) - 0x0660))
    .replace(/[\u06f0-\u06f9]/g, (digit) => String(digit.charCodeAt(0) - 0x06f0))
    .replace(/[\u2212\u2013]/g, '-')
    .replace(/[\s\u00a0\u202f\u066c]/g, '')
    .replace(/[,\u066b]/g, '.');
  return /^[+-]?(\d+(\.\d*)?|\.\d+)$/.test(western) ? western.replace(/^\+/, '').replace(/\.$/, '') : null;
}

/** The order to show: as answered, else as the quiz has it. */
export function orderShown(
  body: Extract<QuestionBody, { kind: 'order' }>,
  response: Response | null,
): string[] {
  const ids = body.options.map((option) => option.id);
  if (response?.kind !== 'order') return ids;
  const known = response.options.filter((id) => ids.includes(id));
  return [...known, ...ids.filter((id) => !known.includes(id))];
}

/** `list` with the entry at one place put at another. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const copy = [...list];
  const [entry] = copy.splice(from, 1);
  if (entry !== undefined) copy.splice(to, 0, entry);
  return copy;
}

/** The right answer in words, for after finishing; nothing where it is not here. */
export function solution(question: Question): string[] {
  const body = question.body;
  const text = (options: { id: string; text: string }[], id: string) =>
    options.find((option) => option.id === id)?.text ?? id;
  switch (body.kind) {
    case 'single':
      return body.correct ? [text(body.options, body.correct)] : [];
    case 'multiple':
    case 'order':
      return (body.correct ?? []).map((id) => text(body.options, id));
    case 'match': {
      const correct = body.correct;
      if (!correct) return [];
      return body.left.map((left) => `${left.text} – ${text(body.right, correct[left.id] ?? '')}`);
    }
    case 'short_text':
      return (body.accept ?? []).slice(0, 1);
    case 'numeric':
      if (!body.value) return [];
      return [body.unit === '' ? body.value : `${body.value} ${body.unit}`];
  }
}
