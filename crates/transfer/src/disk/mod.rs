//! Pieces on their way to the disk: bounded in memory, hashed and written by threads of their own, durable before they are
//! recorded, and never below the floor of free space.
//!
//! [`Disk`] is what all fetches of one fetcher share, [`Part`] the file of one of them. `layer` is the way to the files,
//! `buffers` bounds the memory, `writers` are the threads, `syncer` keeps the order of durability, `ledger` the room.

mod beginnings;
mod buffers;
mod layer;
mod ledger;
mod leftovers;
mod part;
mod room;
#[cfg(test)]
mod spy;
mod syncer;
mod system;
mod writers;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use carrel_model::pieces::Manifest;
use tokio::sync::Semaphore;

use crate::{FetchError, Journal};

pub(crate) use beginnings::Beginning;
pub(crate) use buffers::Buffer;
pub use layer::{FileId, FileLayer, FileStat, OpenFile};
pub(crate) use part::{FileState, Judged, Opened, Part};
pub use system::SystemFiles;

/// Files are made in a folder one after the other anyway; more callers only spin on its lock.
const SHORT_CALLS: usize = 2;

/// How much memory and room fetches may take.
#[derive(Debug, Clone)]
pub(crate) struct DiskOptions {
    /// Bytes in memory between network and disk, two pieces at least.
    pub(crate) buffer_bytes: usize,
    /// Threads that hash and write.
    pub(crate) writers: usize,
    /// Bytes that stay free on every volume.
    pub(crate) floor_bytes: u64,
    /// The way to the files.
    pub(crate) layer: Arc<dyn FileLayer>,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self { buffer_bytes: 24 << 20, writers: 2, floor_bytes: 0, layer: Arc::new(SystemFiles) }
    }
}

/// What the fetches of one fetcher share on their way to the disk; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    layer: Arc<dyn FileLayer>,
    floor_bytes: u64,
    buffers: buffers::Buffers,
    writers: writers::Writers,
    /// How many short calls to the system run at once.
    turns: Semaphore,
    volumes: Mutex<BTreeMap<u64, Arc<syncer::Volume>>>,
    pending: Arc<beginnings::Pending>,
}

impl Disk {
    /// Nothing is started before there is something to do.
    pub(crate) fn new(options: DiskOptions) -> Self {
        Self(Arc::new(Shared {
            layer: options.layer,
            floor_bytes: options.floor_bytes,
            buffers: buffers::Buffers::new(options.buffer_bytes),
            writers: writers::Writers::new(options.writers),
            turns: Semaphore::new(SHORT_CALLS),
            volumes: Mutex::default(),
            pending: Arc::default(),
        }))
    }

    /// Opens or makes a part file, makes sure of its room, and finds what an earlier run left in it.
    pub(crate) async fn open(
        &self,
        manifest: Arc<Manifest>,
        path: PathBuf,
        journal: Arc<dyn Journal>,
    ) -> Result<Opened, FetchError> {
        Part::open(self, manifest, path, journal).await
    }

    /// An empty buffer with capacity for so many bytes (at most a piece), as soon as there is room.
    ///
    /// Whoever waits for one must hold none.
    pub(crate) async fn buffer(&self, bytes: usize) -> Buffer {
        self.0.buffers.take(bytes).await
    }

    /// As [`buffer`](Self::buffer), for the next piece of a body that is being received: before those who only begin.
    pub(crate) async fn next_buffer(&self, bytes: usize) -> Buffer {
        self.0.buffers.take_next(bytes).await
    }

    /// As [`blocking`], for what is short: two hundred small files at once are not to start two hundred threads.
    async fn shortly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
    ) -> Result<T, FetchError> {
        let _turn = self.0.turns.acquire().await;
        blocking(work).await
    }

    fn layer(&self) -> &dyn FileLayer {
        &*self.0.layer
    }

    fn writers(&self) -> &writers::Writers {
        &self.0.writers
    }

    fn pending(&self) -> &Arc<beginnings::Pending> {
        &self.0.pending
    }

    fn floor_bytes(&self) -> u64 {
        self.0.floor_bytes
    }

    fn volume(&self, id: u64) -> Arc<syncer::Volume> {
        let mut volumes = lock(&self.0.volumes);
        let volume = volumes.entry(id).or_insert_with(|| Arc::new(syncer::Volume::new(Arc::clone(&self.0.layer))));
        Arc::clone(volume)
    }
}

/// Does what may take a while on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Where a file's name lies.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A panic elsewhere leaves nothing half-done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
