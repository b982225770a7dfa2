//! The beginning of the piece in the air, kept in the file before the piece is complete – so that a kill on a slow line
//! costs a few KiB and not most of a piece.
//!
//! It stands where it belongs, with a *seal* behind it: a chain of hashes over its steps. Whoever opens the file later
//! looks for the last step with a seal that fits; without one there is no beginning, whatever the bytes are – so a damaged
//! piece isn't taken for one, nor what a power loss tore. No journal knows of it: it is no state, only bytes that needn't
//! be asked for. What they are worth shows when the piece is complete, and if it is wrong all of it is fetched again.
//!
//! The seal is written over by the bytes that follow, and after them: a kill in the middle of a write leaves the beginning
//! that was there before. It must never be written over a complete piece: [`Part`] sees to that,
//! and [`Pending`] that a file isn't opened anew while an earlier fetch of it is still writing.
//!
//! [`Part`]: super::Part

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use carrel_model::{BlobHash, pieces::Manifest};
use tokio::sync::Notify;

use crate::disk::lock;

/// Beginnings are kept in steps of so many bytes.
const STEP_BYTES: usize = 128 << 10;
pub(super) const SEAL_BYTES: usize = 32;
/// How much is looked at to tell what was written from what was only reserved.
const LOOKED_AT_BYTES: usize = 4 << 10;

/// Follows a piece while it comes in.
#[derive(Debug)]
pub(crate) struct Beginning {
    piece: u64,
    seal: BlobHash,
    /// Bytes that the seal covers.
    sealed: usize,
}

/// What is to be written: bytes of a piece from an offset in it on, and the seal.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) piece: u64,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

impl Step {
    /// Where in the piece its seal stands.
    pub(super) fn seal_at(&self) -> usize {
        (self.offset + self.bytes.len()).saturating_sub(SEAL_BYTES)
    }
}

impl Beginning {
    pub(crate) fn new(manifest: &Manifest, piece: u64) -> Self {
        let mut named = manifest.hash().as_bytes().to_vec();
        named.extend_from_slice(&piece.to_le_bytes());
        Self { piece, seal: BlobHash::of(&named), sealed: 0 }
    }

    /// Whether a step more has come, of a piece of so many bytes.
    pub(crate) const fn has_grown(&self, arrived: usize, length: usize) -> bool {
        let end = self.sealed + STEP_BYTES;
        arrived >= end && end + SEAL_BYTES <= length
    }

    /// So many bytes are covered by the steps made by now.
    pub(crate) const fn sealed(&self) -> usize {
        self.sealed
    }

    /// What is to be written now that these bytes have come.
    pub(crate) fn step(&mut self, bytes: &[u8], length: usize) -> Option<Step> {
        let offset = self.sealed;
        while self.has_grown(bytes.len(), length) && self.seal_next(bytes) {}
        let mut bytes = bytes.get(offset..self.sealed).filter(|bytes| !bytes.is_empty())?.to_vec();
        bytes.extend_from_slice(self.seal.as_bytes());
        Some(Step { piece: self.piece, offset, bytes })
    }

    fn seal_next(&mut self, bytes: &[u8]) -> bool {
        let end = self.sealed + STEP_BYTES;
        let Some(step) = bytes.get(self.sealed..end) else { return false };
        let mut chained = self.seal.as_bytes().to_vec();
        chained.extend_from_slice(step);
        self.seal = BlobHash::of(&chained);
        self.sealed = end;
        true
    }
}

/// How much of the beginning of a piece is in these bytes of the file; 0: none.
pub(super) fn found(manifest: &Manifest, piece: u64, bytes: &[u8]) -> usize {
    // Room nobody wrote into, most often.
    if bytes.iter().take(LOOKED_AT_BYTES).all(|byte| *byte == 0) {
        return 0;
    }
    let mut beginning = Beginning::new(manifest, piece);
    let mut found = 0;
    while beginning.has_grown(bytes.len(), bytes.len()) && beginning.seal_next(bytes) {
        let behind = bytes.get(beginning.sealed..beginning.sealed + SEAL_BYTES);
        if behind == Some(beginning.seal.as_bytes().as_slice()) {
            found = beginning.sealed;
        }
    }
    found
}

/// Which files beginnings are being written into.
#[derive(Debug, Default)]
pub(super) struct Pending {
    files: Mutex<BTreeMap<PathBuf, usize>>,
    ended: Notify,
}

/// One that is being written.
#[derive(Debug)]
pub(super) struct Writing {
    pending: Arc<Pending>,
    path: PathBuf,
}

impl Pending {
    pub(super) fn begin(self: &Arc<Self>, path: &Path) -> Writing {
        *lock(&self.files).entry(path.to_owned()).or_default() += 1;
        Writing { pending: Arc::clone(self), path: path.to_owned() }
    }

    /// Waits until none is being written into this file.
    pub(super) async fn none(&self, path: &Path) {
        loop {
            let ended = self.ended.notified();
            if !lock(&self.files).contains_key(path) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut files = lock(&self.pending.files);
        if let Some(count) = files.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                files.remove(&self.path);
            }
        }
        drop(files);
        self.pending.ended.notify_waiters();
    }
}

#[cfg(test)]
#[path = "beginnings_tests.rs"]
mod tests;
