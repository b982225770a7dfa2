//! The download queue: persistent, restartable, at most `concurrency` at once.
//!
//! A download is a wish of one learner (a unit or one lesson of it, in a quality) and the items that fulfil it: assets,
//! each with the blob it is. `scheduler` decides what runs, `runner` performs it, `setback` says what follows a failure;
//! the state is in SQLite and moves only by [`DownloadState::after`](carrel_model::download::DownloadState::after).
//! Nothing polls: the queue is looked at when a command wrote to it, the network changed, a transfer ended or a wait is
//! over.
//!
//! For lists of units and lessons the catalogue asks [`offline_states`], with the fixed signature
//! `async fn offline_states(readers: &SqlitePool, profile: ProfileId, now: TimeMs) -> Result<OfflineStates, EngineError>`
//! where `now` is trusted time; [`OfflineStates::unit`] and [`OfflineStates::lesson`] give "not downloaded" for what isn't
//! there. [`Downloads::for_unit`] is the download of a unit screen, [`Downloads::net_bytes`] what of some blobs isn't here,
//! [`Downloads::space`] the room on the disk. What this room needs of others is in `rooms`.

mod addresses;
mod all;
mod awake;
mod commands;
mod ends;
mod enqueue;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod grant;
mod items;
mod line;
mod live;
mod news;
mod offline;
mod order;
mod queue;
pub(crate) mod rooms;
pub(crate) mod rows;
mod runner;
mod scheduler;
mod setback;
mod start;
mod told;
pub mod view;

use std::sync::Arc;

use carrel_model::{BlobHash, DownloadId, ProfileId, TimeMs, UnitId};
use carrel_transfer::Fetcher;

use crate::{
    EngineError,
    background::Background,
    blobs::{Blobs, Space},
    events::EventBus,
    library::Library,
    ports::Clock,
};
use queue::Queue;
use rooms::Rooms;
use view::{
    CourseStarted, DownloadView, DownloadsView, MoveDownload, SetConditions, SetPriority, StartCourse, StartDownload,
};

pub use offline::{NOT_DOWNLOADED, OfflineStates, offline_states};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Downloads {
    queue: Arc<Queue>,
}

/// What the room is made of.
#[derive(Debug)]
pub(crate) struct DownloadsParts {
    pub(crate) library: Library,
    pub(crate) blobs: Blobs,
    pub(crate) rooms: Arc<dyn Rooms>,
    pub(crate) events: EventBus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fetcher: Fetcher,
}

impl Downloads {
    /// Brings files and rows to agree, and lets everything that was running go on. The queue itself runs in `background`.
    pub(crate) async fn open(parts: DownloadsParts, background: &Background) -> Result<Self, EngineError> {
        let downloads = Self { queue: Arc::new(Queue::new(parts)) };
        downloads.queue.recover().await?;
        let queue = Arc::clone(&downloads.queue);
        background.spawn(async move { runner::run(queue).await });
        Ok(downloads)
    }

    /// All downloads of a learner.
    pub async fn list(&self, profile: ProfileId) -> Result<DownloadsView, EngineError> {
        self.queue.list(profile).await
    }

    /// Authorises, reserves space, queues. Asking again for what is queued or complete gives that download.
    pub async fn start(&self, profile: ProfileId, request: StartDownload) -> Result<DownloadView, EngineError> {
        start::start(&self.queue, profile, request).await
    }

    /// As [`start`](Self::start) for many wishes, which are written together. What is refused comes back with its error and
    /// keeps nothing else from being queued.
    pub async fn start_all(
        &self,
        profile: ProfileId,
        requests: Vec<StartDownload>,
    ) -> Result<Vec<(StartDownload, EngineError)>, EngineError> {
        start::start_all(&self.queue, profile, requests).await
    }

    /// Stops it; verified bytes stay.
    pub async fn pause(&self, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
        commands::pause(&self.queue, profile, id).await
    }

    /// Lets it go on.
    pub async fn resume(&self, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
        commands::resume(&self.queue, profile, id).await
    }

    /// Calls it off; its unshared bytes go.
    pub async fn cancel(&self, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
        commands::cancel(&self.queue, profile, id).await
    }

    /// Tries again what failed, was cancelled, has expired or is damaged.
    pub async fn retry(&self, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
        commands::retry(&self.queue, profile, id).await
    }

    /// Stops all.
    pub async fn pause_all(&self, profile: ProfileId) -> Result<DownloadsView, EngineError> {
        all::pause(&self.queue, profile).await
    }

    /// Lets all paused ones go on.
    pub async fn resume_all(&self, profile: ProfileId) -> Result<DownloadsView, EngineError> {
        all::resume(&self.queue, profile).await
    }

    /// Calls off all that are not finished.
    pub async fn cancel_all(&self, profile: ProfileId) -> Result<DownloadsView, EngineError> {
        all::cancel(&self.queue, profile).await
    }

    /// Tries again all that have failed.
    pub async fn retry_all(&self, profile: ProfileId) -> Result<DownloadsView, EngineError> {
        all::retry(&self.queue, profile).await
    }

    /// Takes a whole course along: each of its units is a download.
    pub async fn start_course(&self, profile: ProfileId, request: StartCourse) -> Result<CourseStarted, EngineError> {
        all::start_course(&self.queue, profile, request).await
    }

    /// Makes a waiting one the next: before all others, with the highest priority; durable when this returns.
    pub async fn first(&self, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
        order::first(&self.queue, profile, id).await
    }

    /// Moves a waiting one within the queue, into the priority of its new neighbour; durable when this returns.
    pub async fn reorder(&self, profile: ProfileId, request: MoveDownload) -> Result<DownloadView, EngineError> {
        order::reorder(&self.queue, profile, request).await
    }

    /// Gives a waiting one another priority; durable when this returns.
    pub async fn set_priority(&self, profile: ProfileId, request: SetPriority) -> Result<DownloadView, EngineError> {
        order::set_priority(&self.queue, profile, request).await
    }

    /// Gives one conditions of its own, beside the learner's settings; they hold until it is complete.
    pub async fn set_conditions(
        &self,
        profile: ProfileId,
        request: SetConditions,
    ) -> Result<DownloadView, EngineError> {
        order::set_conditions(&self.queue, profile, request).await
    }

    /// The download of a unit as a whole, unless it was cancelled or deleted.
    pub(crate) async fn for_unit(&self, profile: ProfileId, unit: UnitId) -> Result<Option<DownloadView>, EngineError> {
        let row = rows::of_wish(self.queue.library.readers(), profile, unit, None).await?;
        let row = row.filter(|row| row.state != carrel_model::download::DownloadState::Cancelled);
        Ok(row.map(|row| self.queue.view(&row)))
    }

    /// Of these blobs with their sizes, the bytes that are not on this device yet.
    pub(crate) async fn net_bytes(&self, blobs: &[(BlobHash, u64)]) -> Result<u64, EngineError> {
        enqueue::net_bytes(&self.queue, blobs).await
    }

    /// Room on the disk, with what the queue has reserved.
    pub(crate) async fn space(&self) -> Result<Space, EngineError> {
        self.queue.space().await
    }

    /// A blob of a learner's content was found missing or altered: downloads that need it fetch what is damaged again.
    pub(crate) async fn fall_back(&self, damaged: &[BlobHash]) -> Result<(), EngineError> {
        self.queue.fall_back(damaged).await
    }

    /// Somebody plays an asset that isn't here, which is one of these blobs: if a download brings one of them, it comes
    /// before everything else.
    pub(crate) fn plays(&self, blobs: impl IntoIterator<Item = BlobHash>) {
        self.queue.plays(blobs.into_iter().collect());
    }

    /// Something outside changed that waits may depend on: a sign-in, settings, freed space.
    pub(crate) fn wake(&self) {
        self.queue.news.tell_all();
    }

    /// Another learner sits down: what is fetched for others stops where it is, and goes on when they are back. What both
    /// need begins again at once, for this one.
    pub(crate) fn pause_others(&self, learner: Option<ProfileId>) {
        for fetch in self.queue.live.all().values().filter(|fetch| Some(fetch.profile) != learner) {
            fetch.control.pause();
        }
        self.wake();
    }

    /// Ends transfers nobody needs any more, removes blobs nobody refers to, and tells who listens. After anything that
    /// takes references away: a deletion, a sign-out.
    pub(crate) async fn release(&self) -> Result<u64, EngineError> {
        self.queue.release().await
    }

    /// A learner signs out: what only they needed leaves the disk, and so do the records of it.
    pub(crate) async fn forget_profile(&self, profile: ProfileId) -> Result<(), EngineError> {
        let mut tx = self.queue.library.write().await?;
        for table in ["downloads", "cache_entries", "unit_openings"] {
            sqlx::query(&format!("DELETE FROM {table} WHERE profile_id = ?"))
                .bind(profile.to_string())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        self.queue.release().await?;
        Ok(())
    }

    /// Stops transfers that no queued download needs.
    pub(crate) async fn stop_unneeded(&self) -> Result<(), EngineError> {
        self.queue.stop_unneeded().await
    }

    /// Tells who listens how these downloads are now.
    pub(crate) async fn publish(&self, ids: &[DownloadId]) -> Result<(), EngineError> {
        self.queue.publish(ids).await
    }
}

/// An id made of the engine's clock and randomness.
fn new_id(clock: &dyn Clock) -> (TimeMs, DownloadId) {
    let now = clock.now();
    let mut random = [0; 10];
    clock.fill_random(&mut random);
    (now, DownloadId::from_parts(now, random))
}

#[cfg(test)]
mod tests;
