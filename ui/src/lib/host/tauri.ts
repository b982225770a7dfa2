/** The host over Tauri's IPC. The only file that knows Tauri. */
import { Channel, invoke } from '@tauri-apps/api/core';
import { bindCommands, type Call } from '../api/commands';
import type { EngineEvent } from '../api/types/EngineEvent';
import { asFailure, type Host, type Rows } from './host';

const call: Call = async <T>(command: string, request: unknown): Promise<T> => {
  try {
    return await invoke<T>(command, { request });
  } catch (thrown) {
    throw asFailure(thrown);
  }
};

export function tauriHost(): Host {
  return {
    commands: bindCommands(call),

    onEvents(listener) {
      let listening = true;
      const channel = new Channel<EngineEvent[]>();
      channel.onmessage = (events) => {
        if (listening) listener(events);
      };
      invoke('subscribe', { channel }).catch((thrown: unknown) => console.error('no events:', thrown));
      return () => {
        listening = false;
      };
    },

    saveFile: (name, content) => invoke<boolean>('save_file', { name, content }),
    openExternal: (url) => invoke('plugin:opener|open_url', { url }),
    openDiagnostics: () => invoke('open_diagnostics'),
    select: (query) => invoke<Rows>('plugin:sql|select', { db: 'sqlite:carrel.db', query, values: [] }),
  };
}
