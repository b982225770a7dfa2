//! Single files: what they look like from outside, which pieces of them are right, and clearing a place for one.
//!
//! Blocking; called from [`tokio::task::spawn_blocking`] by the store.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::UNIX_EPOCH,
};

use carrel_model::pieces::{Manifest, PIECE_BYTES};
use carrel_transfer::PieceSet;

/// What a file looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) bytes: u64,
    pub(super) time_ns: i64,
}

/// Clears the place of a blob of anything that isn't a file and can't be replaced by one. What somebody put there is not
/// thrown away, unless it is empty.
pub(super) fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            let free = (1..100).map(|n| path.with_extension(format!("set-aside-{n}"))).find(|name| !name.exists());
            fs::remove_dir(path).or_else(|error| free.map_or(Err(error), |aside| fs::rename(path, aside)))
        }
        Ok(found) if !found.is_file() || can_not_be_opened(path) => fs::remove_file(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Length and time of a file; none where there is no file, or none that the system will tell of.
pub(super) fn file_facts(path: &Path) -> Option<FileFacts> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(FileFacts { bytes: metadata.len(), time_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) })
}

/// As [`file_facts`], of a file that can also be opened.
pub(super) fn openable(path: &Path) -> Option<FileFacts> {
    file_facts(path).filter(|_| !can_not_be_opened(path))
}

/// Whether a file refuses to be opened, for a reason that lies in itself.
pub(super) fn can_not_be_opened(path: &Path) -> bool {
    File::open(path).is_err_and(|error| !passes(&error))
}

/// Whether an error says nothing of the file: too many are open, or another program holds it just now.
fn passes(error: &io::Error) -> bool {
    let codes: &[i32] = if cfg!(windows) { &[4, 32, 33] } else { &[23, 24] };
    let kinds = [io::ErrorKind::Interrupted, io::ErrorKind::OutOfMemory, io::ErrorKind::ResourceBusy];
    kinds.contains(&error.kind()) || error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Bytes of the disk a file takes, which for a reserved part file is more than what was written.
pub(super) fn allocated_bytes(path: &Path) -> u64 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(path).map_or(0, |metadata| metadata.blocks().saturating_mul(512))
    }
    #[cfg(not(unix))]
    File::open(path).and_then(|file| fs4::fs_std::FileExt::allocated_size(&file)).unwrap_or(0)
}

/// Which pieces of a file are right. A file that is missing or too short has the pieces that it has, as has one that can't
/// be read everywhere; a file that is too long has none past its proper end, and is cut by the next fetch.
pub(super) fn right_pieces(path: &Path, manifest: &Manifest) -> io::Result<PieceSet> {
    let mut right = PieceSet::new(manifest.piece_count());
    let mut file = match File::open(path) {
        Err(error) if passes(&error) => return Err(error),
        Err(_) => return Ok(right),
        Ok(file) => file,
    };
    let mut piece = Vec::with_capacity(usize::try_from(PIECE_BYTES).unwrap_or_default());
    for index in 0..manifest.piece_count() {
        piece.clear();
        let (start, length) = manifest.piece_range(index);
        // A sector that can't be read leaves the file anywhere.
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.by_ref().take(length).read_to_end(&mut piece));
        if read.is_ok() && manifest.verifies(index, &piece) {
            right.insert(index);
        }
    }
    Ok(right)
}
