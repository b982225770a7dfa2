//! The journal of verified pieces in SQLite.
//!
//! A transfer stores a checkpoint only after the bytes are durable, and this commit is `synchronous=FULL`: what the
//! bitmap says is never ahead of what the disk holds.

use async_trait::async_trait;
use carrel_model::{
    BlobHash,
    pieces::{PIECE_BYTES, piece_count},
};
use carrel_transfer::{Checkpoint, Journal, JournalError, PieceSet};
use sqlx::Row as _;

use crate::library::Library;

/// Remembers verified pieces in the tables `blobs` and `blob_pieces`.
#[derive(Debug, Clone)]
pub(crate) struct SqliteJournal {
    library: Library,
}

impl SqliteJournal {
    pub(super) const fn new(library: Library) -> Self {
        Self { library }
    }

    async fn load_row(&self, blob: BlobHash) -> Result<Option<Vec<u8>>, sqlx::Error> {
        let row = sqlx::query("SELECT verified FROM blob_pieces WHERE hash = ?")
            .bind(blob.to_string())
            .fetch_optional(self.library.readers())
            .await?;
        row.map(|row| row.try_get("verified")).transpose()
    }

    async fn store_rows(&self, checkpoints: &[Checkpoint]) -> Result<(), sqlx::Error> {
        let mut tx = self.library.write().await?;
        for checkpoint in checkpoints {
            let hash = checkpoint.blob.to_string();
            // A blob of a single piece has no list of pieces, and gets a row only with its first checkpoint.
            sqlx::query(
                "INSERT INTO blob_pieces (hash, pieces, verified) SELECT hash, x'', ?1 FROM blobs WHERE hash = ?2
                 ON CONFLICT (hash) DO UPDATE SET verified = excluded.verified",
            )
            .bind(checkpoint.verified.to_bytes())
            .bind(&hash)
            .execute(&mut *tx)
            .await?;
            // All pieces are of one length but the last.
            let pieces = i64::try_from(checkpoint.verified.len()).unwrap_or(i64::MAX);
            let last = checkpoint.verified.pieces().saturating_sub(1);
            sqlx::query(
                "UPDATE blobs SET verified_bytes = CASE WHEN ?2 THEN (?1 - 1) * ?3 + size - ?4 * ?3 ELSE ?1 * ?3 END
                 WHERE hash = ?5 AND state = 'partial'",
            )
            .bind(pieces)
            .bind(checkpoint.verified.contains(last))
            .bind(PIECE_BYTES.cast_signed())
            .bind(last.cast_signed())
            .bind(&hash)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn load(&self, blob: BlobHash, pieces: u64) -> Result<Option<PieceSet>, JournalError> {
        let bytes = self.load_row(blob).await.map_err(JournalError::new)?;
        Ok(bytes.and_then(|bytes| PieceSet::from_bytes(pieces, &bytes)))
    }

    async fn store(&self, checkpoints: &[Checkpoint]) -> Result<(), JournalError> {
        self.store_rows(checkpoints).await.map_err(JournalError::new)
    }
}

/// Bytes in a set of pieces of a blob of this size.
pub(super) fn verified_bytes(set: &PieceSet, size: u64) -> u64 {
    let last = piece_count(size).saturating_sub(1);
    let short_by = PIECE_BYTES.saturating_sub(size.saturating_sub(last.saturating_mul(PIECE_BYTES)));
    set.len().saturating_mul(PIECE_BYTES).saturating_sub(if set.contains(last) { short_by } else { 0 })
}
