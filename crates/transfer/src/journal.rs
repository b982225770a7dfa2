//! The journal: which pieces of which blob are verified *and durable*.
//!
//! A fetch stores a checkpoint only after `fdatasync` has returned, so what the journal says is never ahead of what the
//! disk holds. Blobs of one piece are never journalled: rehashing them costs less than a commit.

use std::{fs, io, io::Write as _, path::PathBuf};

use carrel_model::BlobHash;
use serde::{Deserialize, Serialize};

use crate::PieceSet;

/// The journal can't be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the journal of verified pieces failed: {0}")]
pub struct JournalError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl JournalError {
    /// Wraps the journal's own error.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }

    /// The same for another blob of the same call.
    pub(crate) fn again(&self) -> Self {
        Self(self.0.to_string().into())
    }
}

/// What is verified and durable of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The blob.
    pub blob: BlobHash,
    /// Its pieces on disk.
    pub verified: PieceSet,
}

/// Remembers verified pieces across runs.
///
/// What is loaded is used as a claim, not as a proof: before a file is called complete, each piece that was not
/// verified in the same run is hashed again.
#[async_trait::async_trait]
pub trait Journal: Send + Sync {
    /// The pieces of a blob stored last; `None` when nothing is known, or what is known isn't of so many pieces.
    async fn load(&self, blob: BlobHash, pieces: u64) -> Result<Option<PieceSet>, JournalError>;

    /// Replaces what is known of these blobs. Several in one call may share one commit.
    async fn store(&self, checkpoints: &[Checkpoint]) -> Result<(), JournalError>;
}

/// Remembers nothing: what is on disk is found by rehashing alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoJournal;

#[async_trait::async_trait]
impl Journal for NoJournal {
    async fn load(&self, _: BlobHash, _: u64) -> Result<Option<PieceSet>, JournalError> {
        Ok(None)
    }

    async fn store(&self, _: &[Checkpoint]) -> Result<(), JournalError> {
        Ok(())
    }
}

/// The journal of one blob in a small JSON file, replaced as a whole (write, sync, rename).
#[derive(Debug, Clone)]
pub struct FileJournal {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    blob: BlobHash,
    pieces: u64,
    verified: Vec<u8>,
}

impl FileJournal {
    /// The journal at this path; the file needn't exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn read(&self, blob: BlobHash, pieces: u64) -> io::Result<Option<PieceSet>> {
        let text = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        // A damaged journal is no reason to stop: the pieces on disk are found again by their hashes.
        let entry = serde_json::from_slice::<Entry>(&text).ok();
        let entry = entry.filter(|entry| entry.blob == blob && entry.pieces == pieces);
        Ok(entry.and_then(|entry| PieceSet::from_bytes(pieces, &entry.verified)))
    }

    fn write(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let entry = Entry {
            blob: checkpoint.blob,
            pieces: checkpoint.verified.pieces(),
            verified: checkpoint.verified.to_bytes(),
        };
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)
    }
}

#[async_trait::async_trait]
impl Journal for FileJournal {
    async fn load(&self, blob: BlobHash, pieces: u64) -> Result<Option<PieceSet>, JournalError> {
        let journal = self.clone();
        let read = tokio::task::spawn_blocking(move || journal.read(blob, pieces)).await;
        read.map_err(JournalError::new)?.map_err(JournalError::new)
    }

    async fn store(&self, checkpoints: &[Checkpoint]) -> Result<(), JournalError> {
        let Some(checkpoint) = checkpoints.last().cloned() else { return Ok(()) };
        let journal = self.clone();
        let written = tokio::task::spawn_blocking(move || journal.write(&checkpoint)).await;
        written.map_err(JournalError::new)?.map_err(JournalError::new)
    }
}
