// Generated from the command table of carrel-host. Do not edit: `cargo xtask generate`.

import type { AnswerQuestion } from './types/AnswerQuestion';
import type { AppView } from './types/AppView';
import type { BookmarksView } from './types/BookmarksView';
import type { CleanUpLog } from './types/CleanUpLog';
import type { CleanUpPreview } from './types/CleanUpPreview';
import type { CleanUpRules } from './types/CleanUpRules';
import type { ClearAll } from './types/ClearAll';
import type { CompleteLesson } from './types/CompleteLesson';
import type { CourseStarted } from './types/CourseStarted';
import type { DecksView } from './types/DecksView';
import type { DeleteBookmark } from './types/DeleteBookmark';
import type { DeleteCourse } from './types/DeleteCourse';
import type { DeleteDownload } from './types/DeleteDownload';
import type { DeleteUnit } from './types/DeleteUnit';
import type { Deleted } from './types/Deleted';
import type { DeviceView } from './types/DeviceView';
import type { DiagnosticsView } from './types/DiagnosticsView';
import type { DownloadRequest } from './types/DownloadRequest';
import type { DownloadView } from './types/DownloadView';
import type { DownloadsView } from './types/DownloadsView';
import type { FinishSession } from './types/FinishSession';
import type { LearnerStatistics } from './types/LearnerStatistics';
import type { LessonRequest } from './types/LessonRequest';
import type { LessonView } from './types/LessonView';
import type { LibraryView } from './types/LibraryView';
import type { MoveDownload } from './types/MoveDownload';
import type { MoveStore } from './types/MoveStore';
import type { OutboxExport } from './types/OutboxExport';
import type { OutboxRequest } from './types/OutboxRequest';
import type { OutboxView } from './types/OutboxView';
import type { PinUnit } from './types/PinUnit';
import type { PlaybackView } from './types/PlaybackView';
import type { ProfileView } from './types/ProfileView';
import type { ProgressView } from './types/ProgressView';
import type { PutBookmark } from './types/PutBookmark';
import type { QuizView } from './types/QuizView';
import type { RateCard } from './types/RateCard';
import type { RecordPosition } from './types/RecordPosition';
import type { RecordStudy } from './types/RecordStudy';
import type { ReviewView } from './types/ReviewView';
import type { Session } from './types/Session';
import type { SessionRequest } from './types/SessionRequest';
import type { SetConditions } from './types/SetConditions';
import type { SetPriority } from './types/SetPriority';
import type { SetQuota } from './types/SetQuota';
import type { Settings } from './types/Settings';
import type { SignIn } from './types/SignIn';
import type { SignOut } from './types/SignOut';
import type { StartCourse } from './types/StartCourse';
import type { StartDownload } from './types/StartDownload';
import type { StartQuiz } from './types/StartQuiz';
import type { StatisticsRequest } from './types/StatisticsRequest';
import type { StorageView } from './types/StorageView';
import type { StorePlace } from './types/StorePlace';
import type { StudyView } from './types/StudyView';
import type { SwitchProfile } from './types/SwitchProfile';
import type { SyncNowView } from './types/SyncNowView';
import type { SyncView } from './types/SyncView';
import type { UndoDelete } from './types/UndoDelete';
import type { UnitRequest } from './types/UnitRequest';
import type { UnitView } from './types/UnitView';

/** How a front end reaches a command: over IPC or HTTP. */
export type Call = <T>(command: string, request: unknown) => Promise<T>;

/** Every command, by room. */
export interface Commands {
  readonly access: {
    /** Signs in, or signs in again. */
    signIn(request: SignIn): Promise<ProfileView>;
    /** Makes a learner of this device the current one. */
    switch(request: SwitchProfile): Promise<ProfileView>;
    /** Signs out. */
    signOut(request: SignOut): Promise<void>;
  };
  readonly app: {
    /** Everything a front end needs to start: who learns, state of sync, choices, where media are. */
    state(): Promise<AppView>;
    /** Tries again to open a store that could not be opened. */
    reopen(): Promise<AppView>;
    /** Versions, counts and checks, for the diagnostics window. */
    diagnostics(): Promise<DiagnosticsView>;
  };
  readonly catalogue: {
    /** Courses and units. */
    library(): Promise<LibraryView>;
    /** A unit. */
    unit(request: UnitRequest): Promise<UnitView>;
    /** A lesson. */
    lesson(request: LessonRequest): Promise<LessonView>;
    /** Fetches what changed. */
    refresh(): Promise<void>;
  };
  readonly device: {
    /** What the platform says of link and power. */
    state(): Promise<DeviceView>;
    /** The learner says that this network may be used for downloads. */
    confirmNetwork(): Promise<DeviceView>;
  };
  readonly downloads: {
    /** The queue. */
    list(): Promise<DownloadsView>;
    /** Takes a unit or a lesson along. */
    start(request: StartDownload): Promise<DownloadView>;
    /** Stops one; verified bytes stay. */
    pause(request: DownloadRequest): Promise<DownloadView>;
    /** Lets one go on. */
    resume(request: DownloadRequest): Promise<DownloadView>;
    /** Calls one off. */
    cancel(request: DownloadRequest): Promise<DownloadView>;
    /** Tries one again. */
    retry(request: DownloadRequest): Promise<DownloadView>;
    /** Stops all. */
    pauseAll(): Promise<DownloadsView>;
    /** Lets all go on. */
    resumeAll(): Promise<DownloadsView>;
    /** Calls off all that are not finished. */
    cancelAll(): Promise<DownloadsView>;
    /** Tries all that failed again. */
    retryAll(): Promise<DownloadsView>;
    /** Takes a whole course along. */
    startCourse(request: StartCourse): Promise<CourseStarted>;
    /** Moves a waiting one, into the priority of its new neighbour. */
    reorder(request: MoveDownload): Promise<DownloadView>;
    /** Makes a waiting one the next. */
    first(request: DownloadRequest): Promise<DownloadView>;
    /** Gives a waiting one another priority, 1 to 10. */
    setPriority(request: SetPriority): Promise<DownloadView>;
    /** Gives one conditions of its own: over any network, at any hour, on battery. */
    setConditions(request: SetConditions): Promise<DownloadView>;
  };
  readonly learning: {
    /** Records a place. */
    recordPosition(request: RecordPosition): Promise<ProgressView>;
    /** Records a completion. */
    complete(request: CompleteLesson): Promise<ProgressView>;
    /** The quiz of a lesson. */
    quiz(request: LessonRequest): Promise<QuizView>;
    /** Starts or goes on with a quiz. */
    startQuiz(request: StartQuiz): Promise<QuizView>;
    /** Records an answer. */
    answer(request: AnswerQuestion): Promise<QuizView>;
    /** Hands a session in. */
    finish(request: FinishSession): Promise<QuizView>;
    /** Interrupts a quiz or a review. */
    pause(request: SessionRequest): Promise<Session>;
    /** Goes on with it. */
    resume(request: SessionRequest): Promise<Session>;
    /** Gives it up; its answers are kept. */
    abandon(request: SessionRequest): Promise<Session>;
    /** Everything that can be reviewed. */
    decks(): Promise<DecksView>;
    /** The review of a lesson's cards. */
    review(request: LessonRequest): Promise<ReviewView>;
    /** Starts or goes on with a review. */
    startReview(request: LessonRequest): Promise<ReviewView>;
    /** Says how well the card that is shown was remembered. */
    rate(request: RateCard): Promise<ReviewView>;
    /** Ends a review. */
    finishReview(request: FinishSession): Promise<ReviewView>;
    /** The bookmarks of a lesson. */
    bookmarks(request: LessonRequest): Promise<BookmarksView>;
    /** Makes a bookmark, or changes one. */
    putBookmark(request: PutBookmark): Promise<BookmarksView>;
    /** Removes a bookmark. */
    deleteBookmark(request: DeleteBookmark): Promise<BookmarksView>;
    /** Records time with a lesson's player. */
    study(request: RecordStudy): Promise<StudyView>;
    /** What a learner has done, day by day. */
    statistics(request: StatisticsRequest): Promise<LearnerStatistics>;
  };
  readonly outbox: {
    /** What waits to be sent. */
    list(): Promise<OutboxView>;
    /** Sends a refused one again. */
    retry(request: OutboxRequest): Promise<OutboxView>;
    /** Gives a refused one up. */
    discard(request: OutboxRequest): Promise<OutboxView>;
    /** Everything that waits, as a file. */
    export(): Promise<OutboxExport>;
  };
  readonly playback: {
    /** What a lesson's player needs. */
    open(request: LessonRequest): Promise<PlaybackView>;
  };
  readonly settings: {
    /** A learner's choices. */
    get(): Promise<Settings>;
    /** Keeps them. */
    set(request: Settings): Promise<Settings>;
  };
  readonly storage: {
    /** What is on the disk. */
    usage(): Promise<StorageView>;
    /** Deletes a unit's files. */
    deleteUnit(request: DeleteUnit): Promise<Deleted>;
    /** Deletes the files of a course's units. */
    deleteCourse(request: DeleteCourse): Promise<Deleted>;
    /** Deletes the files of one download. */
    deleteDownload(request: DeleteDownload): Promise<Deleted>;
    /** Deletes all files of the learner. */
    clearAll(request: ClearAll): Promise<Deleted>;
    /** Forgets what was kept by opening it. */
    clearOpened(): Promise<StorageView>;
    /** Takes a deletion back. */
    undoDelete(request: UndoDelete): Promise<StorageView>;
    /** Limits what Carrel takes of this device. */
    setQuota(request: SetQuota): Promise<StorageView>;
    /** Keeps a unit from every rule, or no longer. */
    pin(request: PinUnit): Promise<StorageView>;
    /** By which rules units are deleted. */
    cleanUpRules(): Promise<CleanUpRules>;
    /** Keeps them. */
    setCleanUpRules(request: CleanUpRules): Promise<CleanUpRules>;
    /** What rules would delete now. */
    previewCleanUp(request: CleanUpRules): Promise<CleanUpPreview>;
    /** Deletes now what the rules pick. */
    cleanUp(): Promise<Deleted>;
    /** What was deleted, by whom and why. */
    cleanUpLog(): Promise<CleanUpLog>;
    /** Where the files are. */
    place(): Promise<StorePlace>;
    /** Moves the files to another folder. */
    moveStore(request: MoveStore): Promise<StorePlace>;
    /** Calls a move off. */
    cancelMove(): Promise<StorePlace>;
  };
  readonly sync: {
    /** Network, waiting writes, last sync. */
    status(): Promise<SyncView>;
    /** "Sync now". */
    now(): Promise<SyncNowView>;
  };
}

/** Binds every command to a way of calling. */
export function bindCommands(call: Call): Commands {
  return {
    access: {
      signIn: (request) => call('access_sign_in', request),
      switch: (request) => call('access_switch', request),
      signOut: (request) => call('access_sign_out', request),
    },
    app: {
      state: () => call('app_state', null),
      reopen: () => call('app_reopen', null),
      diagnostics: () => call('app_diagnostics', null),
    },
    catalogue: {
      library: () => call('catalogue_library', null),
      unit: (request) => call('catalogue_unit', request),
      lesson: (request) => call('catalogue_lesson', request),
      refresh: () => call('catalogue_refresh', null),
    },
    device: {
      state: () => call('device_state', null),
      confirmNetwork: () => call('device_confirm_network', null),
    },
    downloads: {
      list: () => call('downloads_list', null),
      start: (request) => call('downloads_start', request),
      pause: (request) => call('downloads_pause', request),
      resume: (request) => call('downloads_resume', request),
      cancel: (request) => call('downloads_cancel', request),
      retry: (request) => call('downloads_retry', request),
      pauseAll: () => call('downloads_pause_all', null),
      resumeAll: () => call('downloads_resume_all', null),
      cancelAll: () => call('downloads_cancel_all', null),
      retryAll: () => call('downloads_retry_all', null),
      startCourse: (request) => call('downloads_start_course', request),
      reorder: (request) => call('downloads_reorder', request),
      first: (request) => call('downloads_first', request),
      setPriority: (request) => call('downloads_set_priority', request),
      setConditions: (request) => call('downloads_set_conditions', request),
    },
    learning: {
      recordPosition: (request) => call('learning_record_position', request),
      complete: (request) => call('learning_complete', request),
      quiz: (request) => call('learning_quiz', request),
      startQuiz: (request) => call('learning_start_quiz', request),
      answer: (request) => call('learning_answer', request),
      finish: (request) => call('learning_finish', request),
      pause: (request) => call('learning_pause', request),
      resume: (request) => call('learning_resume', request),
      abandon: (request) => call('learning_abandon', request),
      decks: () => call('learning_decks', null),
      review: (request) => call('learning_review', request),
      startReview: (request) => call('learning_start_review', request),
      rate: (request) => call('learning_rate', request),
      finishReview: (request) => call('learning_finish_review', request),
      bookmarks: (request) => call('learning_bookmarks', request),
      putBookmark: (request) => call('learning_put_bookmark', request),
      deleteBookmark: (request) => call('learning_delete_bookmark', request),
      study: (request) => call('learning_study', request),
      statistics: (request) => call('learning_statistics', request),
    },
    outbox: {
      list: () => call('outbox_list', null),
      retry: (request) => call('outbox_retry', request),
      discard: (request) => call('outbox_discard', request),
      export: () => call('outbox_export', null),
    },
    playback: {
      open: (request) => call('playback_open', request),
    },
    settings: {
      get: () => call('settings_get', null),
      set: (request) => call('settings_set', request),
    },
    storage: {
      usage: () => call('storage_usage', null),
      deleteUnit: (request) => call('storage_delete_unit', request),
      deleteCourse: (request) => call('storage_delete_course', request),
      deleteDownload: (request) => call('storage_delete_download', request),
      clearAll: (request) => call('storage_clear_all', request),
      clearOpened: () => call('storage_clear_opened', null),
      undoDelete: (request) => call('storage_undo_delete', request),
      setQuota: (request) => call('storage_set_quota', request),
      pin: (request) => call('storage_pin', request),
      cleanUpRules: () => call('storage_clean_up_rules', null),
      setCleanUpRules: (request) => call('storage_set_clean_up_rules', request),
      previewCleanUp: (request) => call('storage_preview_clean_up', request),
      cleanUp: () => call('storage_clean_up', null),
      cleanUpLog: () => call('storage_clean_up_log', null),
      place: () => call('storage_place', null),
      moveStore: (request) => call('storage_move_store', request),
      cancelMove: () => call('storage_cancel_move', null),
    },
    sync: {
      status: () => call('sync_status', null),
      now: () => call('sync_now', null),
    },
  };
}
