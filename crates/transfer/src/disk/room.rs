//! The room a file needs: promised before the first byte, and taken at once where it is much.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use carrel_model::pieces::Manifest;

use crate::{
    FetchError,
    disk::{
        Disk, folder,
        layer::OpenFile,
        ledger::{Ledger, Shortage},
        lock,
        syncer::Volume,
    },
};

/// From here on a file gets its room at once, so that it lies together and can't be surprised by a full disk.
const BIG_BYTES: u64 = 4 << 20;

/// Where a file lies, and the room it needs there.
pub(crate) struct Place<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) manifest: &'a Manifest,
    pub(crate) path: &'a Path,
    pub(crate) file: &'a dyn OpenFile,
    pub(crate) promise: &'a Promise,
}

impl Place<'_> {
    /// Makes sure of the room for the whole file, which was `before` bytes long, and gives it its length.
    pub(crate) fn reserve(&self, before: u64) -> Result<(), FetchError> {
        let size = self.manifest.size();
        if size == 0 {
            return Ok(());
        }
        let needed = self.needed_bytes();
        if let Err(Shortage { needed_bytes, free_bytes }) =
            self.promise.renew(needed, self.free_bytes(), self.disk.floor_bytes())
        {
            return Err(FetchError::DiskFull { needed_bytes, free_bytes });
        }
        if size < BIG_BYTES {
            // Full length from the start shows later whether somebody cut it. One piece gets its length when written.
            if self.manifest.piece_count() > 1 {
                self.file.set_length(size)?;
            }
            return Ok(());
        }
        match self.file.allocate(size) {
            // Not every file system can reserve; then the promise stands until the bytes are written.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.file.set_length(size)?,
            Err(error) => {
                // Gives back what a failed reservation may have taken.
                self.file.set_length(before.min(size)).ok();
                self.promise.end();
                return Err(self.failure(error));
            }
            Ok(()) => self.promise.end(),
        }
        Ok(())
    }

    /// Refuses what would go below the floor, in case somebody else filled the disk since the promise.
    pub(crate) fn may_write(&self, bytes: u64) -> io::Result<()> {
        if self.promise.is_settled() {
            return Ok(());
        }
        Ledger::may_write(bytes, self.free_bytes(), self.disk.floor_bytes())
            .map_err(|_| io::ErrorKind::StorageFull.into())
    }

    pub(crate) fn failure(&self, error: io::Error) -> FetchError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::DiskFull {
                needed_bytes: self.needed_bytes(),
                free_bytes: self.free_bytes().saturating_sub(self.disk.floor_bytes()),
            },
            _ => FetchError::Io(error),
        }
    }

    fn needed_bytes(&self) -> u64 {
        self.manifest.size().saturating_sub(self.file.allocated_bytes().unwrap_or(0))
    }

    fn free_bytes(&self) -> u64 {
        // Unknown is not full: the write will tell.
        self.disk.layer().free_bytes(folder(self.path)).unwrap_or(u64::MAX)
    }
}

/// Room promised to one file and not yet taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Promise {
    volume: Arc<Volume>,
    left_bytes: Mutex<u64>,
}

impl Promise {
    pub(crate) const fn none(volume: Arc<Volume>) -> Self {
        Self { volume, left_bytes: Mutex::new(0) }
    }

    /// Takes the place of what was promised before.
    fn renew(&self, bytes: u64, free_bytes: u64, floor_bytes: u64) -> Result<(), Shortage> {
        let mut left = lock(&self.left_bytes);
        let mut ledger = lock(&self.volume.ledger);
        ledger.settle(std::mem::take(&mut *left));
        ledger.promise(bytes, free_bytes, floor_bytes)?;
        *left = bytes;
        Ok(())
    }

    pub(crate) fn written(&self, bytes: u64) {
        let mut left = lock(&self.left_bytes);
        let settled = bytes.min(*left);
        if settled > 0 {
            *left -= settled;
            lock(&self.volume.ledger).settle(settled);
        }
    }

    fn is_settled(&self) -> bool {
        *lock(&self.left_bytes) == 0
    }

    fn end(&self) {
        self.written(u64::MAX);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.end();
    }
}
