/** Sentences of an error that need its numbers, and the text behind "Copy details". */
import type { HostError } from './api/types/HostError';
import { i18n } from './i18n/index.svelte';

/** What is safe and what to do. */
export function errorBody(error: HostError): string {
  const needed = error.details?.['needed_bytes'];
  const available = error.details?.['available_bytes'];
  if (error.code === 'storage_full' && typeof needed === 'number' && typeof available === 'number') {
    return i18n.t.errorSpace(i18n.formats.bytes(needed), i18n.formats.bytes(available));
  }
  return i18n.t.errors[error.code].body;
}

/** For a person who helps: never translated. */
export function details(error: HostError, version: string): string {
  const lines = [
    `Carrel ${version}`,
    `code: ${error.code}`,
    `message: ${error.message}`,
    `retryable: ${error.retryable}`,
    `details: ${JSON.stringify(error.details)}`,
    `time: ${new Date().toISOString()}`,
    `page: ${location.hash}`,
    `browser: ${navigator.userAgent}`,
  ];
  return lines.join('\n');
}
