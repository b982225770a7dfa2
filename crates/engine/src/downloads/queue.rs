//! What commands and the runner share: the parts, reading views, completing, and letting go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use carrel_model::{BlobHash, DownloadId, ErrorCode, ProfileId, download::DownloadAction};
use carrel_transfer::{Fetcher, Urgency};

use super::{
    DownloadsParts,
    addresses::Addresses,
    enqueue, line,
    live::Live,
    news::NewsBoard,
    rooms::Rooms,
    rows::{self, Change, DownloadRow},
    view::{DownloadView, DownloadsView},
};
use crate::{
    EngineError, EngineEvent,
    blobs::{Blobs, Space, read_hash},
    events::EventBus,
    library::Library,
    ports::Clock,
    rows::{parsed, unsigned},
};

/// More downloads than these changed at once, and whoever listens reads the list anew: an event for each of 50,000 would
/// cost more than the list.
const MOST_TOLD: usize = 200;
/// Completed in one transaction.
const SETTLED_AT_ONCE: u32 = 200;
/// What an answer about room keeps in reserve for what isn't known yet.
const SPARE_BYTES: u64 = 64 << 20;

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) library: Library,
    pub(super) blobs: Blobs,
    pub(super) rooms: Arc<dyn Rooms>,
    pub(super) events: EventBus,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) fetcher: Fetcher,
    pub(super) live: Live,
    pub(super) addresses: Addresses,
    /// What is being played and isn't here: it comes before everything else.
    pub(super) playing: Mutex<BTreeSet<BlobHash>>,
    /// What the runner is to look at.
    pub(super) news: NewsBoard,
}

impl Queue {
    pub(super) fn new(parts: DownloadsParts) -> Self {
        let DownloadsParts { library, blobs, rooms, events, clock, fetcher } = parts;
        let addresses = Addresses::new(library.clone(), Arc::clone(&rooms), Arc::clone(&clock));
        let (live, news) = (Live::default(), NewsBoard::default());
        Self { library, blobs, rooms, events, clock, fetcher, live, addresses, playing: Mutex::default(), news }
    }

    /// After a start: what was running waits for its turn again, what the scan found damaged is fetched again, and what was
    /// deleted for longer than it can be undone is released.
    pub(super) async fn recover(&self) -> Result<(), EngineError> {
        enqueue::undo_unfinished(self).await?;
        let mut tx = self.library.write().await?;
        // Every state of the queue may be requeued.
        sqlx::query(
            "UPDATE downloads SET state = 'pending', retry_at = NULL, retry_reason = NULL
             WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying')
               AND (state <> 'pending' OR retry_at IS NOT NULL)",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.look_at_the_store().await?;
        // A crash may have come between the last blob's place and the completion of its download.
        self.settle().await?;
        Ok(())
    }

    /// Brings files and rows to agree, and lets what is damaged be fetched again. Where the store's drive is not there
    /// nothing is known of its files, and nothing is changed.
    pub(super) async fn look_at_the_store(&self) -> Result<(), EngineError> {
        if self.blobs.is_here().await {
            let report = self.blobs.scan().await?;
            self.fall_back(&report.damaged).await?;
        }
        Ok(())
    }

    pub(super) async fn list(&self, profile: ProfileId) -> Result<DownloadsView, EngineError> {
        let rows = rows::of_profile(self.library.readers(), profile).await?;
        Ok(DownloadsView { downloads: self.views(&rows).await? })
    }

    /// A row as a front end sees it, without what a transfer knows better.
    pub(super) fn view(&self, row: &DownloadRow) -> DownloadView {
        row.view(self.rooms.trusted_now())
    }

    /// Rows as a front end sees them now.
    pub(super) async fn views(&self, rows: &[DownloadRow]) -> Result<Vec<DownloadView>, EngineError> {
        let stored = self.stored_of_running().await?;
        let mut views: Vec<_> = rows.iter().map(|row| self.view(row)).collect();
        for view in &mut views {
            self.live.lay_over(view, &stored);
        }
        Ok(views)
    }

    /// One download of a learner as it is now.
    pub(super) async fn one(&self, profile: ProfileId, id: DownloadId) -> Result<DownloadView, EngineError> {
        let row = rows::get(self.library.readers(), profile, id).await?;
        self.views(&[row]).await?.pop().ok_or(EngineError::NotFound("download"))
    }

    /// Verified bytes of running blobs that the rows count already.
    async fn stored_of_running(&self) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
        let running: Vec<BlobHash> = self.live.all().keys().copied().collect();
        if running.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = sqlx::query("SELECT hash, verified_bytes FROM blobs WHERE hash IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&running)?)
            .fetch_all(self.library.readers())
            .await?;
        rows.iter().map(|row| Ok((read_hash(row)?, unsigned(row, "verified_bytes")?))).collect()
    }

    /// Tells who listens how these downloads are now.
    pub(super) async fn publish(&self, ids: &[DownloadId]) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Ok(());
        }
        if ids.len() > MOST_TOLD {
            self.events.send(EngineEvent::Resync);
            return Ok(());
        }
        let rows = rows::of_ids(self.library.readers(), ids).await?;
        let (gone, here): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.deleted_at.is_some());
        let views = self.views(&here).await?;
        let mut by_profile: BTreeMap<ProfileId, (Vec<DownloadView>, Vec<DownloadId>)> = BTreeMap::new();
        for (row, view) in here.iter().zip(views) {
            by_profile.entry(row.profile_id).or_default().0.push(view);
        }
        for row in gone {
            by_profile.entry(row.profile_id).or_default().1.push(row.id);
        }
        for (profile_id, (changed, removed)) in by_profile {
            self.events.send(EngineEvent::Downloads { profile_id, changed, removed });
        }
        Ok(())
    }

    /// Tells that one has ended, well or not.
    pub(super) async fn publish_end(&self, profile: ProfileId, id: DownloadId) -> Result<(), EngineError> {
        self.publish(&[id]).await?;
        let download = self.one(profile, id).await?;
        self.events.send(EngineEvent::DownloadEnded { profile_id: profile, download });
        Ok(())
    }

    /// Room on the disk, with what the queue has reserved.
    pub(super) async fn space(&self) -> Result<Space, EngineError> {
        self.space_for(SPARE_BYTES).await
    }

    /// As [`space`](Self::space); to the byte where so many bytes might not fit.
    pub(super) async fn space_for(&self, needed: u64) -> Result<Space, EngineError> {
        let space = self.blobs.space().await?;
        let begun = self.blobs.begun().await?;
        let enough = space.above_floor_bytes().saturating_sub(needed);
        let reserved_bytes = line::reserved_bytes(self.library.readers(), &begun, enough).await?;
        Ok(Space { reserved_bytes, ..space })
    }

    /// Completes every queued download of which all is verified on disk; gives those. The generation that was fetched
    /// becomes the one that opens, and the one before it is let go, in one transaction.
    pub(super) async fn settle(&self) -> Result<BTreeSet<DownloadId>, EngineError> {
        let mut settled = BTreeSet::new();
        loop {
            let ids = line::whole(self.library.readers(), SETTLED_AT_ONCE).await?;
            let done = if ids.is_empty() { Vec::new() } else { self.complete(&ids).await? };
            if done.is_empty() {
                break;
            }
            for row in &done {
                settled.insert(row.id);
            }
            self.publish_ends(&done).await?;
        }
        if !settled.is_empty() {
            self.blobs.sweep().await?;
            self.events.send(EngineEvent::Storage);
        }
        Ok(settled)
    }

    async fn complete(&self, ids: &[DownloadId]) -> Result<Vec<DownloadRow>, EngineError> {
        let mut tx = self.library.write().await?;
        let mut done = Vec::new();
        for row in rows::of_ids(&mut *tx, ids).await? {
            // Read again: a command or another blob may have come between.
            if !row.state.is_active() || row.deleted_at.is_some() || row.blobs_missing > 0 {
                continue;
            }
            let state = row.after(DownloadAction::Complete)?;
            rows::set_state(&mut tx, row.id, state, Change::default()).await?;
            self.rooms.enqueue(&mut tx, row.profile_id, &row.report(state, row.bytes_total, false)).await?;
            done.push(row);
        }
        let ids = serde_json::to_string(&done.iter().map(|row| row.id).collect::<Vec<_>>())?;
        sqlx::query(
            "UPDATE downloads SET usable_generation = generation, completed_at = ?
             WHERE id IN (SELECT value FROM json_each(?))",
        )
        .bind(self.clock.now().as_ms())
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM download_items WHERE download_id IN (SELECT value FROM json_each(?))
               AND generation <> (SELECT d.generation FROM downloads d WHERE d.id = download_items.download_id)",
        )
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done)
    }

    async fn publish_ends(&self, done: &[DownloadRow]) -> Result<(), EngineError> {
        let ids: Vec<_> = done.iter().map(|row| row.id).collect();
        self.publish(&ids).await?;
        let rows = rows::of_ids(self.library.readers(), &ids).await?;
        for (row, download) in rows.iter().zip(self.views(&rows).await?) {
            self.events.send(EngineEvent::DownloadEnded { profile_id: row.profile_id, download });
        }
        Ok(())
    }

    /// Gives a download up, with the reason.
    pub(super) async fn fail(&self, id: DownloadId, error: ErrorCode) -> Result<(), EngineError> {
        let mut tx = self.library.write().await?;
        let Some(row) = rows::of_ids(&mut *tx, &[id]).await?.pop() else { return Ok(()) };
        let Some(state) = row.state.after(DownloadAction::Fail) else { return Ok(()) };
        rows::set_state(&mut tx, id, state, Change { error: Some(error), ..Change::default() }).await?;
        self.rooms.enqueue(&mut tx, row.profile_id, &row.report(state, row.bytes_done, false)).await?;
        tx.commit().await?;
        self.publish_end(row.profile_id, id).await
    }

    /// Completed downloads that need one of these blobs are fetched again, as far as they are damaged.
    pub(super) async fn fall_back(&self, damaged: &[BlobHash]) -> Result<(), EngineError> {
        if damaged.is_empty() {
            return Ok(());
        }
        let mut tx = self.library.write().await?;
        let ids = sqlx::query(
            "SELECT DISTINCT d.id FROM downloads d
             JOIN download_items i ON i.download_id = d.id AND i.generation = d.generation
             WHERE d.state = 'completed' AND d.deleted_at IS NULL AND i.hash IN (SELECT value FROM json_each(?))",
        )
        .bind(serde_json::to_string(damaged)?)
        .fetch_all(&mut *tx)
        .await?;
        let ids: Vec<DownloadId> = ids.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
        for row in rows::of_ids(&mut *tx, &ids).await? {
            let state = row.after(DownloadAction::Retry)?;
            rows::set_state(&mut tx, row.id, state, Change { error: Some(ErrorCode::Damaged), ..Change::default() })
                .await?;
        }
        tx.commit().await?;
        self.news.tell(&ids);
        self.publish(&ids).await?;
        self.events.send(EngineEvent::Storage);
        Ok(())
    }

    /// Somebody plays what isn't here. If a download brings it, it comes first.
    pub(super) fn plays(&self, blobs: BTreeSet<BlobHash>) {
        let mut playing = self.playing.lock().unwrap_or_else(PoisonError::into_inner);
        if *playing == blobs {
            return;
        }
        for (hash, running) in self.live.all().iter() {
            if blobs.contains(hash) {
                running.control.set_urgency(Urgency::Playing);
            } else if playing.contains(hash) {
                running.control.set_urgency(Urgency::Asked);
            }
        }
        *playing = blobs;
        self.news.tell(&[]);
    }

    /// What is being played and isn't here: the blobs it may be.
    pub(super) fn playing(&self) -> BTreeSet<BlobHash> {
        self.playing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends transfers nobody needs any more and removes blobs nobody refers to; says how many bytes that freed.
    pub(super) async fn release(&self) -> Result<u64, EngineError> {
        self.stop_unneeded().await?;
        let freed = self.blobs.sweep().await?;
        if freed > 0 {
            self.events.send(EngineEvent::Storage);
            // Some may have waited for the room.
            self.news.tell_all();
        }
        self.news.tell(&[]);
        Ok(freed)
    }

    /// Stops transfers that no queued download needs; what is verified stays, and the runner sweeps when they have ended.
    pub(super) async fn stop_unneeded(&self) -> Result<(), EngineError> {
        let running: Vec<BlobHash> = self.live.all().keys().copied().collect();
        let needed = line::served(self.library.readers(), &running).await?;
        for (hash, fetch) in self.live.all().iter() {
            if !needed.contains_key(hash) {
                fetch.control.pause();
            }
        }
        Ok(())
    }
}
