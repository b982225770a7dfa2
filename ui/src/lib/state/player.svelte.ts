/** The one voice of the app: an audio lesson goes on while other screens are open. */
import type { LessonView } from '../api/types/LessonView';
import type { PlaybackView } from '../api/types/PlaybackView';
import { COMPLETE_PERCENT, type PositionRecorder } from '../media/recorder';
import { recorderFor } from '../media/recorder-ports';
import { resumeAt } from '../media/resume';
import { PLAYING_GAP_MS } from '../media/study';

class Player {
  lesson = $state.raw<LessonView | null>(null);
  playback = $state.raw<PlaybackView | null>(null);
  playing = $state(false);
  /** Whether it was ever played: a lesson that was only looked at needs no mini player. */
  started = $state(false);
  failed = $state(false);
  positionMs = $state(0);
  durationMs = $state(0);
  rate = $state(1);
  #element: HTMLAudioElement | null = null;
  #recorder: PositionRecorder | null = null;

  /** The element is part of the page, so that the platform's media keys and the accessibility tree know it. */
  attach(element: HTMLAudioElement): () => void {
    this.#element = element;
    const on = (type: string, listener: () => void) => element.addEventListener(type, listener);
    on('timeupdate', () => this.#moved());
    on('durationchange', () => {
      if (Number.isFinite(element.duration)) this.durationMs = element.duration * 1000;
    });
    on('play', () => {
      this.playing = true;
      this.started = true;
    });
    on('pause', () => {
      this.playing = false;
      this.#recorder?.flush();
    });
    on('seeked', () => {
      this.#moved();
      this.#recorder?.flush();
    });
    on('ended', () => {
      this.playing = false;
      this.#moved();
      this.#recorder?.flush();
      this.#recorder?.complete();
    });
    on('error', () => {
      if (this.lesson) this.failed = true;
    });
    const hide = () => this.#recorder?.flush();
    window.addEventListener('pagehide', hide);
    return () => {
      window.removeEventListener('pagehide', hide);
      this.close();
      this.#element = null;
    };
  }

  /** Gets a lesson ready to play. One that is open already goes on where it is. */
  open(lesson: LessonView, playback: PlaybackView): void {
    const element = this.#element;
    if (!element || !playback.main) return;
    if (this.lesson?.lesson.id === lesson.lesson.id && !this.failed) {
      this.lesson = lesson;
      return;
    }
    this.close();
    this.lesson = lesson;
    this.playback = playback;
    this.durationMs = lesson.lesson.duration_ms ?? 0;
    this.positionMs = resumeAt(playback.resume_position, this.durationMs);
    this.#recorder = recorderFor(lesson.lesson.id, lesson.progress.status === 'completed', PLAYING_GAP_MS);
    const start = this.positionMs / 1000;
    element.addEventListener('loadedmetadata', () => (element.currentTime = start), { once: true });
    element.src = playback.main.url;
    element.playbackRate = this.rate;
    element.load();
    this.#tellSystem(lesson);
  }

  toggle(): void {
    if (this.playing) this.#element?.pause();
    else void this.play();
  }

  async play(): Promise<void> {
    try {
      await this.#element?.play();
    } catch {
      // The element's error event has told it, or another source has taken its place.
    }
  }

  pause(): void {
    this.#element?.pause();
  }

  seek(ms: number): void {
    if (!this.#element || this.durationMs === 0) return;
    const target = Math.min(Math.max(0, ms), this.durationMs);
    this.#element.currentTime = target / 1000;
    this.positionMs = target;
  }

  skip(seconds: number): void {
    this.seek(this.positionMs + seconds * 1000);
  }

  setRate(rate: number): void {
    this.rate = rate;
    if (this.#element) {
      this.#element.preservesPitch = true;
      this.#element.playbackRate = rate;
      this.#element.defaultPlaybackRate = rate;
    }
  }

  close(): void {
    this.#recorder?.flush();
    this.#recorder = null;
    this.lesson = null;
    this.playback = null;
    this.playing = false;
    this.started = false;
    this.failed = false;
    this.positionMs = 0;
    this.durationMs = 0;
    if (this.#element) {
      this.#element.pause();
      this.#element.removeAttribute('src');
      this.#element.load();
    }
  }

  #moved(): void {
    const element = this.#element;
    // Before the first metadata the time is 0, which is not where the learner is.
    if (!element || !this.#recorder || element.readyState === 0 || this.durationMs === 0) return;
    this.positionMs = element.currentTime * 1000;
    const percent = (this.positionMs / this.durationMs) * 100;
    this.#recorder.reached(this.positionMs, percent);
    if (percent >= COMPLETE_PERCENT) this.#recorder.complete();
  }

  #tellSystem(lesson: LessonView): void {
    const session = navigator.mediaSession as MediaSession | undefined;
    if (!session || typeof MediaMetadata === 'undefined') return;
    session.metadata = new MediaMetadata({
      title: lesson.lesson.title,
      artist: lesson.unit_title,
      album: lesson.course.title,
    });
    session.setActionHandler('play', () => void this.play());
    session.setActionHandler('pause', () => this.pause());
    session.setActionHandler('seekbackward', () => this.skip(-10));
    session.setActionHandler('seekforward', () => this.skip(30));
  }
}

export const player = new Player();
