//! What commands and the runner share: the parts, reading views, completing, and letting go.

use std::{collections::BTreeMap, sync::Arc};

use carrel_model::{BlobHash, DownloadId, ErrorCode, ProfileId, download::DownloadAction};
use carrel_transfer::Fetcher;
use tokio::sync::Notify;

use super::{
    DownloadsParts,
    addresses::Addresses,
    live::Live,
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
    /// The queue is to be looked at.
    pub(super) wake: Notify,
}

impl Queue {
    pub(super) fn new(parts: DownloadsParts) -> Self {
        let DownloadsParts { library, blobs, rooms, events, clock, fetcher } = parts;
        let (live, addresses, wake) = (Live::default(), Addresses::default(), Notify::new());
        Self { library, blobs, rooms, events, clock, fetcher, live, addresses, wake }
    }

    /// After a start: what was running waits for its turn again, what the scan found damaged is fetched again, and what was
    /// deleted for longer than it can be undone is released.
    pub(super) async fn recover(&self) -> Result<(), EngineError> {
        let mut tx = self.library.write().await?;
        for row in rows::queued(&mut *tx).await? {
            let state = row.after(DownloadAction::Requeue)?;
            rows::set_state(&mut tx, row.id, state, Change { retry: None, ..Change::waiting(&row, None) }).await?;
        }
        tx.commit().await?;
        let report = self.blobs.scan().await?;
        self.fall_back(&report.damaged).await?;
        // A crash may have come between the last blob's place and the completion of its download.
        for row in rows::queued(self.library.readers()).await? {
            self.settle(row.id).await?;
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

    pub(super) async fn space(&self) -> Result<Space, EngineError> {
        self.blobs.space(rows::missing_of_queue(self.library.readers()).await?).await
    }

    /// Completes a queued download if everything it needs is verified on disk; true then. The generation that was fetched
    /// becomes the one that opens, and the one before it is let go, in one transaction.
    pub(super) async fn settle(&self, id: DownloadId) -> Result<bool, EngineError> {
        let mut tx = self.library.write().await?;
        let Some(row) = rows::of_ids(&mut *tx, &[id]).await?.pop() else { return Ok(false) };
        if !row.state.is_active() || row.deleted_at.is_some() || !rows::missing(&mut *tx, id, 1).await?.is_empty() {
            return Ok(false);
        }
        let state = row.after(DownloadAction::Complete)?;
        rows::set_state(&mut tx, id, state, Change::default()).await?;
        sqlx::query(
            "UPDATE downloads SET usable_generation = generation, completed_at = ?, bytes_total = ? WHERE id = ?",
        )
        .bind(self.clock.now().as_ms())
        .bind(row.bytes_total.cast_signed())
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM download_items WHERE download_id = ? AND generation <> ?")
            .bind(id.to_string())
            .bind(row.generation)
            .execute(&mut *tx)
            .await?;
        self.rooms.enqueue(&mut tx, row.profile_id, &row.report(state, row.bytes_total, false)).await?;
        tx.commit().await?;
        self.blobs.sweep().await?;
        self.publish_end(row.profile_id, id).await?;
        self.events.send(EngineEvent::Storage);
        Ok(true)
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
        self.wake.notify_one();
        self.publish(&ids).await?;
        self.events.send(EngineEvent::Storage);
        Ok(())
    }

    /// Ends transfers nobody needs any more and removes blobs nobody refers to; says how many bytes that freed.
    pub(super) async fn release(&self) -> Result<u64, EngineError> {
        self.stop_unneeded().await?;
        let freed = self.blobs.sweep().await?;
        if freed > 0 {
            self.events.send(EngineEvent::Storage);
        }
        self.wake.notify_one();
        Ok(freed)
    }

    /// Stops transfers that no queued download needs; what is verified stays, and the runner sweeps when they have ended.
    pub(super) async fn stop_unneeded(&self) -> Result<(), EngineError> {
        let running: Vec<BlobHash> = self.live.all().keys().copied().collect();
        let needed = rows::still_needed(self.library.readers(), &running).await?;
        for (hash, fetch) in self.live.all().iter() {
            if !needed.contains(hash) {
                fetch.control.pause();
            }
        }
        Ok(())
    }
}
