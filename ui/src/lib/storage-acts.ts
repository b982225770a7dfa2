/** Deleting with the chance to undo: ten seconds, with words on what stays. */
import { host } from './host';
import { i18n } from './i18n/index.svelte';
import type { Deleted } from './api/types/Deleted';
import { toasts } from './state/toasts.svelte';

/** Deletes a unit's files. Resolves when it is done or was said why not. */
export async function deleteUnit(unitId: string, title: string): Promise<void> {
  try {
    const deleted = await host.commands.storage.deleteUnit({ unit_id: unitId });
    offerUndo(deleted, i18n.t.sync.deleted(title, i18n.formats.bytes(deleted.frees_bytes)));
  } catch (thrown) {
    toasts.failure(thrown);
  }
}

/** Deletes the files of all units of a course. */
export async function deleteCourse(courseId: string, title: string): Promise<void> {
  try {
    const deleted = await host.commands.storage.deleteCourse({ course_id: courseId });
    offerUndo(deleted, i18n.t.sync.deleted(title, i18n.formats.bytes(deleted.frees_bytes)));
  } catch (thrown) {
    toasts.failure(thrown);
  }
}

/** Deletes what the learner's rules pick now. */
export async function cleanUp(): Promise<void> {
  try {
    const deleted = await host.commands.storage.cleanUp();
    const size = i18n.formats.bytes(deleted.frees_bytes);
    if (deleted.unit_ids.length === 0) toasts.say(i18n.t.storage.nothingDue);
    else offerUndo(deleted, i18n.t.sync.deletedAll(deleted.unit_ids.length, size));
  } catch (thrown) {
    toasts.failure(thrown);
  }
}

/** Deletes all units of the learner. */
export async function clearAll(): Promise<void> {
  try {
    const deleted = await host.commands.storage.clearAll({ at_once: false });
    const size = i18n.formats.bytes(deleted.frees_bytes);
    offerUndo(deleted, i18n.t.sync.deletedAll(deleted.unit_ids.length, size));
  } catch (thrown) {
    toasts.failure(thrown);
  }
}

function offerUndo(deleted: Deleted, words: string): void {
  const kept = deleted.waiting > 0 ? ` ${i18n.t.sync.deletedKept(deleted.waiting)}` : '';
  // The device's clock made both times, so their difference holds even where the clock is wrong.
  const ms = Math.min(60_000, Math.max(2_000, new Date(deleted.undo_until).getTime() - Date.now() - 300));
  toasts.say(words + kept, {
    ms,
    undo: () => {
      host.commands.storage
        .undoDelete({ unit_ids: deleted.unit_ids })
        .catch((thrown: unknown) => toasts.failure(thrown));
    },
  });
}
