//! The tables `blobs` and `blob_pieces`.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, TimeMs, content::AssetKind, pieces::Manifest};
use carrel_transfer::PieceSet;
use sqlx::{Row as _, sqlite::SqliteRow};

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

pub(super) async fn insert(
    tx: &mut WriteTx,
    manifest: &Manifest,
    kind: AssetKind,
    mime: &str,
) -> Result<(), EngineError> {
    let hash = manifest.hash().to_string();
    sqlx::query("INSERT INTO blobs (hash, size, kind, mime) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING")
        .bind(&hash)
        .bind(manifest.size().cast_signed())
        .bind(kind.as_str())
        .bind(mime)
        .execute(&mut **tx)
        .await?;
    sqlx::query("INSERT INTO blob_pieces (hash, pieces) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING")
        .bind(&hash)
        .bind(manifest.to_binary())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

pub(super) async fn exists(library: &Library, hash: BlobHash) -> Result<bool, EngineError> {
    Ok(get(library, hash).await?.is_some())
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
    let rows = sqlx::query("SELECT hash, size, state, file_time_ns FROM blobs").fetch_all(library.readers()).await?;
    rows.iter().map(|row| Ok((super::read_hash(row)?, BlobRow::read(row)?))).collect()
}

pub(super) async fn manifest(library: &Library, hash: BlobHash) -> Result<Option<Manifest>, EngineError> {
    let row = sqlx::query("SELECT size, pieces FROM blobs JOIN blob_pieces USING (hash) WHERE hash = ?")
        .bind(hash.to_string())
        .fetch_optional(library.readers())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let size = row.try_get::<i64, _>("size")?.cast_unsigned();
    let pieces: Vec<u8> = row.try_get("pieces")?;
    // It was proven when it was written; a row that no longer folds is a damaged database, not a blob.
    Manifest::from_binary(hash, size, &pieces).map(Some).map_err(|error| EngineError::Unreadable(error.to_string()))
}

pub(super) async fn mark_present(
    library: &Library,
    hash: BlobHash,
    file_time_ns: i64,
    now: TimeMs,
) -> Result<(), EngineError> {
    let mut tx = library.write().await?;
    sqlx::query(
        "UPDATE blobs SET state = 'present', verified_bytes = size, damaged = 0, file_time_ns = ?, adopted_at = ?
         WHERE hash = ?",
    )
    .bind(file_time_ns)
    .bind(now.as_ms())
    .bind(hash.to_string())
    .execute(&mut *tx)
    .await?;
    // Of no use while the blob is whole, and wrong if it is ever fetched again.
    sqlx::query("UPDATE blob_pieces SET verified = x'' WHERE hash = ?")
        .bind(hash.to_string())
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

/// Deletes the rows nothing refers to, but for those being written.
pub(super) async fn delete_unreferenced(
    library: &Library,
    busy: &BTreeSet<BlobHash>,
) -> Result<Vec<BlobHash>, EngineError> {
    let mut tx = library.write().await?;
    let rows = sqlx::query(
        "SELECT hash FROM blobs b
         WHERE NOT EXISTS (SELECT 1 FROM download_items i WHERE i.hash = b.hash)
           AND NOT EXISTS (SELECT 1 FROM cache_entries c WHERE c.hash = b.hash)",
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut gone = Vec::new();
    for row in &rows {
        let hash = super::read_hash(row)?;
        if !busy.contains(&hash) {
            sqlx::query("DELETE FROM blobs WHERE hash = ?").bind(hash.to_string()).execute(&mut *tx).await?;
            gone.push(hash);
        }
    }
    tx.commit().await?;
    Ok(gone)
}
