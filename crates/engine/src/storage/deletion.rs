//! Deleting with ten seconds to think again.
//!
//! A deletion only marks: the download's row gets `deleted_at`, which takes it out of every list and out of playback. When
//! the time is over its items go, the service is told through the outbox in the same transaction, and blobs that nothing
//! needs any more leave the disk. Where nothing can be taken back (the space is needed now, the enrolment has ended, a
//! script asked for it) both steps follow each other. Who deleted, why, and what it freed is in the log (S3).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::{
    CourseId, DownloadId, ProfileId, TimeMs, UnitId,
    download::{DownloadAction, DownloadState},
};

use super::{
    StorageParts,
    holdings::{Holder, Holdings},
    records::{self, Line},
    usage,
    view::{Deleted, DeletedBy, DeletedWhy},
};
use crate::{
    EngineError, EngineEvent,
    downloads::rows::{self, Change, DownloadRow},
    library::WriteTx,
    rows::{parsed, time},
};

/// How long a deletion can be undone.
pub(super) const UNDO: Duration = Duration::from_secs(10);
const UNDO_MS: i64 = 10_000;

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Unit(UnitId),
    Course(CourseId),
    Download(DownloadId),
    /// Everything of the learner, what was kept by opening it too.
    All,
    /// What a rule or the service picked.
    Units(BTreeMap<UnitId, DeletedWhy>),
}

impl What {
    fn takes(&self, row: &DownloadRow) -> bool {
        match self {
            Self::Unit(unit) => row.unit_id == *unit,
            Self::Course(course) => row.course_id == *course,
            Self::Download(id) => row.id == *id,
            Self::All => true,
            Self::Units(units) => units.contains_key(&row.unit_id),
        }
    }

    fn why(&self, unit: UnitId) -> DeletedWhy {
        match self {
            Self::Units(units) => units.get(&unit).copied().unwrap_or(DeletedWhy::Asked),
            _ => DeletedWhy::Asked,
        }
    }

    /// The word in the record.
    fn reason(&self, unit: UnitId) -> Result<String, EngineError> {
        Ok(match self {
            Self::Unit(_) => "learner_unit".to_owned(),
            Self::Course(_) => "learner_course".to_owned(),
            Self::Download(_) => "learner_download".to_owned(),
            Self::All => "learner_all".to_owned(),
            Self::Units(_) => records::word(&self.why(unit))?,
        })
    }
}

/// Marks a learner's downloads as deleted, together with what was kept by opening the same units. With `undo` the files
/// stay for ten seconds, else they are gone when this returns.
pub(super) async fn delete(
    parts: &StorageParts,
    profile: ProfileId,
    what: &What,
    by: DeletedBy,
    undo: bool,
) -> Result<Deleted, EngineError> {
    let going: Vec<_> = rows::of_profile(parts.library.readers(), profile)
        .await?
        .into_iter()
        .filter(|row| row.state != DownloadState::Cancelled && what.takes(row))
        .collect();
    if going.is_empty() && !matches!(what, What::All | What::Units(_)) {
        return Err(EngineError::NotFound("download"));
    }
    let ids: Vec<DownloadId> = going.iter().map(|row| row.id).collect();
    let unit_ids: BTreeSet<UnitId> = going.iter().map(|row| row.unit_id).collect();
    let frees = frees(&Holdings::read(parts, profile).await?, profile, what, &going);
    let now = parts.clock.now();
    let undo_until = now.plus_ms(if undo { UNDO_MS } else { 0 });

    let mut tx = parts.library.write().await?;
    for row in rows::of_ids(&mut *tx, &ids).await?.into_iter().filter(|row| row.deleted_at.is_none()) {
        if let Some(state) = row.state.after(DownloadAction::Requeue) {
            rows::set_state(&mut tx, row.id, state, Change::waiting(&row, None)).await?;
        }
        mark(&mut tx, row.id, now, &what.reason(row.unit_id)?).await?;
    }
    mark_opened(&mut tx, profile, what, &unit_ids, undo.then_some(now)).await?;
    let lines = lines(what, &going, &frees);
    records::log(&mut tx, profile, now, by, undo.then_some(undo_until), &lines).await?;
    tx.commit().await?;
    parts.downloads.stop_unneeded().await?;
    if !undo {
        release(parts, Due::These(&ids)).await?;
    }

    let waiting = parts.rooms.waiting(profile).await?;
    let waiting = unit_ids.iter().filter_map(|unit| waiting.get(unit)).sum();
    parts.downloads.publish(&ids).await?;
    parts.events.send(EngineEvent::Storage);
    let frees_bytes = frees.values().sum();
    Ok(Deleted { unit_ids: unit_ids.into_iter().collect(), frees_bytes, waiting, undo_until })
}

/// What becomes free, by unit: a file that several of them need counts once, with the first; what belongs to none of them
/// under none.
fn frees(holdings: &Holdings, profile: ProfileId, what: &What, going: &[DownloadRow]) -> BTreeMap<Option<UnitId>, u64> {
    let mine: BTreeMap<DownloadId, UnitId> = going.iter().map(|row| (row.id, row.unit_id)).collect();
    let units: BTreeSet<UnitId> = mine.values().copied().collect();
    let goes = |holder: &Holder| match (holder, what) {
        (Holder::Download(id), _) => mine.contains_key(id),
        (Holder::Cache(owner, _, Some(_)), What::All) => *owner == profile,
        (Holder::Cache(..), What::Download(_)) => false,
        (Holder::Cache(owner, Some(unit), Some(_)), _) => *owner == profile && units.contains(unit),
        (Holder::Cache(..), _) => false,
    };
    let of_unit = usage::unit_of(profile, &mine);
    let mut frees: BTreeMap<Option<UnitId>, u64> = BTreeMap::new();
    for (_, held, bytes) in holdings.freed(&goes) {
        let first = held.iter().filter_map(&of_unit).filter(|unit| units.contains(unit)).min();
        *frees.entry(first).or_default() += bytes;
    }
    frees
}

fn lines(what: &What, going: &[DownloadRow], frees: &BTreeMap<Option<UnitId>, u64>) -> Vec<Line> {
    let mut of_unit: BTreeMap<UnitId, &DownloadRow> = BTreeMap::new();
    for row in going {
        // The unit's own name before that of one of its lessons.
        let known = of_unit.entry(row.unit_id).or_insert(row);
        if known.lesson_id.is_some() && row.lesson_id.is_none() {
            *known = row;
        }
    }
    let line = |(unit, row): (&UnitId, &&DownloadRow)| Line {
        unit: *unit,
        title: row.title.clone(),
        why: what.why(*unit),
        bytes: frees.get(&Some(*unit)).copied().unwrap_or(0),
    };
    of_unit.iter().map(line).collect()
}

async fn mark(tx: &mut WriteTx, id: DownloadId, now: TimeMs, reason: &str) -> Result<(), EngineError> {
    sqlx::query("UPDATE downloads SET deleted_at = ?, deleted_reason = ? WHERE id = ?")
        .bind(now.as_ms())
        .bind(reason)
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What was kept by opening it: marked, or gone where it is not to come back. Covers stay: the library looks the same
/// afterwards.
async fn mark_opened(
    tx: &mut WriteTx,
    profile: ProfileId,
    what: &What,
    units: &BTreeSet<UnitId>,
    deleted_at: Option<TimeMs>,
) -> Result<(), EngineError> {
    if matches!(what, What::Download(_)) {
        return Ok(());
    }
    let of_these = "profile_id = ?1 AND lesson_id <> '' AND deleted_at IS NULL
                    AND (?2 OR unit_id IN (SELECT value FROM json_each(?3)))";
    let sql = match deleted_at {
        Some(_) => format!("UPDATE cache_entries SET deleted_at = ?4 WHERE {of_these}"),
        None => format!("DELETE FROM cache_entries WHERE {of_these} AND ?4 IS NULL"),
    };
    sqlx::query(&sql)
        .bind(profile.to_string())
        .bind(matches!(what, What::All))
        .bind(serde_json::to_string(units)?)
        .bind(deleted_at.map(TimeMs::as_ms))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Takes back what was deleted within the last ten seconds. Where the same was asked for again meanwhile, that stands.
pub(super) async fn undo(parts: &StorageParts, profile: ProfileId, units: &[UnitId]) -> Result<(), EngineError> {
    let units = serde_json::to_string(units)?;
    let now = parts.clock.now();
    let mut tx = parts.library.write().await?;
    let back = sqlx::query(
        "SELECT id, unit_id, deleted_at FROM downloads
         WHERE profile_id = ?1 AND unit_id IN (SELECT value FROM json_each(?2)) AND deleted_at > ?3
           AND released_at IS NULL
           AND NOT EXISTS (SELECT 1 FROM downloads o WHERE o.profile_id = downloads.profile_id
                           AND o.unit_id = downloads.unit_id AND o.lesson_id = downloads.lesson_id
                           AND o.deleted_at IS NULL)",
    )
    .bind(profile.to_string())
    .bind(&units)
    .bind(now.plus_ms(-UNDO_MS).as_ms())
    .fetch_all(&mut *tx)
    .await?;
    let ids: Vec<DownloadId> = back.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
    let mut deleted: BTreeMap<UnitId, TimeMs> = BTreeMap::new();
    for row in &back {
        deleted.insert(parsed(row, "unit_id")?, time(row, "deleted_at")?);
    }
    sqlx::query(
        "UPDATE downloads SET deleted_at = NULL, deleted_reason = NULL WHERE id IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::to_string(&ids)?)
    .execute(&mut *tx)
    .await?;
    // What went together with them comes back together with them.
    let moments: BTreeSet<TimeMs> = deleted.values().copied().collect();
    for moment in moments {
        sqlx::query("UPDATE cache_entries SET deleted_at = NULL WHERE profile_id = ? AND deleted_at = ?")
            .bind(profile.to_string())
            .bind(moment.as_ms())
            .execute(&mut *tx)
            .await?;
    }
    records::log_undone(&mut tx, profile, &deleted, now).await?;
    tx.commit().await?;
    parts.downloads.wake();
    parts.downloads.publish(&ids).await?;
    parts.events.send(EngineEvent::Storage);
    Ok(())
}

/// Which deletions are final.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due<'a> {
    /// All: the app was closed since.
    All,
    /// Those that can't be undone at this moment any more.
    At(TimeMs),
    /// These.
    These(&'a [DownloadId]),
}

/// Lets go of what can't be undone any more; says how many bytes that freed.
pub(super) async fn release(parts: &StorageParts, due: Due<'_>) -> Result<u64, EngineError> {
    let (until, only) = match due {
        Due::All => (i64::MAX, None),
        Due::At(now) => (now.plus_ms(-UNDO_MS).as_ms(), None),
        Due::These(ids) => (i64::MAX, Some(serde_json::to_string(ids)?)),
    };
    let mut tx = parts.library.write().await?;
    let rows = sqlx::query(
        "SELECT id FROM downloads WHERE deleted_at <= ?1 AND released_at IS NULL
           AND (?2 IS NULL OR id IN (SELECT value FROM json_each(?2)))",
    )
    .bind(until)
    .bind(&only)
    .fetch_all(&mut *tx)
    .await?;
    let ids: Vec<DownloadId> = rows.iter().map(|row| parsed(row, "id")).collect::<Result<_, _>>()?;
    for row in rows::of_ids(&mut *tx, &ids).await? {
        sqlx::query("DELETE FROM download_items WHERE download_id = ?")
            .bind(row.id.to_string())
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE downloads SET released_at = ?, usable_generation = 0 WHERE id = ?")
            .bind(parts.clock.now().as_ms())
            .bind(row.id.to_string())
            .execute(&mut *tx)
            .await?;
        parts.rooms.enqueue(&mut tx, row.profile_id, &row.report(row.state, 0, true)).await?;
    }
    if only.is_none() {
        sqlx::query("DELETE FROM cache_entries WHERE deleted_at <= ?").bind(until).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    parts.downloads.release().await
}

/// Lets go of what was deleted when it can't be taken back any more.
pub(super) fn release_later(parts: &Arc<StorageParts>) {
    let parts = Arc::clone(parts);
    parts.background.clone().spawn(async move {
        tokio::time::sleep(UNDO).await;
        let now = parts.clock.now();
        if let Err(error) = release(&parts, Due::At(now)).await {
            // The next start does it.
            tracing::error!(%error, "deleted files could not be released");
        }
    });
}
