//! The journal: which pieces of which blob are verified *and durable*.
//!
//! A fetch stores a checkpoint only after `fdatasync` has returned, so what the journal says is never ahead of what the
//! disk holds. Blobs of one piece are never journalled: rehashing them costs less than a commit.

use std::{
    fs, io,
    io::Write as _,
    path::{self, Path, PathBuf},
};

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

    /// Whether the bytes of this file would be overwritten by the journal, or the journal by them.
    #[must_use]
    pub fn is_at(&self, file: &Path) -> bool {
        let real =
            |path: &Path| fs::canonicalize(path).or_else(|_| path::absolute(path)).unwrap_or_else(|_| path.into());
        real(file) == real(&self.path) || real(file) == real(&self.beside())
    }

    /// Where the next one is written before it replaces the last.
    fn beside(&self) -> PathBuf {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        beside.into()
    }

    /// How long it is, if it is there. A device or pipe isn't read, which may never end, nor replaced.
    fn length(&self) -> io::Result<Option<u64>> {
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(there) if there.is_file() => Ok(Some(there.len())),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "something that is no file is in its place")),
            Err(error) => Err(error),
        }
    }

    fn read(&self, blob: BlobHash, pieces: u64) -> io::Result<Option<PieceSet>> {
        // Four characters for each byte of eight pieces; what is longer is no journal, and not worth the memory.
        match self.length()? {
            Some(length) if length <= pieces / 2 + 1024 => {}
            _ => return Ok(None),
        }
        let text = fs::read(&self.path)?;
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
        self.length()?;
        let beside = self.beside();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_files_are_read_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let blob = BlobHash::of(b"x");
        let checkpoint = Checkpoint { blob, verified: PieceSet::new(9) };
        let place = folder.path().join("a");
        fs::create_dir(&place).unwrap();
        assert!(FileJournal::new(&place).load(blob, 9).await.is_err());
        assert!(FileJournal::new(&place).store(std::slice::from_ref(&checkpoint)).await.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");

        let journal = FileJournal::new(folder.path().join("b"));
        assert!(journal.load(blob, 9).await.unwrap().is_none());
        journal.store(&[checkpoint]).await.unwrap();
        assert!(journal.load(blob, 9).await.unwrap().is_some());
        // Longer than any journal of nine pieces.
        fs::File::options().write(true).open(folder.path().join("b")).unwrap().set_len(1 << 40).unwrap();
        assert!(journal.load(blob, 9).await.unwrap().is_none());
    }

    #[test]
    fn a_journal_in_the_place_of_a_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("a"), "").unwrap();
        assert!(FileJournal::new(at("a")).is_at(&at("sub/../a")));
        assert!(FileJournal::new(at("a")).is_at(&at("a.new")));
        assert!(!FileJournal::new(at("a")).is_at(&at("b")));
    }
}
