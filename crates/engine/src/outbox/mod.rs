//! Writes waiting to be sent. Never dropped silently.
//!
//! An entry is written in the transaction of the write itself ([`Outbox::enqueue`]) and goes when the service has it *and*
//! its effect was pulled: between the two it is `acked`, still laid over what is shown, no longer counted as waiting. What
//! the service refuses for good stays as a dead letter until the learner retries or discards it.

mod batch;
mod rows;
pub mod rules;
pub mod view;

use std::{collections::BTreeMap, sync::Arc};

use carrel_model::{DeviceId, ProfileId, TimeMs, UnitId, op::Op, stamp::Stamp};
use serde_json::json;
use sqlx::SqliteConnection;
use tokio::sync::watch;

use crate::{EngineError, library::Library, ports::Clock};
pub(crate) use batch::{Batch, Verdicts};
pub(crate) use rows::{Overlay, overlay, overlay_of_progress};
use view::{OutboxExport, OutboxRequest, OutboxView};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Outbox {
    library: Library,
    clock: Arc<dyn Clock>,
    written: Arc<watch::Sender<u64>>,
}

/// How much is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// To be sent.
    pub(crate) waiting: u32,
    /// Dead letters.
    pub(crate) refused: u32,
}

impl Count {
    /// What would be lost if it were thrown away.
    pub(crate) const fn unsent(self) -> u32 {
        self.waiting.saturating_add(self.refused)
    }
}

impl Outbox {
    pub(crate) fn new(library: Library, clock: Arc<dyn Clock>) -> Self {
        Self { library, clock, written: Arc::new(watch::Sender::new(0)) }
    }

    /// What waits, oldest first.
    pub async fn list(&self, profile: ProfileId) -> Result<OutboxView, EngineError> {
        Ok(OutboxView { entries: rows::list(self.library.readers(), profile).await? })
    }

    /// Sends a refused one again.
    pub async fn retry(&self, profile: ProfileId, request: OutboxRequest) -> Result<OutboxView, EngineError> {
        let mut tx = self.library.write().await?;
        rows::revive(&mut tx, profile, request.seq).await?;
        tx.commit().await?;
        self.wake();
        self.list(profile).await
    }

    /// Gives a refused one up, by the learner's explicit choice.
    pub async fn discard(&self, profile: ProfileId, request: OutboxRequest) -> Result<OutboxView, EngineError> {
        let mut tx = self.library.write().await?;
        rows::discard(&mut tx, profile, request.seq).await?;
        tx.commit().await?;
        self.wake();
        self.list(profile).await
    }

    /// Everything that waits, as a file.
    pub async fn export(&self, profile: ProfileId) -> Result<OutboxExport, EngineError> {
        let entries = rows::export(self.library.readers(), profile).await?;
        let now = self.clock.now();
        let day: String = now.to_string().chars().take(10).collect();
        let content = serde_json::to_string_pretty(&json!({
            "format": "carrel-outbox", "version": 1, "exported_at": now, "entries": entries,
        }))?;
        Ok(OutboxExport { file_name: format!("carrel-unsent-{day}.json"), content })
    }

    /// Keeps a write, in the caller's transaction: allots its number and its time, appends the event, inserts the entry. A
    /// place in a lesson replaces one that waits and was never sent (requirement O4).
    ///
    /// After committing, the caller says [`Outbox::wake`].
    pub(crate) async fn enqueue(
        &self,
        tx: &mut SqliteConnection,
        profile: ProfileId,
        op: &Op,
    ) -> Result<Stamp, EngineError> {
        let stamp = rows::enqueue(tx, profile, op, self.clock.now()).await?;
        // Rooms that don't wake themselves are heard a moment later, when their transaction is through.
        self.wake();
        Ok(stamp)
    }

    /// Something was written: whoever sends may look.
    pub(crate) fn wake(&self) {
        self.written.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Changes whenever something was written.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// How much waits.
    pub(crate) async fn count(&self, profile: ProfileId) -> Result<Count, EngineError> {
        let mut reader = self.library.readers().acquire().await?;
        rows::count(&mut reader, profile).await
    }

    /// How much waits, as a transaction sees it.
    pub(crate) async fn count_in(&self, tx: &mut SqliteConnection, profile: ProfileId) -> Result<Count, EngineError> {
        rows::count(tx, profile).await
    }

    /// What a learner did that waits or was refused, by unit; what the device reports by itself is not counted.
    pub(crate) async fn by_unit(&self, profile: ProfileId) -> Result<BTreeMap<UnitId, u32>, EngineError> {
        rows::by_unit(self.library.readers(), profile).await
    }

    /// Takes the next batch and marks it as under way: from then on none of it is ever changed.
    pub(crate) async fn take_batch(
        &self,
        profile: ProfileId,
        limit: usize,
        now: TimeMs,
    ) -> Result<Option<Batch>, EngineError> {
        let mut tx = self.library.write().await?;
        let batch = batch::take(&mut tx, profile, limit, now).await?;
        tx.commit().await?;
        Ok(batch)
    }

    /// Writes down what the service said of a batch.
    pub(crate) async fn settle(&self, batch: &Batch, verdicts: Verdicts, now: TimeMs) -> Result<(), EngineError> {
        let mut tx = self.library.write().await?;
        batch::settle(&mut tx, batch, verdicts, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether something waits for a new key: the service has another content under its own.
    pub(crate) async fn has_regressed(&self, profile: ProfileId) -> Result<bool, EngineError> {
        let mut reader = self.library.readers().acquire().await?;
        rows::has_regressed(&mut reader, profile).await
    }

    /// When the next entry that was told to wait may go.
    pub(crate) async fn next_due(&self, profile: ProfileId) -> Result<Option<TimeMs>, EngineError> {
        batch::next_due(self.library.readers(), profile).await
    }
}

/// Entries whose answer never came, because the app ended meanwhile, are sent again: the service knows their keys.
pub(crate) async fn recover(library: &Library) -> Result<(), EngineError> {
    let mut tx = library.write().await?;
    sqlx::query("UPDATE outbox SET in_flight = 0 WHERE in_flight = 1").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// Sends again everything that was written under the device's id. Part of the transaction that begins a full pull.
pub(crate) async fn send_again(tx: &mut SqliteConnection, profile: ProfileId) -> Result<(), EngineError> {
    rows::send_again(tx, profile).await
}

/// Gives new keys to what the service has something else under the key of. Part of the transaction that gives the device its
/// new id.
pub(crate) async fn rekey(tx: &mut SqliteConnection, profile: ProfileId, device: DeviceId) -> Result<(), EngineError> {
    rows::rekey(tx, profile, device).await
}

/// Forgets what the service has and was pulled. Part of the transaction that keeps the last page.
pub(crate) async fn forget_acked(tx: &mut SqliteConnection, profile: ProfileId) -> Result<(), EngineError> {
    rows::forget_acked(tx, profile).await
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
