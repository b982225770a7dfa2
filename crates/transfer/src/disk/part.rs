//! One blob's file while it is fetched: room reserved before the first byte, right pieces written where they belong,
//! durable before they are recorded.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use carrel_model::pieces::Manifest;
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use crate::{
    FetchError, Journal, PieceSet,
    disk::{
        Disk, blocking,
        buffers::Buffer,
        layer::{FileLayer, OpenFile},
        ledger::{Ledger, Shortage},
        leftovers, lock,
        syncer::{Known, Record, Volume},
    },
};

/// From here on a file gets its room at once, so that it lies together and can't be surprised by a full disk.
const BIG_BYTES: u64 = 4 << 20;

/// What has become of a piece handed to [`Part::submit`].
#[derive(Debug)]
pub(crate) enum Judged {
    /// It is the manifest's and is in the file.
    Right,
    /// It isn't the manifest's; nothing was written.
    Wrong,
    /// It could not be written.
    Failed(io::Error),
}

/// What the path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    /// The file, at its full length.
    Whole,
    /// The file, shorter than it should be or cut meanwhile: what was written may be gone.
    Cut,
    /// Nothing, or another file.
    Gone,
}

/// What [`Disk::open`] found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) part: Part,
    /// Pieces the journal says are there; to be hashed before the file counts as complete.
    pub(crate) claimed: PieceSet,
    /// Pieces the journal doesn't know, hashed just now and right.
    pub(crate) found: Vec<u64>,
}

/// An open part file; clones are the same one. What was right when the last is dropped still becomes durable and recorded.
#[derive(Clone)]
pub(crate) struct Part(Arc<Shared>);

struct Shared {
    disk: Disk,
    manifest: Arc<Manifest>,
    path: PathBuf,
    record: Arc<Record>,
    promise: Promise,
    /// Somebody made the file shorter while it was open.
    was_cut: AtomicBool,
    submitted: AtomicUsize,
    idle: Notify,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("path", &self.0.path).finish_non_exhaustive()
    }
}

impl Part {
    pub(crate) async fn open(
        disk: &Disk,
        manifest: Arc<Manifest>,
        path: PathBuf,
        journal: Arc<dyn Journal>,
    ) -> Result<Opened, FetchError> {
        let opening = (disk.clone(), Arc::clone(&manifest), path.clone());
        let (file, volume, promise, before) = blocking(move || {
            let (disk, manifest, path) = opening;
            let opened = Instant::now();
            let file = disk.layer().open(&path)?;
            let mut before = file.length()?;
            if before > manifest.size() {
                file.set_length(manifest.size())?;
                before = manifest.size();
            }
            let volume = disk.volume(file.id()?.volume);
            let promise = Promise::none(Arc::clone(&volume));
            Place { disk: &disk, manifest: &manifest, path: &path, file: &*file, promise: &promise }.reserve(before)?;
            Ok(((file, opened), volume, promise, before))
        })
        .await?;
        let claimed = claimed(&manifest, &*journal, before).await?;
        let record = Arc::new(Record {
            blob: manifest.hash(),
            file: file.0,
            folder: folder(&path).to_owned(),
            journal,
            volume,
            runtime: Handle::current(),
            opened: file.1,
            state: Mutex::new(Known::new(claimed.clone())),
        });
        let part = Self(Arc::new(Shared {
            disk: disk.clone(),
            manifest,
            path,
            record,
            promise,
            was_cut: AtomicBool::new(false),
            submitted: AtomicUsize::new(0),
            idle: Notify::new(),
        }));
        let found = part.look(&claimed, before).await?;
        Ok(Opened { part, claimed, found })
    }

    /// Hashes the bytes of a piece, writes them if they are right, and then calls back: all on a writer's thread.
    pub(crate) fn submit(&self, piece: u64, buffer: Buffer, judged: impl FnOnce(Judged) + Send + 'static) {
        self.0.submitted.fetch_add(1, Ordering::AcqRel);
        let landing = Landing(Arc::clone(&self.0));
        self.0.disk.writers().submit(Box::new(move || {
            let outcome = landing.0.judge(piece, &buffer);
            // Room for the next piece first, then the news.
            drop(buffer);
            judged(outcome);
            drop(landing);
        }));
    }

    /// Hashes pieces on disk; says for each whether it is right.
    pub(crate) async fn recheck(&self, pieces: Vec<u64>) -> Result<Vec<(u64, bool)>, FetchError> {
        let mut buffer = self.0.disk.buffer(leftovers::buffer_bytes(&self.0.manifest)).await;
        let part = Arc::clone(&self.0);
        blocking(move || {
            let file = &*part.record.file;
            let judge = |piece| leftovers::holds(file, &part.manifest, piece, &mut buffer).map(|right| (piece, right));
            Ok(pieces.into_iter().map(judge).collect::<Result<Vec<_>, _>>()?)
        })
        .await
    }

    /// A piece that was claimed or right is not there any more: the journal forgets it.
    pub(crate) fn lost(&self, piece: u64) {
        self.0.record.lost(piece);
    }

    /// Whether the path still leads to this file with all its bytes; somebody may have deleted or cut it meanwhile.
    pub(crate) async fn state(&self) -> Result<FileState, FetchError> {
        let part = Arc::clone(&self.0);
        blocking(move || {
            let there = match part.disk.layer().id(&part.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileState::Gone),
                other => other?,
            };
            if there != part.record.file.id()? {
                return Ok(FileState::Gone);
            }
            let short = part.record.file.length()? != part.manifest.size();
            let cut = part.was_cut.swap(false, Ordering::AcqRel) || short;
            Ok(if cut { FileState::Cut } else { FileState::Whole })
        })
        .await
    }

    /// Gives the file its length and room back after it was cut.
    pub(crate) async fn restore_length(&self) -> Result<(), FetchError> {
        let part = Arc::clone(&self.0);
        blocking(move || {
            let length = part.record.file.length()?;
            part.place().reserve(length)
        })
        .await
    }

    /// Everything submitted is judged, durable and recorded; the name of a `complete` file is durable too.
    pub(crate) async fn finish(&self, complete: bool) -> Result<(), FetchError> {
        while self.0.submitted.load(Ordering::Acquire) > 0 {
            self.0.idle.notified().await;
        }
        self.0.record.settled(complete).await.map_err(|error| match error {
            FetchError::Io(error) => self.failure(error),
            other => other,
        })
    }

    /// Whether something could not be made durable or recorded; [`finish`](Self::finish) says why.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.record.has_failed()
    }

    /// An I/O error in the caller's words.
    pub(crate) fn failure(&self, error: io::Error) -> FetchError {
        self.0.place().failure(error)
    }

    #[cfg(test)]
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.0.record
    }

    async fn look(&self, claimed: &PieceSet, before: u64) -> Result<Vec<u64>, FetchError> {
        // Nobody sends the one piece of an empty blob: it is always there.
        if before == 0 && self.0.manifest.size() > 0 {
            return Ok(Vec::new());
        }
        let mut buffer = self.0.disk.buffer(leftovers::buffer_bytes(&self.0.manifest)).await;
        let (part, claimed) = (Arc::clone(&self.0), claimed.clone());
        blocking(move || {
            let found = leftovers::unrecorded(&*part.record.file, &part.manifest, &claimed, before, &mut buffer)?;
            for piece in &found {
                part.record.written(*piece, part.manifest.piece_range(*piece).1);
            }
            Ok(found)
        })
        .await
    }
}

/// A submitted piece; when it is gone, however its job ended, nobody waits for it any more.
struct Landing(Arc<Shared>);

impl Drop for Landing {
    fn drop(&mut self) {
        if self.0.submitted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_one();
        }
    }
}

impl Shared {
    fn judge(&self, piece: u64, bytes: &[u8]) -> Judged {
        if !self.manifest.verifies(piece, bytes) {
            return Judged::Wrong;
        }
        match self.write(piece, bytes) {
            Ok(()) => Judged::Right,
            Err(error) => Judged::Failed(error),
        }
    }

    fn write(&self, piece: u64, bytes: &[u8]) -> io::Result<()> {
        let (start, length) = self.manifest.piece_range(piece);
        let file = &self.record.file;
        // A write behind the cut would make the file long again and hide the hole.
        if self.manifest.piece_count() > 1 && file.length()? < self.manifest.size() {
            self.was_cut.store(true, Ordering::Release);
        }
        self.place().may_write(length)?;
        file.write_at(bytes, start)?;
        self.promise.written(length);
        self.record.written(piece, length);
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        let Self { disk, manifest, path, promise, record, .. } = self;
        Place { disk, manifest, path, file: &*record.file, promise }
    }
}

/// Where a file lies, and the room it needs there.
struct Place<'a> {
    disk: &'a Disk,
    manifest: &'a Manifest,
    path: &'a Path,
    file: &'a dyn OpenFile,
    promise: &'a Promise,
}

impl Place<'_> {
    /// Makes sure of the room for the whole file, which was `before` bytes long, and gives it its length.
    fn reserve(&self, before: u64) -> Result<(), FetchError> {
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
    fn may_write(&self, bytes: u64) -> io::Result<()> {
        if self.promise.is_settled() {
            return Ok(());
        }
        Ledger::may_write(bytes, self.free_bytes(), self.disk.floor_bytes())
            .map_err(|_| io::ErrorKind::StorageFull.into())
    }

    fn failure(&self, error: io::Error) -> FetchError {
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
struct Promise {
    volume: Arc<Volume>,
    left_bytes: Mutex<u64>,
}

impl Promise {
    const fn none(volume: Arc<Volume>) -> Self {
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

    fn written(&self, bytes: u64) {
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

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// What the journal claims, as far as the file is long enough for it.
async fn claimed(manifest: &Manifest, journal: &dyn Journal, before: u64) -> Result<PieceSet, FetchError> {
    let pieces = manifest.piece_count();
    let mut claimed = PieceSet::new(pieces);
    if pieces > 1 && before > 0 {
        // A journal may be wrong about the number of pieces; then it knows nothing.
        let loaded = journal.load(manifest.hash(), pieces).await?.filter(|set| set.pieces() == pieces);
        for piece in loaded.iter().flat_map(PieceSet::iter) {
            let (start, length) = manifest.piece_range(piece);
            if start + length <= before {
                claimed.insert(piece);
            }
        }
    }
    Ok(claimed)
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
