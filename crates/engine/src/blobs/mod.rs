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
//! The store lies in the data folder or, once it was moved, in a folder of its own (see [`place`] and [`moving`]). Where
//! the drive of that folder is not there, nothing is taken for missing or damaged: what isn't seen isn't judged.
//!
//! Lock order: [`Blobs::lock`], then the library's writer.

mod files;
mod folders;
mod journal;
mod moving;
mod place;
mod quota;
mod rows;
mod scan;
mod space;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use carrel_model::{BlobHash, content::AssetKind, pieces::Manifest};
use carrel_transfer::{FileLayer, PieceSet};
use sqlx::{Row as _, sqlite::SqliteRow};
use tokio::sync::MutexGuard;

use crate::{
    EngineError,
    library::{Library, WriteTx},
    ports::Clock,
};
use folders::{Folders, Root};

pub(crate) use journal::SqliteJournal;
pub(crate) use moving::MoveStage;
pub use place::MoveRefusal;
pub(crate) use rows::Manifests;
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
    data_dir: PathBuf,
    folders: RwLock<Folders>,
    /// The mark of a moved store, and the lock on it.
    place: Mutex<place::Place>,
    moving: Mutex<Option<moving::Moving>>,
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

/// What became of part files that were to be put in their places; what is in neither has gone, and is fetched again if
/// anybody needs it.
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    pub(crate) present: Vec<BlobHash>,
    pub(crate) failed: Vec<(BlobHash, EngineError)>,
}

impl Blobs {
    /// The store of a data folder, wherever it was moved to. In the data folder its folders are made where they are missing;
    /// elsewhere the drive may not be there, and the store waits for it.
    pub(crate) async fn open(
        library: Library,
        data_dir: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        Self::open_on(library, data_dir, disk, clock, Arc::new(carrel_transfer::SystemFiles)).await
    }

    /// As [`open`](Self::open), on another layer of files.
    pub(crate) async fn open_on(
        library: Library,
        data_dir: &Path,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        layer: Arc<dyn FileLayer>,
    ) -> Result<Self, EngineError> {
        let kept = place::Kept::read(&library).await?;
        let home = Root::new(kept.folder.as_deref().unwrap_or(data_dir));
        let previous = kept.previous.as_deref().map(Root::new);
        let (at, mark) = (home.clone(), kept.id.clone().filter(|_| kept.folder.is_some()));
        let made_by = Arc::clone(&layer);
        let place = blocking(home.folder(), move || place::Place::open(&at, mark, &*made_by)).await?;
        if place.is_taken() {
            return Err(EngineError::Refused(carrel_model::ErrorCode::StoreInUse));
        }
        let inner = Inner {
            library,
            data_dir: data_dir.to_owned(),
            folders: RwLock::new(Folders { home, previous, layer }),
            place: Mutex::new(place),
            moving: Mutex::default(),
            disk,
            clock,
            lock: tokio::sync::Mutex::default(),
            busy: Mutex::default(),
            freed: tokio::sync::Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn folders(&self) -> Folders {
        self.inner.folders.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the store's folder is there, and ours. A drive that has come back is taken again.
    pub(crate) async fn is_here(&self) -> bool {
        let (blobs, home) = (self.clone(), self.folders().home);
        let look = move || Ok(blobs.inner.place.lock().unwrap_or_else(PoisonError::into_inner).is_here(&home));
        blocking(&self.inner.data_dir, look).await.unwrap_or(false)
    }

    /// The folder the store lies in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folders().home.folder().to_owned()
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
        self.folders().part(hash)
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
        lock: &StoreLock<'_>,
        tx: &mut WriteTx,
        manifest: &Manifest,
        kind: AssetKind,
        mime: &str,
    ) -> Result<(), EngineError> {
        self.expect_all(lock, tx, &[(manifest, kind, mime)]).await
    }

    /// As [`expect`](Self::expect), for many.
    pub(crate) async fn expect_all(
        &self,
        _lock: &StoreLock<'_>,
        tx: &mut WriteTx,
        blobs: &[(&Manifest, AssetKind, &str)],
    ) -> Result<(), EngineError> {
        rows::insert(tx, blobs).await
    }

    /// Puts a durable, verified part file in its place. False: nobody needs the blob any more, and the file is gone.
    pub(crate) async fn adopt(&self, hash: BlobHash) -> Result<bool, EngineError> {
        let adopted = self.adopt_all(&[hash]).await?;
        match adopted.failed.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(!adopted.present.is_empty()),
        }
    }

    /// Puts durable, verified part files in their places: all renames, one sync of each folder, one commit. A blob that
    /// nobody needs any more leaves no file.
    pub(crate) async fn adopt_all(&self, hashes: &[BlobHash]) -> Result<Adopted, EngineError> {
        if hashes.is_empty() {
            return Ok(Adopted::default());
        }
        let _lock = self.lock().await;
        let known = rows::known(&self.inner.library, hashes).await?;
        let (known, strange): (Vec<BlobHash>, Vec<BlobHash>) = hashes.iter().partition(|hash| known.contains(hash));
        if !strange.is_empty() {
            self.remove_files(strange).await?;
        }
        let folders = self.folders();
        let renamed = blocking(&self.folder(), move || Ok(folders.adopt(&known))).await?;
        let times: Vec<_> = renamed.done.iter().map(|(hash, facts)| (*hash, facts.time_ns)).collect();
        rows::mark_present(&self.inner.library, &times, self.inner.clock.now()).await?;
        // What the journal knows of a file that is gone is void; it is fetched anew.
        rows::forget_pieces(&self.inner.library, &renamed.gone).await?;
        let failed = renamed.failed.into_iter().map(|(hash, path, source)| (hash, EngineError::Io { path, source }));
        Ok(Adopted { present: times.into_iter().map(|(hash, _)| hash).collect(), failed: failed.collect() })
    }

    /// Removes every blob that lost its last reference; says how many bytes that freed. Looks only at those that lost one.
    pub(crate) async fn sweep(&self) -> Result<u64, EngineError> {
        if !rows::any_let_go(&self.inner.library).await? {
            return Ok(0);
        }
        let _lock = self.lock().await;
        let busy = self.busy().clone();
        let gone = rows::delete_unreferenced(&self.inner.library, &busy).await?;
        if gone.is_empty() { Ok(0) } else { self.remove_files(gone).await }
    }

    /// Where a blob is; notices what has gone or changed since.
    pub(crate) async fn locate(&self, hash: BlobHash) -> Result<Located, EngineError> {
        let Some(row) = rows::get(&self.inner.library, hash).await? else { return Ok(Located::Absent) };
        if !row.present {
            return Ok(Located::Absent);
        }
        let folders = self.folders();
        let (path, facts) = blocking(&self.folder(), move || {
            let path = folders.blob(hash);
            Ok((path.clone(), files::openable(&path)))
        })
        .await?;
        // What lies on a drive that is not there is neither missing nor damaged.
        if facts.is_none() && !self.is_here().await {
            return Ok(Located::Absent);
        }
        if facts.is_some_and(|facts| facts.bytes == row.size && facts.time_ns == row.file_time_ns) {
            return Ok(Located::Here { path, size: row.size });
        }
        match self.verify(hash).await {
            Ok(true) => Ok(Located::Here { path: self.folders().blob(hash), size: row.size }),
            Ok(false) => Ok(Located::Damaged),
            Err(EngineError::Io { .. }) if !self.is_here().await => Ok(Located::Absent),
            Err(error) => Err(error),
        }
    }

    /// Rehashes a whole blob. Where it is wrong it goes back into the making with the pieces that are right; false then.
    pub(crate) async fn verify(&self, hash: BlobHash) -> Result<bool, EngineError> {
        let Some(manifest) = self.manifest(hash).await? else { return Ok(false) };
        // Hashed without the lock: a gigabyte takes a second, and nobody changes a present blob but through `withdraw`.
        let path = self.folders().blob(hash);
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
                rows::mark_present(&self.inner.library, &[(hash, facts.time_ns)], self.inner.clock.now()).await?;
                Ok(true)
            }
            // The drive went while it was read: nothing is known of it now.
            _ if !self.is_here().await => Err(EngineError::Io { path, source: io::ErrorKind::NotFound.into() }),
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

    /// As [`manifest`](Self::manifest), for many; damaged ones apart.
    pub(crate) async fn manifests(&self, hashes: &[BlobHash]) -> Result<Manifests, EngineError> {
        rows::manifests(&self.inner.library, hashes).await
    }

    /// Bytes of the disk that part files have taken already.
    pub(crate) async fn begun(&self) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
        let folders = self.folders();
        blocking(&self.folder(), move || folders.begun()).await
    }

    /// Room on the disk and within the limit, reservations not counted.
    pub(crate) async fn space(&self) -> Result<Space, EngineError> {
        let (folder, disk) = (self.folder(), Arc::clone(&self.inner.disk));
        let space = Space::of(blocking(&self.folder(), move || disk.facts(&folder)).await?);
        let Some(quota) = quota::kept(&self.inner.library).await? else { return Ok(space) };
        // A part file counts with what the disk has given it, as for whoever asks what it still needs.
        let begun = self.begun().await?.values().copied().fold(0, u64::saturating_add);
        let whole = rows::present_bytes(&self.inner.library).await?;
        Ok(space.within(quota, whole.saturating_add(begun)))
    }

    /// Limits what the store takes; none: as much as the disk has. What is here stays, however small the limit.
    pub(crate) async fn set_quota(&self, bytes: Option<u64>) -> Result<(), EngineError> {
        quota::keep(&self.inner.library, bytes).await
    }

    /// Bytes each blob takes on disk now, whole or in the making; the sum is the sum of all files of the store.
    pub(crate) async fn bytes_on_disk(&self) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
        let folders = self.folders();
        match blocking(&self.folder(), move || folders.bytes()).await {
            // Nothing of it is on this device as long as its drive isn't.
            Err(_) if !self.is_here().await => Ok(BTreeMap::new()),
            counted => counted,
        }
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
        let folders = self.folders();
        // The row first: from now on nobody opens it.
        rows::mark_damaged(&self.inner.library, hash, right, size).await?;
        if !blocking(&self.part_path(hash), move || Ok(folders.withdraw(hash))).await? {
            rows::forget_pieces(&self.inner.library, &[hash]).await?;
        }
        Ok(())
    }

    async fn remove_files(&self, hashes: Vec<BlobHash>) -> Result<u64, EngineError> {
        let folders = self.folders();
        blocking(&self.folder(), move || Ok(folders.remove(&hashes))).await
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
mod adopt_tests;
#[cfg(test)]
mod moving_tests;
#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;
