//! For tests: real files that write down what is done to them, and fail when told to.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::Path,
    sync::{Arc, Condvar, Mutex},
};

use carrel_model::BlobHash;

use crate::{
    Checkpoint, Journal, JournalError, PieceSet,
    disk::{
        layer::{FileId, FileLayer, FileStat, OpenFile},
        lock,
        system::SystemFiles,
    },
};

/// What was done, in order; files by their names, pieces by their offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Allocate(String),
    Write(String, u64),
    Sync(String),
    SyncVolume(String),
    SyncFolder,
    Store(Vec<(BlobHash, Vec<u64>)>),
}

/// Says how an operation fails.
pub(crate) type Fault = Box<dyn Fn(&Seen) -> Option<io::ErrorKind> + Send + Sync>;

#[derive(Default)]
pub(crate) struct Spy {
    log: Mutex<Vec<Seen>>,
    fault: Mutex<Option<Fault>>,
    free_bytes: Mutex<Option<u64>>,
    no_volume_sync: Mutex<bool>,
    stored: Mutex<Vec<Checkpoint>>,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spy")
    }
}

impl Spy {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.log).clone()
    }

    pub(crate) fn count(&self, what: impl Fn(&Seen) -> bool) -> usize {
        lock(&self.log).iter().filter(|seen| what(seen)).count()
    }

    pub(crate) fn fail(&self, fault: impl Fn(&Seen) -> Option<io::ErrorKind> + Send + Sync + 'static) {
        *lock(&self.fault) = Some(Box::new(fault));
    }

    pub(crate) fn heal(&self) {
        *lock(&self.fault) = None;
    }

    pub(crate) fn set_free(&self, bytes: u64) {
        *lock(&self.free_bytes) = Some(bytes);
    }

    /// Syncs wait from now on, or go on.
    pub(crate) fn hold_syncs(&self, hold: bool) {
        *lock(&self.closed) = hold;
        self.opened.notify_all();
    }

    fn pass(&self) {
        drop(self.opened.wait_while(lock(&self.closed), |closed| *closed).unwrap());
    }

    pub(crate) fn forbid_volume_sync(&self) {
        *lock(&self.no_volume_sync) = true;
    }

    /// The pieces the journal holds of a blob.
    pub(crate) fn recorded(&self, blob: BlobHash) -> Vec<u64> {
        let stored = lock(&self.stored);
        stored.iter().rfind(|point| point.blob == blob).map(|point| point.verified.iter().collect()).unwrap_or_default()
    }

    fn note(&self, seen: Seen) -> io::Result<()> {
        let failed = lock(&self.fault).as_ref().and_then(|fault| fault(&seen));
        lock(&self.log).push(seen);
        failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct SpyFiles(pub(crate) Arc<Spy>);

#[derive(Debug)]
struct SpyFile {
    spy: Arc<Spy>,
    name: String,
    file: Arc<dyn OpenFile>,
}

impl FileLayer for SpyFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(Arc::new(SpyFile { spy: Arc::clone(&self.0), name, file: SystemFiles.open(path)? }))
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        SystemFiles.id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.0.note(Seen::SyncFolder)?;
        SystemFiles.sync_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        lock(&self.0.free_bytes).map_or_else(|| SystemFiles.free_bytes(folder), Ok)
    }
}

impl OpenFile for SpyFile {
    fn stat(&self) -> io::Result<FileStat> {
        self.file.stat()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.spy.note(Seen::Write(self.name.clone(), offset))?;
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.spy.note(Seen::Allocate(self.name.clone()))?;
        self.file.allocate(bytes)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_length(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.spy.pass();
        self.spy.note(Seen::Sync(self.name.clone()))
    }

    fn sync_volume(&self) -> io::Result<bool> {
        self.spy.pass();
        if *lock(&self.spy.no_volume_sync) {
            return Ok(false);
        }
        self.spy.note(Seen::SyncVolume(self.name.clone())).map(|()| true)
    }
}

/// A journal in memory that writes down when it is told something.
#[derive(Debug, Clone)]
pub(crate) struct SpyJournal(pub(crate) Arc<Spy>);

#[async_trait::async_trait]
impl Journal for SpyJournal {
    async fn load(&self, blob: BlobHash, _: u64) -> Result<Option<PieceSet>, JournalError> {
        Ok(lock(&self.0.stored).iter().rfind(|point| point.blob == blob).map(|point| point.verified.clone()))
    }

    async fn store(&self, checkpoints: &[Checkpoint]) -> Result<(), JournalError> {
        let blobs: BTreeSet<_> = checkpoints.iter().map(|point| point.blob.to_string()).collect();
        assert_eq!(blobs.len(), checkpoints.len(), "each blob once");
        let told = checkpoints.iter().map(|point| (point.blob, point.verified.iter().collect()));
        self.0.note(Seen::Store(told.collect())).map_err(JournalError::new)?;
        lock(&self.0.stored).extend_from_slice(checkpoints);
        Ok(())
    }
}
