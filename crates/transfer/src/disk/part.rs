//! One blob's file while it is fetched: room reserved before the first byte, right pieces written where they belong,
//! durable before they are recorded.

use std::{
    collections::BTreeMap,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use carrel_model::pieces::Manifest;
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use crate::{
    FetchError, Journal, PieceSet,
    disk::{
        Disk,
        beginnings::{SEAL_BYTES, Step},
        blocking,
        buffers::Buffer,
        folder,
        layer::FileStat,
        leftovers::{self, Leftovers},
        lock,
        room::{Place, Promise},
        syncer::{Known, Record},
    },
};

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
    /// The file, at its full length, and nobody else wrote into it.
    Whole,
    /// The file, but somebody cut it or wrote into it: what was right may not be.
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
    /// Beginnings of pieces that an earlier run didn't get to complete. Nothing says that they are right.
    pub(crate) begun: Vec<(u64, Vec<u8>)>,
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
    hands: Mutex<Hands>,
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
        disk.pending().none(&path).await;
        let opening = (disk.clone(), Arc::clone(&manifest), path.clone());
        let open = move || {
            let (disk, manifest, path) = opening;
            let opened = Instant::now();
            let file = disk.layer().open(&path)?;
            let mut before = file.stat()?.length;
            if before > manifest.size() {
                file.set_length(manifest.size())?;
                before = manifest.size();
            }
            let volume = disk.volume(file.stat()?.id.volume);
            let promise = Promise::none(Arc::clone(&volume));
            Place { disk: &disk, manifest: &manifest, path: &path, file: &*file, promise: &promise }.reserve(before)?;
            let modified = file.stat()?.modified;
            Ok(((file, opened, modified), volume, promise, before))
        };
        let (file, volume, promise, before) = disk.shortly(open).await?;
        let claimed = claimed(&manifest, &*journal, before).await?;
        let complete = PieceSet::new(manifest.piece_count());
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
            hands: Mutex::new(Hands { modified: file.2, strange: false, complete, seals: BTreeMap::new() }),
            submitted: AtomicUsize::new(0),
            idle: Notify::new(),
        }));
        let Leftovers { found, begun } = part.look(&claimed, before).await?;
        Ok(Opened { part, claimed, found, begun })
    }

    /// Hashes the bytes of a piece, writes them if they are right, and then calls back: all on a writer's thread.
    pub(crate) fn submit(&self, piece: u64, buffer: Buffer, judged: impl FnOnce(Judged) + Send + 'static) {
        self.0.submitted.fetch_add(1, Ordering::AcqRel);
        let landing = Landing(Arc::clone(&self.0));
        self.0.disk.writers().submit(Box::new(move || {
            // However it ends, whoever waits for the piece is told.
            let outcome = catch_unwind(AssertUnwindSafe(|| landing.0.judge(piece, &buffer)))
                .unwrap_or_else(|_| Judged::Failed(io::Error::other("the writing broke off")));
            // Room for the next piece first, then the news.
            drop(buffer);
            judged(outcome);
            drop(landing);
        }));
    }

    /// Keeps the beginning of a piece, and then calls back. If it can't be kept that is no loss: whoever writes the piece
    /// will hear of it.
    pub(crate) fn keep(&self, step: Step, kept: impl FnOnce() + Send + 'static) {
        self.0.submitted.fetch_add(1, Ordering::AcqRel);
        let landing = Landing(Arc::clone(&self.0));
        let writing = self.0.disk.pending().begin(&self.0.path);
        self.0.disk.writers().submit(Box::new(move || {
            if let Ok(Err(error)) = catch_unwind(AssertUnwindSafe(|| landing.0.keep(&step))) {
                tracing::debug!(blob = %landing.0.manifest.hash(), %error, "the beginning of a piece was not kept");
            }
            drop(writing);
            kept();
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
        lock(&self.0.hands).complete.remove(piece);
        self.0.record.lost(piece);
    }

    /// Whether the path still leads to this file with all its bytes; somebody may have deleted or changed it meanwhile.
    ///
    /// A change is told once.
    pub(crate) async fn state(&self) -> Result<FileState, FetchError> {
        let part = Arc::clone(&self.0);
        let look = move || {
            let there = match part.disk.layer().id(&part.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileState::Gone),
                other => other?,
            };
            let stat = part.record.file.stat()?;
            if there != stat.id {
                return Ok(FileState::Gone);
            }
            let mut hands = lock(&part.hands);
            hands.look(stat);
            let strange = std::mem::take(&mut hands.strange);
            Ok(if strange || stat.length != part.manifest.size() { FileState::Cut } else { FileState::Whole })
        };
        self.0.disk.shortly(look).await
    }

    /// Gives the file its length and room back after it was cut.
    pub(crate) async fn restore_length(&self) -> Result<(), FetchError> {
        let part = Arc::clone(&self.0);
        blocking(move || {
            let mut hands = lock(&part.hands);
            part.place().reserve(part.record.file.stat()?.length)?;
            hands.modified = part.record.file.stat()?.modified;
            Ok(())
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

    async fn look(&self, claimed: &PieceSet, before: u64) -> Result<Leftovers, FetchError> {
        // Nobody sends the one piece of an empty blob: it is always there.
        if before == 0 && self.0.manifest.size() > 0 {
            return Ok(Leftovers::default());
        }
        let mut buffer = self.0.disk.buffer(leftovers::buffer_bytes(&self.0.manifest)).await;
        let (part, claimed) = (Arc::clone(&self.0), claimed.clone());
        blocking(move || {
            let leftovers = leftovers::unrecorded(&*part.record.file, &part.manifest, &claimed, before, &mut buffer)?;
            for piece in &leftovers.found {
                part.record.written(*piece, part.manifest.piece_range(*piece).1);
            }
            lock(&part.hands).seals.extend(leftovers.begun.iter().map(|(piece, bytes)| (*piece, bytes.len())));
            Ok(leftovers)
        })
        .await
    }
}

/// Whether somebody else had a hand in the file while it was open.
struct Hands {
    /// When it was written into by us, the last time.
    modified: Option<SystemTime>,
    strange: bool,
    /// Pieces written as a whole: no beginning goes over them any more.
    complete: PieceSet,
    /// Where in a piece that isn't complete the seal of its beginning stands.
    seals: BTreeMap<u64, usize>,
}

impl Hands {
    fn look(&mut self, stat: FileStat) {
        self.strange |= stat.modified != self.modified;
        self.modified = stat.modified;
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
        self.place().may_write(length)?;
        {
            // Only one writes into a file at a time, which the system sees to anyway.
            let mut hands = lock(&self.hands);
            hands.complete.insert(piece);
            let seal = hands.seals.get(&piece).copied();
            self.write_at(&mut hands, bytes, start, seal)?;
            hands.seals.remove(&piece);
        }
        self.promise.written(length);
        self.record.written(piece, length);
        Ok(())
    }

    fn keep(&self, step: &Step) -> io::Result<()> {
        self.place().may_write(step.bytes.len() as u64)?;
        let mut hands = lock(&self.hands);
        if hands.complete.contains(step.piece) {
            return Ok(());
        }
        let seal = hands.seals.get(&step.piece).and_then(|at| at.checked_sub(step.offset));
        let offset = self.manifest.piece_range(step.piece).0 + step.offset as u64;
        self.write_at(&mut hands, &step.bytes, offset, seal)?;
        hands.seals.insert(step.piece, step.seal_at());
        Ok(())
    }

    /// Writes over the seal of an earlier beginning last: whoever is killed on the way finds that one.
    fn write_at(&self, hands: &mut Hands, bytes: &[u8], offset: u64, seal: Option<usize>) -> io::Result<()> {
        let file = &self.record.file;
        let stat = file.stat()?;
        hands.look(stat);
        // A write behind the cut would make the file long again and hide the hole.
        hands.strange |= self.manifest.piece_count() > 1 && stat.length < self.manifest.size();
        let parts = seal.and_then(|seal| {
            let (before, rest) = bytes.split_at_checked(seal)?;
            let (over, behind) = rest.split_at_checked(SEAL_BYTES).filter(|(_, behind)| !behind.is_empty())?;
            Some([(behind, seal + SEAL_BYTES), (before, 0), (over, seal)])
        });
        for (bytes, at) in parts.unwrap_or([(bytes, 0), (&[], 0), (&[], 0)]) {
            if !bytes.is_empty() {
                file.write_at(bytes, offset + at as u64)?;
            }
        }
        hands.modified = file.stat()?.modified;
        Ok(())
    }

    fn place(&self) -> Place<'_> {
        let Self { disk, manifest, path, promise, record, .. } = self;
        Place { disk, manifest, path, file: &*record.file, promise }
    }
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
