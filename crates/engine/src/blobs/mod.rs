//! Content-addressed files: `blobs/ab/<hash>`, shared by every lesson and learner that needs them.
//!
//! Promises: a blob whose row says `present` was verified piece by piece, made durable and then renamed into place, in
//! that order; a blob stays as long as anything in the view `blob_refs` names it, and its bytes are gone when nothing
//! does; whatever is found missing or altered goes back to `partial` with the pieces that are still right, so that a
//! repair fetches only the damaged ones (fault 28, requirement S5).
//!
//! Rows first, files second when deleting; files first, rows second when adopting. A crash between the two leaves a file
//! without a row (removed by the scan at the next start) or a file that is ahead of its row (checked and taken in by it).
//!
//! Lock order: [`Blobs::lock`], then the library's writer.

mod files;
mod journal;
mod rows;
mod scan;
mod space;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use carrel_model::{BlobHash, content::AssetKind, pieces::Manifest};
use carrel_transfer::PieceSet;
use sqlx::{Row as _, sqlite::SqliteRow};
use tokio::sync::MutexGuard;

use crate::{
    EngineError,
    library::{Library, WriteTx},
    ports::Clock,
};
use files::Folders;

pub(crate) use journal::SqliteJournal;
#[cfg(test)]
pub(crate) use space::DiskFacts;
pub(crate) use space::{Disk, SystemDisk};
pub use space::{Space, floor_bytes};

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    library: Library,
    folders: Folders,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    lock: tokio::sync::Mutex<()>,
    /// Blobs whose part file somebody is writing: not to be removed under their hands.
    busy: Mutex<BTreeSet<BlobHash>>,
    /// Somebody has ended writing.
    freed: tokio::sync::Notify,
}

/// Held while files and references change together.
pub(crate) struct StoreLock<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

/// Says that a part file is being written; ends when dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    blobs: Blobs,
    hash: BlobHash,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.blobs.busy().remove(&self.hash);
        self.blobs.inner.freed.notify_waiters();
    }
}

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Located {
    /// Whole and, as far as length and time tell, unaltered.
    Here {
        /// Its file.
        path: PathBuf,
        /// Its length.
        size: u64,
    },
    /// Not here, or not whole.
    Absent,
    /// It was here and is missing or altered: it has just been put back into the making.
    Damaged,
}

impl Blobs {
    /// The store in a data folder; its folders are made where they are missing.
    pub(crate) async fn open(
        library: Library,
        data_dir: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        let at = data_dir.to_owned();
        let folders = blocking(data_dir, move || Folders::create(&at)).await?;
        let inner = Inner {
            library,
            folders,
            disk,
            clock,
            lock: tokio::sync::Mutex::default(),
            busy: Mutex::default(),
            freed: tokio::sync::Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits for the right to change files and references together.
    pub(crate) async fn lock(&self) -> StoreLock<'_> {
        StoreLock(self.inner.lock.lock().await)
    }

    /// The journal transfers write to.
    pub(crate) fn journal(&self) -> SqliteJournal {
        SqliteJournal::new(self.inner.library.clone())
    }

    /// Where a transfer writes.
    pub(crate) fn part_path(&self, hash: BlobHash) -> PathBuf {
        self.inner.folders.part(hash)
    }

    /// Announces that a part file is being written. None: somebody else is writing it.
    pub(crate) fn begin_writing(&self, hash: BlobHash) -> Option<Writing> {
        self.busy().insert(hash).then(|| Writing { blobs: self.clone(), hash })
    }

    /// As [`begin_writing`](Self::begin_writing), after whoever writes it now has ended.
    pub(crate) async fn writing(&self, hash: BlobHash) -> Writing {
        loop {
            let mut freed = std::pin::pin!(self.inner.freed.notified());
            // Listening first: an end between the look and the wait is not missed.
            freed.as_mut().enable();
            if let Some(writing) = self.begin_writing(hash) {
                return writing;
            }
            freed.await;
        }
    }

    /// Makes a blob known, so that items can refer to it. What is known already stays as it is.
    pub(crate) async fn expect(
        &self,
        _lock: &StoreLock<'_>,
        tx: &mut WriteTx,
        manifest: &Manifest,
        kind: AssetKind,
        mime: &str,
    ) -> Result<(), EngineError> {
        rows::insert(tx, manifest, kind, mime).await
    }

    /// Puts a durable, verified part file in its place. False: nobody needs the blob any more, and the file is gone.
    pub(crate) async fn adopt(&self, hash: BlobHash) -> Result<bool, EngineError> {
        let _lock = self.lock().await;
        if !rows::exists(&self.inner.library, hash).await? {
            self.remove_files(hash).await?;
            return Ok(false);
        }
        let folders = self.inner.folders.clone();
        let facts = blocking(&self.part_path(hash), move || folders.adopt(hash)).await?;
        rows::mark_present(&self.inner.library, hash, facts.time_ns, self.inner.clock.now()).await?;
        Ok(true)
    }

    /// Removes every blob that nothing refers to any more; says how many bytes that freed.
    pub(crate) async fn sweep(&self) -> Result<u64, EngineError> {
        let _lock = self.lock().await;
        let busy = self.busy().clone();
        let gone = rows::delete_unreferenced(&self.inner.library, &busy).await?;
        let mut freed = 0;
        for hash in gone {
            freed += self.remove_files(hash).await?;
        }
        Ok(freed)
    }

    /// Where a blob is; notices what has gone or changed since.
    pub(crate) async fn locate(&self, hash: BlobHash) -> Result<Located, EngineError> {
        let Some(row) = rows::get(&self.inner.library, hash).await? else { return Ok(Located::Absent) };
        if !row.present {
            return Ok(Located::Absent);
        }
        let path = self.inner.folders.blob(hash);
        let looked = path.clone();
        let facts = blocking(&path, move || Ok(files::openable(&looked))).await?;
        if facts.is_some_and(|facts| facts.bytes == row.size && facts.time_ns == row.file_time_ns)
            || self.verify(hash).await?
        {
            return Ok(Located::Here { path, size: row.size });
        }
        Ok(Located::Damaged)
    }

    /// Rehashes a whole blob. Where it is wrong it goes back into the making with the pieces that are right; false then.
    pub(crate) async fn verify(&self, hash: BlobHash) -> Result<bool, EngineError> {
        let Some(manifest) = self.manifest(hash).await? else { return Ok(false) };
        // Hashed without the lock: a gigabyte takes a second, and nobody changes a present blob but through `withdraw`.
        let path = self.inner.folders.blob(hash);
        let (looked, size) = (path.clone(), manifest.size());
        let (right, facts) = blocking(&path, move || {
            let before = files::file_facts(&looked);
            Ok((files::right_pieces(&looked, &manifest)?, before))
        })
        .await?;
        let _lock = self.lock().await;
        if !rows::get(&self.inner.library, hash).await?.is_some_and(|row| row.present) {
            return Ok(false);
        }
        match facts {
            Some(facts) if right.is_full() && facts.bytes == size => {
                rows::mark_present(&self.inner.library, hash, facts.time_ns, self.inner.clock.now()).await?;
                Ok(true)
            }
            _ => {
                self.withdraw(hash, &right, size).await?;
                Ok(false)
            }
        }
    }

    /// Size, hash and pieces of a known blob.
    pub(crate) async fn manifest(&self, hash: BlobHash) -> Result<Option<Manifest>, EngineError> {
        rows::manifest(&self.inner.library, hash).await
    }

    /// Bytes of the disk that the part file of a blob has taken already.
    pub(crate) fn begun_bytes(&self, hash: BlobHash) -> u64 {
        files::allocated_bytes(&self.inner.folders.part(hash))
    }

    /// Room on the disk. `queued` are the blobs that queued downloads still need, with their sizes.
    pub(crate) async fn space(&self, queued: BTreeMap<BlobHash, u64>) -> Result<Space, EngineError> {
        let (folders, disk) = (self.inner.folders.clone(), Arc::clone(&self.inner.disk));
        blocking(self.inner.folders.root(), move || {
            let facts = disk.facts(folders.root())?;
            // A part file that was begun has its room already; only the rest is still to come.
            let rest =
                |(hash, size): (&BlobHash, &u64)| size.saturating_sub(files::allocated_bytes(&folders.part(*hash)));
            Ok(Space {
                total_bytes: facts.total_bytes,
                free_bytes: facts.free_bytes,
                floor_bytes: floor_bytes(facts.total_bytes),
                reserved_bytes: queued.iter().map(rest).fold(0, u64::saturating_add),
            })
        })
        .await
    }

    /// Bytes each blob takes on disk now, whole or in the making; the sum is the sum of all files of the store.
    pub(crate) async fn bytes_on_disk(&self) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
        let folders = self.inner.folders.clone();
        blocking(self.inner.folders.root(), move || {
            let (whole, partial) = folders.list()?;
            let mut bytes = BTreeMap::new();
            for (hash, facts) in whole.into_iter().chain(partial) {
                *bytes.entry(hash).or_insert(0) += facts.bytes;
            }
            Ok(bytes)
        })
        .await
    }

    /// Writes a small blob that was fetched whole and already fits its hash, and puts it in its place. It has a row.
    pub(crate) async fn put(&self, hash: BlobHash, content: bytes::Bytes) -> Result<bool, EngineError> {
        let part = self.part_path(hash);
        let to = part.clone();
        blocking(&part, move || {
            use io::Write as _;
            let mut file = std::fs::File::create(&to)?;
            file.write_all(&content)?;
            file.sync_data()
        })
        .await?;
        self.adopt(hash).await
    }

    async fn withdraw(&self, hash: BlobHash, right: &PieceSet, size: u64) -> Result<(), EngineError> {
        tracing::warn!(%hash, right = right.len(), of = right.pieces(), "a blob on disk is missing or altered");
        let folders = self.inner.folders.clone();
        // The row first: from now on nobody opens it.
        rows::mark_damaged(&self.inner.library, hash, right, size).await?;
        if !blocking(&self.part_path(hash), move || Ok(folders.withdraw(hash))).await? {
            rows::forget_pieces(&self.inner.library, &[hash]).await?;
        }
        Ok(())
    }

    async fn remove_files(&self, hash: BlobHash) -> Result<u64, EngineError> {
        let folders = self.inner.folders.clone();
        blocking(&self.inner.folders.blob(hash), move || Ok(folders.remove(hash))).await
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<BlobHash>> {
        self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The column `hash` of a row.
pub(crate) fn read_hash(row: &SqliteRow) -> Result<BlobHash, EngineError> {
    let text: String = row.try_get("hash")?;
    text.parse().map_err(|_| EngineError::Unreadable(format!("hash {text:.80}")))
}

/// Runs file work off the async threads; errors name the path.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| EngineError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;
