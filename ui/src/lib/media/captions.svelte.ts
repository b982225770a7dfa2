/** The cues of a recording, in the language chosen. Read from where the recording is read. */
import type { MediaRef } from '../api/types/MediaRef';
import { i18n } from '../i18n/index.svelte';
import { parseVtt, type Cue } from './vtt';

export class Captions {
  readonly refs: readonly MediaRef[];
  chosen = $state.raw<MediaRef | null>(null);
  cues = $state.raw<Cue[]>([]);
  failed = $state(false);

  constructor(refs: readonly MediaRef[]) {
    this.refs = refs;
    const own = refs.find((ref) => ref.language?.split('-')[0] === i18n.language);
    void this.choose(own ?? refs[0] ?? null);
  }

  async choose(ref: MediaRef | null): Promise<void> {
    this.chosen = ref;
    this.failed = false;
    if (ref === null) {
      this.cues = [];
      return;
    }
    try {
      const answer = await fetch(ref.url);
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      const cues = parseVtt(await answer.text());
      if (this.chosen === ref) this.cues = cues;
    } catch {
      // A transcript is an extra: the recording plays without it.
      if (this.chosen === ref) {
        this.cues = [];
        this.failed = true;
      }
    }
  }
}
