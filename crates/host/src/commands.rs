//! Every command, once.
//!
//! `area.verb (request) -> answer, surfaces => body`. The body has the engine and, after `for`, the id of the
//! learner in use; it is one call into the engine. Nothing is decided here.

use carrel_engine::{
    access::view::{ProfileView, SignIn, SignOut, SwitchProfile},
    catalogue::view::{LessonRequest, LessonView, LibraryView, UnitRequest, UnitView},
    downloads::view::{
        CourseStarted, DownloadRequest, DownloadView, DownloadsView, MoveDownload, SetConditions, SetPriority,
        StartCourse, StartDownload,
    },
    learning::view::{
        AnswerQuestion, BookmarksView, CompleteLesson, DecksView, DeleteBookmark, FinishSession, LearnerStatistics,
        ProgressView, PutBookmark, QuizView, RateCard, RecordPosition, RecordStudy, ReviewView, SessionRequest,
        StartQuiz, StatisticsRequest, StudyView,
    },
    model::session::Session,
    network::device::DeviceView,
    outbox::view::{OutboxExport, OutboxRequest, OutboxView},
    playback::view::PlaybackView,
    settings::Settings,
    storage::view::{
        CleanUpLog, CleanUpPreview, CleanUpRules, ClearAll, DeleteCourse, DeleteDownload, DeleteUnit, Deleted,
        MoveStore, PinUnit, SetQuota, StorageView, StorePlace, UndoDelete,
    },
    sync::view::{SyncNowView, SyncView},
};
use ts_rs::TS;

use crate::{
    app::AppView,
    command::{Answer, CommandSpec, Surface, decode, encode},
    diagnostics::DiagnosticsView,
};

macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $area:ident.$verb:ident($request:ty) -> $response:ty, $surfaces:expr => |$host:ident $(for $learner:ident)? $(, $value:ident)?| $body:expr;)+) => {
        /// The table.
        pub const COMMANDS: &[CommandSpec] = &[$(CommandSpec {
            area: stringify!($area),
            verb: stringify!($verb),
            name: concat!(stringify!($area), "_", stringify!($verb)),
            doc: concat!($($doc),+),
            surfaces: $surfaces,
            request_type: <$request as TS>::name,
            response_type: <$response as TS>::name,
            export_types: |config| {
                // The unit type has no file of its own.
                if stringify!($request) != "()" { <$request as TS>::export_all(config)?; }
                if stringify!($response) != "()" { <$response as TS>::export_all(config)?; }
                Ok(())
            },
            run: |$host, request| -> Answer<'_> {
                Box::pin(async move {
                    $(let $learner = $host.learner().await?;)?
                    let _decoded: $request = decode(request)?;
                    $(let $value = _decoded;)?
                    let answer: $response = $body;
                    encode(&answer)
                })
            },
        }),+];
    };
}

const MAIN: &[Surface] = &[Surface::Main];
const EVERYWHERE: &[Surface] = &[Surface::Main, Surface::Diagnostics];

commands! {
    /// Everything a front end needs to start: who learns, state of sync, choices, where media are.
    app.state(()) -> AppView, EVERYWHERE => |host| host.state().await?;
    /// Tries again to open a store that could not be opened.
    app.reopen(()) -> AppView, MAIN => |host| host.reopen().await?;
    /// Versions, counts and checks, for the diagnostics window.
    app.diagnostics(()) -> DiagnosticsView, EVERYWHERE => |host| host.diagnostics().await?;

    /// Signs in, or signs in again.
    access.sign_in(SignIn) -> ProfileView, MAIN => |host, request| host.engine()?.access().sign_in(request).await?;
    /// Makes a learner of this device the current one.
    access.switch(SwitchProfile) -> ProfileView, MAIN => |host, request| host.engine()?.access().switch(request).await?;
    /// Signs out.
    access.sign_out(SignOut) -> (), MAIN => |host for learner, request| host.engine()?.access().sign_out(learner, request).await?;

    /// Courses and units.
    catalogue.library(()) -> LibraryView, MAIN => |host for learner| host.engine()?.catalogue().library(learner).await?;
    /// A unit.
    catalogue.unit(UnitRequest) -> UnitView, MAIN => |host for learner, request| host.engine()?.catalogue().unit(learner, request.unit_id).await?;
    /// A lesson.
    catalogue.lesson(LessonRequest) -> LessonView, MAIN => |host for learner, request| host.engine()?.catalogue().lesson(learner, request.lesson_id).await?;
    /// Fetches what changed.
    catalogue.refresh(()) -> (), MAIN => |host for learner| host.engine()?.catalogue().refresh(learner).await?;

    /// The queue.
    downloads.list(()) -> DownloadsView, MAIN => |host for learner| host.engine()?.downloads().list(learner).await?;
    /// Takes a unit or a lesson along.
    downloads.start(StartDownload) -> DownloadView, MAIN => |host for learner, request| host.engine()?.storage().take_along(learner, request).await?;
    /// Stops one; verified bytes stay.
    downloads.pause(DownloadRequest) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().pause(learner, request.download_id).await?;
    /// Lets one go on.
    downloads.resume(DownloadRequest) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().resume(learner, request.download_id).await?;
    /// Calls one off.
    downloads.cancel(DownloadRequest) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().cancel(learner, request.download_id).await?;
    /// Tries one again.
    downloads.retry(DownloadRequest) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().retry(learner, request.download_id).await?;
    /// Stops all.
    downloads.pause_all(()) -> DownloadsView, MAIN => |host for learner| host.engine()?.downloads().pause_all(learner).await?;
    /// Lets all go on.
    downloads.resume_all(()) -> DownloadsView, MAIN => |host for learner| host.engine()?.downloads().resume_all(learner).await?;
    /// Calls off all that are not finished.
    downloads.cancel_all(()) -> DownloadsView, MAIN => |host for learner| host.engine()?.downloads().cancel_all(learner).await?;
    /// Tries all that failed again.
    downloads.retry_all(()) -> DownloadsView, MAIN => |host for learner| host.engine()?.downloads().retry_all(learner).await?;
    /// Takes a whole course along.
    downloads.start_course(StartCourse) -> CourseStarted, MAIN => |host for learner, request| host.engine()?.downloads().start_course(learner, request).await?;
    /// Moves a waiting one, into the priority of its new neighbour.
    downloads.reorder(MoveDownload) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().reorder(learner, request).await?;
    /// Makes a waiting one the next.
    downloads.first(DownloadRequest) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().first(learner, request.download_id).await?;
    /// Gives a waiting one another priority, 1 to 10.
    downloads.set_priority(SetPriority) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().set_priority(learner, request).await?;

    /// Gives one conditions of its own: over any network, at any hour, on battery.
    downloads.set_conditions(SetConditions) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().set_conditions(learner, request).await?;

    /// What the platform says of link and power.
    device.state(()) -> DeviceView, MAIN => |host| host.engine()?.device().state();
    /// The learner says that this network may be used for downloads.
    device.confirm_network(()) -> DeviceView, MAIN => |host| host.engine()?.device().confirm_network();

    /// What a lesson's player needs.
    playback.open(LessonRequest) -> PlaybackView, MAIN => |host for learner, request| host.open_lesson(learner, request.lesson_id).await?;

    /// Records a place.
    learning.record_position(RecordPosition) -> ProgressView, MAIN => |host for learner, request| host.engine()?.learning().record_position(learner, request).await?;
    /// Records a completion.
    learning.complete(CompleteLesson) -> ProgressView, MAIN => |host for learner, request| host.engine()?.learning().complete(learner, request).await?;
    /// The quiz of a lesson.
    learning.quiz(LessonRequest) -> QuizView, MAIN => |host for learner, request| host.engine()?.learning().quiz(learner, request.lesson_id).await?;
    /// Starts or goes on with a quiz.
    learning.start_quiz(StartQuiz) -> QuizView, MAIN => |host for learner, request| host.engine()?.learning().start_quiz(learner, request).await?;
    /// Records an answer.
    learning.answer(AnswerQuestion) -> QuizView, MAIN => |host for learner, request| host.engine()?.learning().answer(learner, request).await?;
    /// Hands a session in.
    learning.finish(FinishSession) -> QuizView, MAIN => |host for learner, request| host.engine()?.learning().finish(learner, request).await?;
    /// Interrupts a quiz or a review.
    learning.pause(SessionRequest) -> Session, MAIN => |host for learner, request| host.engine()?.learning().pause(learner, request).await?;
    /// Goes on with it.
    learning.resume(SessionRequest) -> Session, MAIN => |host for learner, request| host.engine()?.learning().resume(learner, request).await?;
    /// Gives it up; its answers are kept.
    learning.abandon(SessionRequest) -> Session, MAIN => |host for learner, request| host.engine()?.learning().abandon(learner, request).await?;
    /// Everything that can be reviewed.
    learning.decks(()) -> DecksView, MAIN => |host for learner| host.engine()?.learning().decks(learner).await?;
    /// The review of a lesson's cards.
    learning.review(LessonRequest) -> ReviewView, MAIN => |host for learner, request| host.engine()?.learning().review(learner, request.lesson_id).await?;
    /// Starts or goes on with a review.
    learning.start_review(LessonRequest) -> ReviewView, MAIN => |host for learner, request| host.engine()?.learning().start_review(learner, request.lesson_id).await?;
    /// Says how well the card that is shown was remembered.
    learning.rate(RateCard) -> ReviewView, MAIN => |host for learner, request| host.engine()?.learning().rate(learner, request).await?;
    /// Ends a review.
    learning.finish_review(FinishSession) -> ReviewView, MAIN => |host for learner, request| host.engine()?.learning().finish_review(learner, request).await?;
    /// The bookmarks of a lesson.
    learning.bookmarks(LessonRequest) -> BookmarksView, MAIN => |host for learner, request| host.engine()?.learning().bookmarks(learner, request.lesson_id).await?;
    /// Makes a bookmark, or changes one.
    learning.put_bookmark(PutBookmark) -> BookmarksView, MAIN => |host for learner, request| host.engine()?.learning().put_bookmark(learner, request).await?;
    /// Removes a bookmark.
    learning.delete_bookmark(DeleteBookmark) -> BookmarksView, MAIN => |host for learner, request| host.engine()?.learning().delete_bookmark(learner, request).await?;
    /// Records time with a lesson's player.
    learning.study(RecordStudy) -> StudyView, MAIN => |host for learner, request| host.engine()?.learning().study(learner, request).await?;
    /// What a learner has done, day by day.
    learning.statistics(StatisticsRequest) -> LearnerStatistics, MAIN => |host for learner, request| host.engine()?.learning().statistics(learner, request).await?;

    /// What waits to be sent.
    outbox.list(()) -> OutboxView, MAIN => |host for learner| host.engine()?.outbox().list(learner).await?;
    /// Sends a refused one again.
    outbox.retry(OutboxRequest) -> OutboxView, MAIN => |host for learner, request| host.engine()?.outbox().retry(learner, request).await?;
    /// Gives a refused one up.
    outbox.discard(OutboxRequest) -> OutboxView, MAIN => |host for learner, request| host.engine()?.outbox().discard(learner, request).await?;
    /// Everything that waits, as a file.
    outbox.export(()) -> OutboxExport, MAIN => |host for learner| host.engine()?.outbox().export(learner).await?;

    /// Network, waiting writes, last sync.
    sync.status(()) -> SyncView, MAIN => |host| host.sync_status().await?;
    /// "Sync now".
    sync.now(()) -> SyncNowView, MAIN => |host for learner| host.engine()?.sync().now(learner).await?;

    /// What is on the disk.
    storage.usage(()) -> StorageView, MAIN => |host for learner| host.engine()?.storage().usage(learner).await?;
    /// Deletes a unit's files.
    storage.delete_unit(DeleteUnit) -> Deleted, MAIN => |host for learner, request| host.engine()?.storage().delete_unit(learner, request).await?;
    /// Deletes the files of a course's units.
    storage.delete_course(DeleteCourse) -> Deleted, MAIN => |host for learner, request| host.engine()?.storage().delete_course(learner, request).await?;
    /// Deletes the files of one download.
    storage.delete_download(DeleteDownload) -> Deleted, MAIN => |host for learner, request| host.engine()?.storage().delete_download(learner, request).await?;
    /// Deletes all files of the learner.
    storage.clear_all(ClearAll) -> Deleted, MAIN => |host for learner, request| host.engine()?.storage().clear_all(learner, request).await?;
    /// Forgets what was kept by opening it.
    storage.clear_opened(()) -> StorageView, MAIN => |host for learner| host.engine()?.storage().clear_opened(learner).await?;
    /// Takes a deletion back.
    storage.undo_delete(UndoDelete) -> StorageView, MAIN => |host for learner, request| host.engine()?.storage().undo_delete(learner, request).await?;

    /// Limits what Carrel takes of this device.
    storage.set_quota(SetQuota) -> StorageView, MAIN => |host for learner, request| host.engine()?.storage().set_quota(learner, request).await?;
    /// Keeps a unit from every rule, or no longer.
    storage.pin(PinUnit) -> StorageView, MAIN => |host for learner, request| host.engine()?.storage().pin(learner, request).await?;
    /// By which rules units are deleted.
    storage.clean_up_rules(()) -> CleanUpRules, MAIN => |host for learner| host.engine()?.storage().clean_up_rules(learner).await?;
    /// Keeps them.
    storage.set_clean_up_rules(CleanUpRules) -> CleanUpRules, MAIN => |host for learner, request| host.engine()?.storage().set_clean_up_rules(learner, request).await?;
    /// What rules would delete now.
    storage.preview_clean_up(CleanUpRules) -> CleanUpPreview, MAIN => |host for learner, request| host.engine()?.storage().preview_clean_up(learner, request).await?;
    /// Deletes now what the rules pick.
    storage.clean_up(()) -> Deleted, MAIN => |host for learner| host.engine()?.storage().clean_up(learner).await?;
    /// What was deleted, by whom and why.
    storage.clean_up_log(()) -> CleanUpLog, MAIN => |host for learner| host.engine()?.storage().clean_up_log(learner).await?;
    /// Where the files are.
    storage.place(()) -> StorePlace, MAIN => |host| host.engine()?.storage().place().await;
    /// Moves the files to another folder.
    storage.move_store(MoveStore) -> StorePlace, MAIN => |host, request| host.engine()?.storage().move_store(request).await?;
    /// Calls a move off.
    storage.cancel_move(()) -> StorePlace, MAIN => |host| host.engine()?.storage().cancel_move().await?;

    /// A learner's choices.
    settings.get(()) -> Settings, MAIN => |host for learner| host.engine()?.settings().get(learner).await?;
    /// Keeps them.
    settings.set(Settings) -> Settings, MAIN => |host for learner, request| host.engine()?.settings().set(learner, request).await?;
}
