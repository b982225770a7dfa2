//! Every command, once.
//!
//! `area.verb (request) -> answer, surfaces => body`. The body has the engine and, after `for`, the id of the
//! learner in use; it is one call into the engine. Nothing is decided here.

use carrel_engine::{
    access::view::{ProfileView, SignIn, SignOut, SwitchProfile},
    catalogue::view::{LessonRequest, LessonView, LibraryView, UnitRequest, UnitView},
    downloads::view::{DownloadRequest, DownloadView, DownloadsView, MoveDownload, StartDownload},
    learning::view::{
        AnswerQuestion, CompleteLesson, FinishSession, ProgressView, QuizView, RecordPosition, StartQuiz,
    },
    outbox::view::{OutboxExport, OutboxRequest, OutboxView},
    playback::view::PlaybackView,
    settings::Settings,
    storage::view::{DeleteUnit, Deleted, StorageView, UndoDelete},
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
    downloads.start(StartDownload) -> DownloadView, MAIN => |host for learner, request| host.engine()?.downloads().start(learner, request).await?;
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
    /// Moves a waiting one.
    downloads.reorder(MoveDownload) -> DownloadsView, MAIN => |host for learner, request| host.reorder_download(learner, request).await?;

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
    /// Deletes all files of the learner.
    storage.clear_all(()) -> Deleted, MAIN => |host for learner| host.engine()?.storage().clear_all(learner).await?;
    /// Takes a deletion back.
    storage.undo_delete(UndoDelete) -> StorageView, MAIN => |host for learner, request| host.engine()?.storage().undo_delete(learner, request).await?;

    /// A learner's choices.
    settings.get(()) -> Settings, MAIN => |host for learner| host.engine()?.settings().get(learner).await?;
    /// Keeps them.
    settings.set(Settings) -> Settings, MAIN => |host for learner, request| host.engine()?.settings().set(learner, request).await?;
}
