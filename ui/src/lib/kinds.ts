/** One icon per kind of lesson. */
import AudioLines from '@lucide/svelte/icons/headphones';
import BookOpen from '@lucide/svelte/icons/book-open';
import FileText from '@lucide/svelte/icons/file-text';
import Film from '@lucide/svelte/icons/clapperboard';
import Image from '@lucide/svelte/icons/image';
import ListChecks from '@lucide/svelte/icons/list-checks';
import type { LessonKind } from './api/types/LessonKind';

export const KIND_ICONS: Record<LessonKind, typeof Image> = {
  audio: AudioLines,
  video: Film,
  page: BookOpen,
  document: FileText,
  image: Image,
  quiz: ListChecks,
};
