/** The recorder's doors in the running app. */
import { host } from '../host';
import { toasts } from '../state/toasts.svelte';
import { PositionRecorder, type RecorderPorts } from './recorder';

const ports: RecorderPorts = {
  record: (request) => host.commands.learning.recordPosition(request),
  complete: (request) => host.commands.learning.complete(request),
  now: () => performance.now(),
  // "Could not save" is one of the two things said at once (interface.md).
  failed: (thrown) => toasts.failure(thrown),
};

export function recorderFor(lessonId: string, completed: boolean): PositionRecorder {
  return new PositionRecorder(lessonId, completed, ports);
}
