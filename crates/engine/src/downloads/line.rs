//! The queue as SQLite keeps it: whose turn it is, and why the rest waits.
//!
//! A queue may hold 50,000 downloads, or one download of 50,000 items. Nothing in here reads all of it into memory: the
//! next blobs come out of two indexes in their order, with a limit; reasons to wait are written by one statement for all
//! rows, and only where they differ; what the queue will take of the disk is a sum over an index. The tests hold the query
//! plans to that.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, DownloadId, ProfileId, TimeMs, download::WaitReason};
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use super::{rows::own_conditions, scheduler::Wishes, view::OwnConditions};
use crate::{
    EngineError,
    blobs::read_hash,
    library::Library,
    rows::{parsed, unsigned},
    sync::view::NetworkState,
};

/// A blob whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) download: DownloadId,
    pub(super) profile: ProfileId,
    pub(super) priority: u8,
    pub(super) position: i64,
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    /// Bytes of it that are verified already.
    pub(super) verified_bytes: u64,
    pub(super) own: OwnConditions,
}

/// Which blobs are asked for.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) now: TimeMs,
    pub(super) signed_in: &'a BTreeSet<ProfileId>,
    pub(super) wishes: &'a Wishes,
    /// Not those that are being fetched.
    pub(super) running: &'a [BlobHash],
    /// Only blobs that need no more room than this, or that have it already.
    pub(super) room: Option<Room<'a>>,
    pub(super) limit: usize,
}

/// Room on the disk, and the part files that have taken theirs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room<'a> {
    pub(super) bytes: u64,
    pub(super) begun: &'a BTreeMap<BlobHash, u64>,
}

/// The reason of a row's learner's own settings, as [`Wishes::hold_back`] has it.
/// ?8 those who want Wi-Fi while there is none (NULL: there is), ?9 those who want power while there is none, ?10 those
/// outside whose hours it is.
macro_rules! held_by_wishes {
    () => {
        "CASE
    WHEN ?8 IS NOT NULL AND COALESCE(d.wifi_only, d.profile_id IN (SELECT value FROM json_each(?8))) THEN 'wifi'
    WHEN d.on_battery = 0 AND d.profile_id IN (SELECT value FROM json_each(?9)) THEN 'power'
    WHEN d.at_any_hour = 0 AND d.profile_id IN (SELECT value FROM json_each(?10)) THEN 'schedule' END"
    };
}

/// [`Wishes`] as SQL takes them.
struct Bound(Option<String>, String, String);

impl Bound {
    fn of(wishes: &Wishes) -> Result<Self, EngineError> {
        let without_wifi = wishes.without_wifi.as_ref().map(serde_json::to_string).transpose()?;
        let (power, hours) = (&wishes.without_power, &wishes.out_of_hours);
        Ok(Self(without_wifi, serde_json::to_string(power)?, serde_json::to_string(hours)?))
    }
}

/// Reasons that are written in one transaction.
const LABELLED_AT_ONCE: usize = 500;

/// The blobs that come next, in the order of the queue and of each download.
pub(super) const NEXT: &str = concat!(
    "
    SELECT d.id, d.profile_id, d.priority, d.position, d.wifi_only, d.at_any_hour, d.on_battery,
           i.hash, b.size, b.verified_bytes
    FROM downloads d INDEXED BY downloads_runnable
    CROSS JOIN download_items i INDEXED BY download_items_wanted ON i.download_id = d.id AND i.generation = d.generation
    CROSS JOIN blobs b ON b.hash = i.hash
    WHERE d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')
      AND (d.retry_at IS NULL OR d.retry_at <= ?1) AND d.profile_id IN (SELECT value FROM json_each(?2))
      AND (",
    held_by_wishes!(),
    ") IS NULL
      AND i.leads = 1 AND i.missing = 1 AND i.hash NOT IN (SELECT value FROM json_each(?3))
      AND (?4 IS NULL OR b.size - b.verified_bytes <= ?4 OR i.hash IN (SELECT value FROM json_each(?5)))
    ORDER BY d.priority DESC, d.position, d.id, i.ordinal LIMIT ?6"
);

pub(super) async fn next(readers: &SqlitePool, wish: &Wish<'_>) -> Result<Vec<Next>, EngineError> {
    let begun: Vec<&BlobHash> = wish.room.iter().flat_map(|room| room.begun.keys()).collect();
    let wishes = Bound::of(wish.wishes)?;
    let rows = sqlx::query(NEXT)
        .bind(wish.now.as_ms())
        .bind(serde_json::to_string(wish.signed_in)?)
        .bind(serde_json::to_string(wish.running)?)
        .bind(wish.room.map(|room| crate::rows::signed(room.bytes)))
        .bind(serde_json::to_string(&begun)?)
        .bind(i64::try_from(wish.limit).unwrap_or(i64::MAX))
        .bind(None::<i64>)
        .bind(wishes.0)
        .bind(wishes.1)
        .bind(wishes.2)
        .fetch_all(readers)
        .await?;
    rows.iter().map(read_next).collect()
}

/// A blob that is missing and that a download of somebody signed in needs; none where nobody does.
const OF_BLOB: &str = concat!(
    "
    SELECT d.id, d.profile_id, d.priority, d.position, d.wifi_only, d.at_any_hour, d.on_battery,
           i.hash, b.size, b.verified_bytes
    FROM download_items i INDEXED BY download_items_by_hash
    CROSS JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
    CROSS JOIN blobs b ON b.hash = i.hash
    WHERE i.hash = ?1 AND i.missing = 1 AND d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')
      AND (d.retry_at IS NULL OR d.retry_at <= ?2) AND d.profile_id IN (SELECT value FROM json_each(?3))
      AND (",
    held_by_wishes!(),
    ") IS NULL
    ORDER BY d.priority DESC, d.position LIMIT 1"
);

pub(super) async fn of_blob(
    readers: &SqlitePool,
    hash: BlobHash,
    wish: &Wish<'_>,
) -> Result<Option<Next>, EngineError> {
    let wishes = Bound::of(wish.wishes)?;
    let mut query =
        sqlx::query(OF_BLOB).bind(hash.to_string()).bind(wish.now.as_ms()).bind(serde_json::to_string(wish.signed_in)?);
    // What `held_by_wishes` names begins with ?8.
    for _ in 4..8 {
        query = query.bind(None::<i64>);
    }
    let row = query.bind(wishes.0).bind(wishes.1).bind(wishes.2).fetch_optional(readers).await?;
    row.as_ref().map(read_next).transpose()
}

fn read_next(row: &SqliteRow) -> Result<Next, EngineError> {
    Ok(Next {
        download: parsed(row, "id")?,
        profile: parsed(row, "profile_id")?,
        priority: row.try_get("priority")?,
        position: row.try_get("position")?,
        hash: read_hash(row)?,
        size: unsigned(row, "size")?,
        verified_bytes: unsigned(row, "verified_bytes")?,
        own: own_conditions(row)?,
    })
}

/// Of these downloads, those in the queue that their learner's own settings don't hold back now.
const FREE: &str = concat!(
    "
    SELECT d.id FROM downloads d WHERE d.id IN (SELECT value FROM json_each(?1))
      AND d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying') AND (",
    held_by_wishes!(),
    ") IS NULL"
);

pub(super) async fn free(
    readers: &SqlitePool,
    downloads: &BTreeSet<DownloadId>,
    wishes: &Wishes,
) -> Result<BTreeSet<DownloadId>, EngineError> {
    let wishes = Bound::of(wishes)?;
    let mut query = sqlx::query(FREE).bind(serde_json::to_string(downloads)?);
    for _ in 2..8 {
        query = query.bind(None::<i64>);
    }
    let rows = query.bind(wishes.0).bind(wishes.1).bind(wishes.2).fetch_all(readers).await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// The learners who have something in the queue.
pub(super) const PROFILES: &str = "
    SELECT p.id AS profile_id FROM profiles p WHERE EXISTS (
        SELECT 1 FROM downloads d WHERE d.profile_id = p.id AND d.deleted_at IS NULL
          AND d.state IN ('pending', 'downloading', 'verifying'))";

pub(super) async fn profiles(readers: &SqlitePool) -> Result<Vec<ProfileId>, EngineError> {
    let rows = sqlx::query(PROFILES).fetch_all(readers).await?;
    rows.iter().map(|row| parsed(row, "profile_id")).collect()
}

/// When the first wait of the queue ends by itself.
pub(super) const FIRST_RETRY: &str = "
    SELECT MIN(retry_at) FROM downloads
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying') AND retry_at > ?";

pub(super) async fn first_retry(readers: &SqlitePool, now: TimeMs) -> Result<Option<TimeMs>, EngineError> {
    let at: Option<i64> = sqlx::query_scalar(FIRST_RETRY).bind(now.as_ms()).fetch_one(readers).await?;
    Ok(at.map(TimeMs::from_ms))
}

/// What holds for every download that isn't fetched now.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) now: TimeMs,
    pub(super) network: NetworkState,
    pub(super) drive_is_here: bool,
    pub(super) signed_in: &'a BTreeSet<ProfileId>,
    pub(super) wishes: &'a Wishes,
    /// Downloads with a blob that is being fetched.
    pub(super) running: &'a BTreeSet<DownloadId>,
    /// Set where the room is too small for some.
    pub(super) room: Option<Room<'a>>,
}

/// The reason of each row, as `scheduler::held_back` has it; then whether the room is enough for any of its blobs.
/// ?1 learners signed in, ?2 running downloads, ?3 what holds back all, ?4 now, ?5 room, ?6 blobs that have their room.
const REASON: &str = concat!(
    "CASE
    WHEN d.id IN (SELECT value FROM json_each(?2)) THEN NULL
    WHEN d.profile_id NOT IN (SELECT value FROM json_each(?1)) THEN 'sign_in'
    WHEN ?3 IS NOT NULL THEN ?3
    ELSE COALESCE(",
    held_by_wishes!(),
    ", CASE
    WHEN d.retry_at > ?4 THEN COALESCE(d.retry_reason, 'server')
    WHEN ?5 IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM download_items i CROSS JOIN blobs b ON b.hash = i.hash
        WHERE i.download_id = d.id AND i.generation = d.generation AND i.leads = 1 AND i.missing = 1
          AND (b.size - b.verified_bytes <= ?5 OR i.hash IN (SELECT value FROM json_each(?6)))) THEN 'space'
    END) END"
);

/// The state of each row: only those that are fetched are `downloading`.
const STATE: &str = "CASE WHEN d.id IN (SELECT value FROM json_each(?2)) THEN 'downloading' ELSE 'pending' END";

/// Writes down who waits and why, where that isn't written yet; gives what changed. With `only`, looks at no other rows.
///
/// The states follow `DownloadState::after`: every state of the queue may be requeued, and what is pending may start.
pub(super) async fn label(
    library: &Library,
    around: &Surroundings<'_>,
    only: Option<&[DownloadId]>,
) -> Result<Vec<DownloadId>, EngineError> {
    if only.is_some_and(<[_]>::is_empty) {
        return Ok(Vec::new());
    }
    let all = match around.network {
        _ if !around.drive_is_here => Some(WaitReason::Drive),
        NetworkState::Offline => Some(WaitReason::Network),
        NetworkState::Limited => Some(WaitReason::Server),
        NetworkState::Online | NetworkState::Unknown => None,
    };
    let begun: Vec<&BlobHash> = around.room.iter().flat_map(|room| room.begun.keys()).collect();
    let (signed_in, running, begun) = (
        serde_json::to_string(around.signed_in)?,
        serde_json::to_string(around.running)?,
        serde_json::to_string(&begun)?,
    );
    let differs = format!(
        "d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')
         AND (d.wait_reason IS NOT {REASON} OR d.state <> {STATE})"
    );
    let look = if only.is_some() {
        format!("SELECT d.id, 0 AS place FROM json_each(?7) j CROSS JOIN downloads d ON d.id = j.value WHERE {differs}")
    } else {
        format!(
            "SELECT d.id, d.rowid AS place FROM downloads d NOT INDEXED WHERE d.rowid > ?11 AND {differs}
             ORDER BY d.rowid LIMIT {LABELLED_AT_ONCE}"
        )
    };
    let update = format!(
        "UPDATE downloads AS d SET wait_reason = {REASON}, state = {STATE}
         WHERE d.id IN (SELECT value FROM json_each(?7)) AND {differs} RETURNING id"
    );
    let only = only.map(serde_json::to_string).transpose()?;
    let wishes = Bound::of(around.wishes)?;
    macro_rules! bound {
        ($sql:expr, $only:expr, $after:expr) => {
            sqlx::query($sql)
                .bind(&signed_in)
                .bind(&running)
                .bind(all.map(WaitReason::as_str))
                .bind(around.now.as_ms())
                .bind(around.room.map(|room| crate::rows::signed(room.bytes)))
                .bind(&begun)
                .bind($only)
                .bind(&wishes.0)
                .bind(&wishes.1)
                .bind(&wishes.2)
                .bind($after)
        };
    }
    let mut changed = Vec::new();
    let mut after = i64::MIN;
    loop {
        // Most looks change nothing: then nobody waits for the writer. Nor does anybody wait for long where all change.
        let found = bound!(&look, &only, after).fetch_all(library.readers()).await?;
        let Some(last) = found.last() else { return Ok(changed) };
        after = last.try_get("place")?;
        let ids = found.iter().map(|row| parsed(row, "id")).collect::<Result<Vec<DownloadId>, _>>()?;
        let mut tx = library.write().await?;
        for row in bound!(&update, serde_json::to_string(&ids)?, after).fetch_all(&mut *tx).await? {
            changed.push(parsed(&row, "id")?);
        }
        tx.commit().await?;
        if only.is_some() || found.len() < LABELLED_AT_ONCE {
            return Ok(changed);
        }
    }
}

/// When waits have ended by themselves: downloads whose reason is over.
pub(super) const DUE: &str = "
    SELECT id FROM downloads INDEXED BY downloads_retry
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying') AND retry_at IS NOT NULL
      AND retry_at <= ? AND wait_reason IS NOT NULL";

pub(super) async fn due(readers: &SqlitePool, now: TimeMs) -> Result<Vec<DownloadId>, EngineError> {
    let rows = sqlx::query(DUE).bind(now.as_ms()).fetch_all(readers).await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// Queued downloads that need one of these blobs.
pub(super) const SERVED: &str = "
    SELECT DISTINCT i.hash, d.id FROM json_each(?) j
    CROSS JOIN download_items i INDEXED BY download_items_by_hash ON i.hash = j.value
    CROSS JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
    WHERE d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying')";

/// The queued downloads each of these blobs serves; what is missing serves none.
pub(super) async fn served(
    readers: &SqlitePool,
    hashes: &[BlobHash],
) -> Result<BTreeMap<BlobHash, Vec<DownloadId>>, EngineError> {
    let mut served: BTreeMap<BlobHash, Vec<DownloadId>> = BTreeMap::new();
    for row in &sqlx::query(SERVED).bind(serde_json::to_string(hashes)?).fetch_all(readers).await? {
        served.entry(read_hash(row)?).or_default().push(parsed(row, "id")?);
    }
    Ok(served)
}

/// Queued downloads of which everything is verified on disk.
pub(super) const WHOLE: &str = "
    SELECT id FROM downloads INDEXED BY downloads_whole
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying') AND blobs_missing = 0 LIMIT ?";

/// At most so many of them.
pub(super) async fn whole(readers: &SqlitePool, limit: u32) -> Result<Vec<DownloadId>, EngineError> {
    let rows = sqlx::query(WHOLE).bind(limit).fetch_all(readers).await?;
    rows.iter().map(|row| parsed(row, "id")).collect()
}

/// What the queue still has to write, from an index: never too little, too much where learners wait for the same blobs.
pub(super) const RESERVED_AT_MOST: &str = "
    SELECT COALESCE(SUM(bytes_total - bytes_done), 0) FROM downloads
    WHERE deleted_at IS NULL AND state IN ('pending', 'downloading', 'verifying')";

/// The same to the byte, each blob once; reads every item of the queue.
const RESERVED: &str = "
    SELECT COALESCE(SUM(b.size - b.verified_bytes), 0) FROM blobs b WHERE b.state = 'partial' AND EXISTS (
        SELECT 1 FROM download_items i INDEXED BY download_items_by_hash
        CROSS JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
        WHERE i.hash = b.hash AND d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying'))";

/// Bytes the disk must still give to the queue; `begun` are the part files with the room they have taken. Exact where the
/// quick answer is more than `enough`.
pub(super) async fn reserved_bytes(
    readers: &SqlitePool,
    begun: &BTreeMap<BlobHash, u64>,
    enough: u64,
) -> Result<u64, EngineError> {
    let begun = room_taken(readers, begun).await?;
    let at_most: i64 = sqlx::query_scalar(RESERVED_AT_MOST).fetch_one(readers).await?;
    let at_most = at_most.cast_unsigned().saturating_sub(begun);
    if at_most <= enough {
        return Ok(at_most);
    }
    let exact: i64 = sqlx::query_scalar(RESERVED).fetch_one(readers).await?;
    Ok(exact.cast_unsigned().saturating_sub(begun))
}

/// Room that part files of the queue have taken and that isn't verified bytes yet: it is not to be reserved again.
async fn room_taken(readers: &SqlitePool, begun: &BTreeMap<BlobHash, u64>) -> Result<u64, EngineError> {
    if begun.is_empty() {
        return Ok(0);
    }
    let hashes: Vec<BlobHash> = begun.keys().copied().collect();
    let served = served(readers, &hashes).await?;
    let rows =
        sqlx::query("SELECT hash, size, verified_bytes FROM blobs WHERE hash IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&hashes)?)
            .fetch_all(readers)
            .await?;
    let mut taken = 0_u64;
    for row in &rows {
        let hash = read_hash(row)?;
        if served.contains_key(&hash) {
            let allocated = begun.get(&hash).copied().unwrap_or(0).min(unsigned(row, "size")?);
            taken += allocated.saturating_sub(unsigned(row, "verified_bytes")?);
        }
    }
    Ok(taken)
}

/// Of these blobs with their sizes, what the disk must give besides what the queue has reserved already.
pub(super) async fn needed_bytes(
    readers: &SqlitePool,
    blobs: &[(BlobHash, u64)],
    begun: &BTreeMap<BlobHash, u64>,
) -> Result<u64, EngineError> {
    let needed: i64 = sqlx::query_scalar(
        "WITH g AS MATERIALIZED (SELECT value ->> 0 AS hash, value ->> 1 AS size FROM json_each(?1)),
              p AS MATERIALIZED (SELECT value ->> 0 AS hash, value ->> 1 AS taken FROM json_each(?2))
         SELECT COALESCE(SUM(MAX(0, g.size - COALESCE(p.taken, 0))), 0) FROM g LEFT JOIN p ON p.hash = g.hash
         WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.hash = g.hash AND b.state = 'present')
           AND NOT EXISTS (
               SELECT 1 FROM download_items i INDEXED BY download_items_by_hash
               CROSS JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
               WHERE i.hash = g.hash AND d.deleted_at IS NULL AND d.state IN ('pending', 'downloading', 'verifying'))",
    )
    .bind(serde_json::to_string(blobs)?)
    .bind(serde_json::to_string(&begun.iter().collect::<Vec<_>>())?)
    .fetch_one(readers)
    .await?;
    Ok(needed.cast_unsigned())
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
