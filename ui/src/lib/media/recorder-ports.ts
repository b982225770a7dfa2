/** The recorder's doors in the running app. */
import { host } from '../host';
import { app } from '../state/app.svelte';
import { toasts } from '../state/toasts.svelte';
import { PositionRecorder, type RecorderPorts } from './recorder';
import { READING_GAP_MS, StudyClock } from './study';

const ports: RecorderPorts = {
  record: (request) => seen(host.commands.learning.recordPosition(request)),
  complete: (request) => seen(host.commands.learning.complete(request)),
  now: () => performance.now(),
  // "Could not save" is one of the two things said at once (interface.md).
  failed: (thrown) => toasts.failure(thrown),
};

/** Events tell what came from elsewhere; what this page wrote, it knows itself. */
async function seen<T>(write: Promise<T>): Promise<T> {
  const answer = await write;
  app.revision.learning += 1;
  return answer;
}

export function recorderFor(
  lessonId: string,
  completed: boolean,
  gapMs: number = READING_GAP_MS,
): PositionRecorder {
  const clock = new StudyClock(lessonId, gapMs, {
    study: (request) => host.commands.learning.study(request),
    now: () => performance.now(),
  });
  return new PositionRecorder(lessonId, completed, { ...ports, clock });
}
