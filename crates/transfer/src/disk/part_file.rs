//! The part file: room reserved before the first byte, positional reads and writes, and what is left of an earlier run.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use carrel_model::pieces::{Manifest, PIECE_BYTES};

use crate::{FetchError, PieceSet};

/// How many pieces after a known one are rehashed whatever their first bytes are.
const NEAR_PIECES: u64 = 32;
/// How much of a farther piece is looked at to tell written from reserved.
const PROBE_BYTES: usize = 4 << 10;

#[derive(Debug, Clone)]
pub(crate) struct PartFile {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
    /// Somebody made the file shorter while it was open, so bytes written before may be gone.
    was_cut: Arc<AtomicBool>,
}

impl PartFile {
    /// Opens or creates the file and reserves room for all of it; says how long it was.
    pub(crate) fn open(path: &Path, size: u64) -> Result<(Self, u64), FetchError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let before = file.metadata()?.len();
        if before > size {
            file.set_len(size)?;
        }
        let part = Self { file: Arc::new(file), path: path.to_owned(), size, was_cut: Arc::default() };
        if size > 0 {
            part.reserve(before)?;
        }
        Ok((part, before.min(size)))
    }

    fn reserve(&self, before: u64) -> Result<(), FetchError> {
        let needed_bytes = self.needed_bytes();
        if needed_bytes > self.free_bytes() {
            return Err(FetchError::DiskFull { needed_bytes, free_bytes: self.free_bytes() });
        }
        match fs4::fs_std::FileExt::allocate(&*self.file, self.size) {
            // Not every file system can reserve; then a full disk is found when writing.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.file.set_len(self.size)?,
            Err(error) => {
                // Gives back what a failed reservation may have taken.
                self.file.set_len(before.min(self.size)).ok();
                return Err(self.failure(error));
            }
            Ok(()) => {}
        }
        Ok(())
    }

    fn needed_bytes(&self) -> u64 {
        self.size.saturating_sub(fs4::fs_std::FileExt::allocated_size(&*self.file).unwrap_or(0))
    }

    fn free_bytes(&self) -> u64 {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Unknown is not full: the write will tell.
        fs4::available_space(folder.unwrap_or(Path::new("."))).unwrap_or(u64::MAX)
    }

    /// An I/O error in the caller's words.
    pub(crate) fn failure(&self, error: io::Error) -> FetchError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FetchError::DiskFull { needed_bytes: self.needed_bytes(), free_bytes: self.free_bytes() }
            }
            _ => FetchError::Io(error),
        }
    }

    /// Writes a piece at its place.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // A write behind the cut would make the file long again and hide the hole.
        if self.file.metadata()?.len() < self.size {
            self.was_cut.store(true, Ordering::Release);
        }
        positional::write_all(&self.file, bytes, offset)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Makes the file's name durable too.
    pub(crate) fn sync_folder(&self) -> io::Result<()> {
        #[cfg(unix)]
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Whether the path still leads to this file with all its bytes; somebody may have deleted or cut it meanwhile.
    pub(crate) fn state(&self) -> io::Result<FileState> {
        let there = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FileState::Gone),
            other => other?,
        };
        if !positional::same_file(&there, &self.file.metadata()?) {
            return Ok(FileState::Gone);
        }
        let cut = self.was_cut.swap(false, Ordering::AcqRel) || there.len() != self.size;
        Ok(if cut { FileState::Cut } else { FileState::Whole })
    }

    /// Gives the file its length back after it was cut.
    pub(crate) fn restore_length(&self) -> Result<(), FetchError> {
        self.reserve(self.file.metadata()?.len())
    }

    /// Whether the bytes of a piece on disk are right.
    pub(crate) fn holds(&self, manifest: &Manifest, piece: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let (start, length) = manifest.piece_range(piece);
        buffer.resize(usize::try_from(length).unwrap_or(0), 0);
        match positional::read_exact(&self.file, buffer, start) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
            Ok(()) => Ok(manifest.verifies(piece, buffer)),
        }
    }

    /// Which pieces an earlier run wrote but didn't get to record: those that hash right, in a file that was `before` long.
    ///
    /// A reserved file is full length from the start, so most of what is missing are zeros nobody wrote. Near a piece
    /// that is known everything is hashed; farther away only what doesn't begin with zeros.
    pub(crate) fn unrecorded(&self, manifest: &Manifest, known: &PieceSet, before: u64) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        let mut near = NEAR_PIECES;
        for piece in 0..manifest.piece_count() {
            let (start, length) = manifest.piece_range(piece);
            if start.saturating_add(length) > before {
                break;
            }
            if known.contains(piece) {
                near = NEAR_PIECES;
            } else if (near > 0 || !self.starts_with_zeros(start, length)?)
                && self.holds(manifest, piece, &mut buffer)?
            {
                found.push(piece);
                near = NEAR_PIECES;
            } else {
                near = near.saturating_sub(1);
            }
        }
        Ok(found)
    }

    fn starts_with_zeros(&self, start: u64, length: u64) -> io::Result<bool> {
        let mut probe = vec![0; PROBE_BYTES.min(usize::try_from(length.min(PIECE_BYTES)).unwrap_or(0))];
        positional::read_exact(&self.file, &mut probe, start)?;
        Ok(probe.iter().all(|byte| *byte == 0))
    }
}

/// What the path leads to at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileState {
    Whole,
    Cut,
    Gone,
}

#[cfg(unix)]
mod positional {
    use std::{
        fs::{File, Metadata},
        io,
        os::unix::fs::{FileExt as _, MetadataExt as _},
    };

    pub(super) fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    pub(super) fn read_exact(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(bytes, offset)
    }

    pub(super) fn same_file(one: &Metadata, other: &Metadata) -> bool {
        one.dev() == other.dev() && one.ino() == other.ino()
    }
}

#[cfg(windows)]
mod positional {
    use std::{
        fs::{File, Metadata},
        io,
        os::windows::fs::FileExt as _,
    };

    pub(super) fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = file.seek_write(bytes, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
            offset += written as u64;
        }
        Ok(())
    }

    pub(super) fn read_exact(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let read = file.seek_read(bytes, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = bytes.get_mut(read..).unwrap_or_default();
            offset += read as u64;
        }
        Ok(())
    }

    // An open file can't be replaced here, only cut.
    pub(super) fn same_file(_: &Metadata, _: &Metadata) -> bool {
        true
    }
}
