//! Files as the transfer sees them: few operations, each with a promise about what survives a power loss.
//!
//! Everything the transfer does to part files goes through [`FileLayer`], for one reason: a test can put a layer below it
//! that records every operation and then loses, tears or reorders whatever was not synced, or fails at a chosen piece.
//! [`SystemFiles`](crate::SystemFiles) is the real one. All calls block; they are made on threads that may wait.

use std::{fmt, io, path::Path, sync::Arc, time::SystemTime};

/// Which file of which volume; equal for two ways to the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FileId {
    /// The medium: what fills up, and is synced, as one.
    pub volume: u64,
    /// The file on it; 0 where the system doesn't say.
    pub file: u64,
}

/// What can be seen of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Which file it is.
    pub id: FileId,
    /// Its length in bytes.
    pub length: u64,
    /// When somebody last wrote into it, as far as the system says.
    pub modified: Option<SystemTime>,
}

/// A place for files.
pub trait FileLayer: fmt::Debug + Send + Sync {
    /// Opens a file for reading and writing; makes an empty one when it isn't there.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>>;

    /// Which file a path leads to; [`NotFound`](io::ErrorKind::NotFound) when to none.
    fn id(&self, path: &Path) -> io::Result<FileId>;

    /// Gives a file another name, replacing what has it. Durable once the folder is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable: what was made, renamed or removed there.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes that can still be written to the medium of a folder.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// An open file. It stays usable when its name is removed or given to another.
pub trait OpenFile: fmt::Debug + Send + Sync {
    /// Which file it is, how long, and when it was written into.
    fn stat(&self) -> io::Result<FileStat>;

    /// Bytes of the medium it occupies, which may be more or less than its length.
    fn allocated_bytes(&self) -> io::Result<u64>;

    /// Fills `bytes` from this offset; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at this offset; the file grows when it has to. Not durable by itself.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves room for so many bytes and makes the file at least so long;
    /// [`Unsupported`](io::ErrorKind::Unsupported) where there is no such thing.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros.
    fn set_length(&self, bytes: u64) -> io::Result<()>;

    /// Makes its bytes and its length durable. Its name is the [folder's](FileLayer::sync_folder) matter.
    ///
    /// When it fails, what was written since the last success may be lost although it can still be read: those bytes have
    /// to be written again, and a second call proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Its durable bytes won't be read soon and needn't stay in memory. Only a hint.
    fn release(&self) {}

    /// Makes *everything* on its volume durable, names included, and reports whatever failed since this file was opened;
    /// `false`: there is no such call here, and nothing was done. For many small files at once.
    fn sync_volume(&self) -> io::Result<bool>;
}
