//! The tables `blobs` and `blob_pieces`.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, ErrorCode, TimeMs, content::AssetKind, pieces::Manifest};
use carrel_transfer::PieceSet;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::{QueryBuilder, Row as _, Sqlite, sqlite::SqliteRow};

use super::journal::verified_bytes;
use crate::{
    EngineError,
    library::{Library, WriteTx},
};

/// What is known of a blob, but for its pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlobRow {
    pub(super) size: u64,
    pub(super) present: bool,
    pub(super) file_time_ns: i64,
}

impl BlobRow {
    fn read(row: &SqliteRow) -> Result<Self, EngineError> {
        Ok(Self {
            size: row.try_get::<i64, _>("size")?.cast_unsigned(),
            present: row.try_get::<String, _>("state")? == "present",
            file_time_ns: row.try_get("file_time_ns")?,
        })
    }
}

/// Rows of one statement.
const AT_ONCE: usize = 250;

/// Makes blobs known. One of a single piece needs no list of pieces: its only entry is its own hash. A list that is there
/// and differs was damaged: each list that comes here was proven.
pub(super) async fn insert(tx: &mut WriteTx, blobs: &[(&Manifest, AssetKind, &str)]) -> Result<(), EngineError> {
    for blobs in blobs.chunks(AT_ONCE) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO blobs (hash, size, kind, mime) ");
        insert.push_values(blobs, |mut row, (manifest, kind, mime)| {
            row.push_bind(manifest.hash().to_string())
                .push_bind(manifest.size().cast_signed())
                .push_bind(kind.as_str())
                .push_bind(*mime);
        });
        insert.push(" ON CONFLICT (hash) DO NOTHING").build().execute(&mut **tx).await?;
    }
    let lists: Vec<_> = blobs.iter().filter(|(manifest, ..)| manifest.piece_count() > 1).collect();
    for lists in lists.chunks(AT_ONCE) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO blob_pieces (hash, pieces) ");
        insert.push_values(lists, |mut row, (manifest, ..)| {
            row.push_bind(manifest.hash().to_string()).push_bind(manifest.to_binary());
        });
        insert.push(" ON CONFLICT (hash) DO UPDATE SET pieces = excluded.pieces WHERE pieces <> excluded.pieces");
        insert.build().execute(&mut **tx).await?;
    }
    Ok(())
}

/// Which of these blobs are known.
pub(super) async fn known(library: &Library, hashes: &[BlobHash]) -> Result<BTreeSet<BlobHash>, EngineError> {
    let rows = sqlx::query("SELECT hash FROM blobs WHERE hash IN (SELECT value FROM json_each(?))")
        .bind(serde_json::to_string(hashes)?)
        .fetch_all(library.readers())
        .await?;
    rows.iter().map(super::read_hash).collect()
}

pub(super) async fn get(library: &Library, hash: BlobHash) -> Result<Option<BlobRow>, EngineError> {
    let row = sqlx::query("SELECT size, state, file_time_ns FROM blobs WHERE hash = ?")
        .bind(hash.to_string())
        .fetch_optional(library.readers())
        .await?;
    row.as_ref().map(BlobRow::read).transpose()
}

/// Every blob known.
pub(super) async fn all(library: &Library) -> Result<BTreeMap<BlobHash, BlobRow>, EngineError> {
    // One by one: as SQLite gives them, rows take ten times the memory.
    sqlx::query("SELECT hash, size, state, file_time_ns FROM blobs")
        .fetch(library.readers())
        .map(|row| {
            let row = row?;
            Ok((super::read_hash(&row)?, BlobRow::read(&row)?))
        })
        .try_collect()
        .await
}

pub(super) async fn manifest(library: &Library, hash: BlobHash) -> Result<Option<Manifest>, EngineError> {
    let Manifests { mut good, damaged } = manifests(library, &[hash]).await?;
    match damaged.is_empty() {
        true => Ok(good.remove(&hash)),
        false => Err(EngineError::Service {
            code: ErrorCode::BadManifest,
            detail: format!("the list of pieces of {hash} is damaged on this device"),
            retry_after_ms: None,
        }),
    }
}

/// What is known of some blobs.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    pub(crate) good: BTreeMap<BlobHash, Manifest>,
    /// Their lists of pieces don't fold into their hashes any more: they were proven when they were written, so the database
    /// was damaged. They are to be asked for again.
    pub(crate) damaged: Vec<BlobHash>,
}

pub(super) async fn manifests(library: &Library, hashes: &[BlobHash]) -> Result<Manifests, EngineError> {
    let rows = sqlx::query(
        "SELECT b.hash, b.size, p.pieces FROM json_each(?) j CROSS JOIN blobs b ON b.hash = j.value
         LEFT JOIN blob_pieces p ON p.hash = b.hash",
    )
    .bind(serde_json::to_string(hashes)?)
    .fetch_all(library.readers())
    .await?;
    let mut manifests = Manifests::default();
    for row in &rows {
        let hash = super::read_hash(row)?;
        let size: i64 = row.try_get("size")?;
        let pieces: Option<&[u8]> = row.try_get("pieces")?;
        let manifest = match pieces {
            Some(pieces) if !pieces.is_empty() => Manifest::from_binary(hash, size.cast_unsigned(), pieces),
            // Of a single piece, or it lost its list.
            _ => Manifest::new(hash, size.cast_unsigned(), vec![*hash.as_bytes()]),
        };
        match manifest {
            Ok(manifest) => {
                manifests.good.insert(hash, manifest);
            }
            Err(error) => {
                tracing::error!(%hash, %error, "a list of pieces is damaged");
                manifests.damaged.push(hash);
            }
        }
    }
    Ok(manifests)
}

/// What whole blobs take of the disk: a sum over an index.
pub(super) async fn present_bytes(library: &Library) -> Result<u64, EngineError> {
    let bytes: i64 = sqlx::query_scalar("SELECT COALESCE(SUM(size), 0) FROM blobs WHERE state = 'present'")
        .fetch_one(library.readers())
        .await?;
    Ok(bytes.cast_unsigned())
}

/// These are whole and in their places; with the times of their files.
pub(super) async fn mark_present(library: &Library, files: &[(BlobHash, i64)], now: TimeMs) -> Result<(), EngineError> {
    if files.is_empty() {
        return Ok(());
    }
    let files = serde_json::to_string(files)?;
    let mut tx = library.write().await?;
    sqlx::query(
        "UPDATE blobs SET state = 'present', verified_bytes = size, damaged = 0, file_time_ns = f.time, adopted_at = ?2
         FROM (SELECT value ->> 0 AS hash, value ->> 1 AS time FROM json_each(?1)) f WHERE blobs.hash = f.hash",
    )
    .bind(&files)
    .bind(now.as_ms())
    .execute(&mut *tx)
    .await?;
    // Of no use while the blob is whole, and wrong if it is ever fetched again.
    sqlx::query("UPDATE blob_pieces SET verified = x'' WHERE hash IN (SELECT value ->> 0 FROM json_each(?)) AND verified <> x''")
        .bind(&files)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// The files of present blobs have new times, though the same bytes.
pub(super) async fn set_times(library: &Library, files: &[(BlobHash, i64)]) -> Result<(), EngineError> {
    if files.is_empty() {
        return Ok(());
    }
    let mut tx = library.write().await?;
    sqlx::query(
        "UPDATE blobs SET file_time_ns = f.time
         FROM (SELECT value ->> 0 AS hash, value ->> 1 AS time FROM json_each(?)) f
         WHERE blobs.hash = f.hash AND blobs.state = 'present'",
    )
    .bind(serde_json::to_string(files)?)
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Back into the making, with the pieces that are right.
pub(super) async fn mark_damaged(
    library: &Library,
    hash: BlobHash,
    right: &PieceSet,
    size: u64,
) -> Result<(), EngineError> {
    let mut tx = library.write().await?;
    sqlx::query("UPDATE blobs SET state = 'partial', damaged = 1, verified_bytes = ? WHERE hash = ?")
        .bind(verified_bytes(right, size).cast_signed())
        .bind(hash.to_string())
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE blob_pieces SET verified = ? WHERE hash = ?")
        .bind(right.to_bytes())
        .bind(hash.to_string())
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Forgets verified pieces whose file is gone.
pub(super) async fn forget_pieces(library: &Library, hashes: &[BlobHash]) -> Result<(), EngineError> {
    if hashes.is_empty() {
        return Ok(());
    }
    let mut tx = library.write().await?;
    for hash in hashes {
        sqlx::query("UPDATE blobs SET verified_bytes = 0 WHERE hash = ? AND state = 'partial'")
            .bind(hash.to_string())
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE blob_pieces SET verified = x'' WHERE hash = ?")
            .bind(hash.to_string())
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

/// Every blob that nothing refers to counts as let go: for the scan, which trusts nothing that was written down before.
pub(super) async fn let_go_unreferenced(library: &Library) -> Result<(), EngineError> {
    let mut tx = library.write().await?;
    sqlx::query(
        "INSERT INTO blobs_let_go (hash) SELECT hash FROM blobs b
         WHERE NOT EXISTS (SELECT 1 FROM download_items i WHERE i.hash = b.hash)
           AND NOT EXISTS (SELECT 1 FROM cache_entries c WHERE c.hash = b.hash)
         ON CONFLICT DO NOTHING",
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Whether any blob lost a reference since the last sweep.
pub(super) async fn any_let_go(library: &Library) -> Result<bool, EngineError> {
    let any = sqlx::query("SELECT 1 FROM blobs_let_go LIMIT 1").fetch_optional(library.readers()).await?;
    Ok(any.is_some())
}

/// Deletes the rows of blobs that were let go and that nothing refers to. Those being written are left for another time.
pub(super) async fn delete_unreferenced(
    library: &Library,
    busy: &BTreeSet<BlobHash>,
) -> Result<Vec<BlobHash>, EngineError> {
    let busy = serde_json::to_string(busy)?;
    let mut tx = library.write().await?;
    let rows = sqlx::query(
        "DELETE FROM blobs WHERE hash IN (
             SELECT l.hash FROM blobs_let_go l
             WHERE NOT EXISTS (SELECT 1 FROM download_items i WHERE i.hash = l.hash)
               AND NOT EXISTS (SELECT 1 FROM cache_entries c WHERE c.hash = l.hash)
               AND l.hash NOT IN (SELECT value FROM json_each(?)))
         RETURNING hash",
    )
    .bind(&busy)
    .fetch_all(&mut *tx)
    .await?;
    let gone = rows.iter().map(super::read_hash).collect::<Result<Vec<_>, _>>()?;
    sqlx::query("DELETE FROM blobs_let_go WHERE hash NOT IN (SELECT value FROM json_each(?))")
        .bind(&busy)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(gone)
}
