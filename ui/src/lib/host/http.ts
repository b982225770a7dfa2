/** The host over HTTP, same origin, the session in a cookie: for a browser, for tests, later for classrooms. */
import { bindCommands, type Call } from '../api/commands';
import type { EngineEvent } from '../api/types/EngineEvent';
import { asFailure, HostFailure, type Host } from './host';

const call: Call = async <T>(command: string, request: unknown): Promise<T> => {
  let response: Response;
  try {
    response = await fetch(`/api/commands/${command}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
  } catch (thrown) {
    throw hostGone(thrown);
  }
  const text = await response.text();
  let body: unknown = null;
  try {
    body = text === '' ? null : JSON.parse(text);
  } catch {
    // A proxy or an old host may answer with something else than JSON; the status then says enough.
  }
  if (response.ok) return body as T;
  if (body !== null) throw asFailure(body);
  throw asFailure(new Error(`${command}: HTTP ${response.status}`));
};

/** The local program behind this page is gone; that isn't the learner's network. */
function hostGone(thrown: unknown): HostFailure {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new HostFailure({ code: 'storage_unavailable', message, retryable: true, details: null });
}

export function httpHost(): Host {
  return {
    commands: bindCommands(call),

    onEvents(listener) {
      const source = new EventSource('/api/events');
      let opened = false;
      source.onopen = () => {
        // What happened while the line was down is unknown: read everything again.
        if (opened) listener([{ kind: 'resync' }]);
        opened = true;
      };
      source.onmessage = (message: MessageEvent<string>) =>
        listener(JSON.parse(message.data) as EngineEvent[]);
      return () => source.close();
    },

    saveFile(name, content) {
      const url = URL.createObjectURL(new Blob([content], { type: 'application/json' }));
      const link = document.createElement('a');
      link.href = url;
      link.download = name;
      link.click();
      // The download has taken its own reference by the next turn.
      setTimeout(() => URL.revokeObjectURL(url), 0);
      return Promise.resolve(true);
    },

    openExternal(url) {
      window.open(url, '_blank', 'noopener,noreferrer');
      return Promise.resolve();
    },

    openDiagnostics() {
      window.open('/diagnostics.html', '_blank', 'noopener');
      return Promise.resolve();
    },

    select: null,
  };
}
