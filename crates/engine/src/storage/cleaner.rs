//! Cleaning up in the background: what is due is looked for at the start, when something happened that may have made it
//! due, and every quarter of an hour. A failure is told in the log and tried again with the next look; nothing waits for
//! this loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::{ProfileId, download::WaitReason, time::MINUTE_MS};
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use sqlx::SqlitePool;

use super::{Storage, StorageParts, clean_up, deletion, lost, rules::Asked};
use crate::{EngineError, EngineEvent, playback::policy, rows::parsed};

/// What no event tells: days that pass.
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);
/// Events come in groups; one look serves them all.
const SETTLE: Duration = Duration::from_millis(300);
/// Each change of progress may have finished a unit; so often is soon enough.
const RULES_EVERY_MS: i64 = MINUTE_MS;
/// Room that could not be made is not tried for again before.
const ROOM_EVERY_MS: i64 = MINUTE_MS / 2;

/// What to look at.
#[derive(Debug, Default)]
pub(super) struct Look {
    everything: bool,
    rules: bool,
    catalogue_of: BTreeSet<ProfileId>,
    /// The fewest bytes that a waiting download of somebody still needs.
    room_for: BTreeMap<ProfileId, u64>,
}

impl Look {
    pub(super) fn at_everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    fn is_nothing(&self) -> bool {
        !self.everything && !self.rules && self.catalogue_of.is_empty() && self.room_for.is_empty()
    }

    pub(super) fn note(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Downloads { profile_id, changed, .. } => {
                let waiting = changed.iter().filter(|one| one.wait_reason == Some(WaitReason::Space));
                if let Some(least) = waiting.map(|one| one.bytes_total.saturating_sub(one.bytes_done)).min() {
                    let known = self.room_for.entry(*profile_id).or_insert(least);
                    *known = least.min(*known);
                }
            }
            EngineEvent::Catalogue { profile_id } => {
                self.catalogue_of.insert(*profile_id);
            }
            EngineEvent::Learning { .. } | EngineEvent::Sync { .. } => self.rules = true,
            EngineEvent::Resync => self.everything = true,
            _ => {}
        }
    }
}

/// When what was done last.
#[derive(Debug, Default)]
struct Last {
    rules_ms: Option<i64>,
    room_ms: BTreeMap<ProfileId, i64>,
}

/// Runs until the engine closes.
pub(super) fn start(storage: &Storage) {
    let parts = Arc::clone(&storage.parts);
    let events = parts.events.subscribe();
    parts.background.clone().spawn(run(parts, events));
}

async fn run(parts: Arc<StorageParts>, mut events: impl Stream<Item = EngineEvent> + Send + Unpin) {
    let mut last = Last::default();
    let mut due = Look::at_everything();
    loop {
        if let Err(error) = look(&parts, &due, &mut last).await {
            tracing::error!(%error, "cleaning up failed; it is tried again");
        }
        due = next(&mut events).await;
    }
}

async fn next(events: &mut (impl Stream<Item = EngineEvent> + Send + Unpin)) -> Look {
    let mut due = Look::default();
    while due.is_nothing() {
        match tokio::time::timeout(LOOK_EVERY, events.next()).await {
            Ok(Some(event)) => due.note(&event),
            // Nobody sends any more: the engine is closing.
            Ok(None) => std::future::pending().await,
            Err(_) => due = Look::at_everything(),
        }
    }
    tokio::time::sleep(SETTLE).await;
    while let Some(Some(event)) = events.next().now_or_never() {
        due.note(&event);
    }
    due
}

async fn look(parts: &Arc<StorageParts>, due: &Look, last: &mut Last) -> Result<(), EngineError> {
    let now_ms = parts.clock.read().monotonic_ms;
    if due.everything {
        let trimmed = policy::trim(&parts.library, parts.clock.now()).await?;
        if trimmed > 0 {
            parts.downloads.release().await?;
        }
    }
    for profile in profiles(parts.library.readers()).await? {
        if due.everything || due.catalogue_of.contains(&profile) {
            lost::let_go(parts, profile).await?;
        }
    }
    let rules_are_due = last.rules_ms.is_none_or(|at| now_ms.saturating_sub(at) >= RULES_EVERY_MS);
    if (due.everything || due.rules) && rules_are_due {
        last.rules_ms = Some(now_ms);
        by_rules(parts).await?;
    }
    for (profile, needed) in &due.room_for {
        let tried = last.room_ms.get(profile);
        if tried.is_none_or(|at| now_ms.saturating_sub(*at) >= ROOM_EVERY_MS) {
            last.room_ms.insert(*profile, now_ms);
            let room = parts.blobs.space().await?.above_floor_bytes();
            if clean_up::make_room(parts, *profile, needed.saturating_sub(room)).await? {
                last.room_ms.remove(profile);
            }
        }
    }
    Ok(())
}

/// Lets go of what every learner's rules pick.
pub(super) async fn by_rules(parts: &Arc<StorageParts>) -> Result<(), EngineError> {
    for profile in profiles(parts.library.readers()).await? {
        if let Some(deleted) = clean_up::run(parts, profile, Asked::ByItself).await? {
            tracing::info!(units = deleted.unit_ids.len(), bytes = deleted.frees_bytes, "cleaned up by rules");
            deletion::release_later(parts);
        }
    }
    Ok(())
}

/// The learners of this device.
async fn profiles(readers: &SqlitePool) -> Result<Vec<ProfileId>, EngineError> {
    let rows = sqlx::query("SELECT id FROM profiles WHERE left_at IS NULL").fetch_all(readers).await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}
