//! Names, renames and syncs: everything that touches the two folders of the store.
//!
//! Blocking; called from [`tokio::task::spawn_blocking`] by the store. Nothing here is named by a server: a file's name is
//! its hash, and only files with such names are ever looked at or removed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use carrel_model::{
    BlobHash,
    pieces::{Manifest, PIECE_BYTES},
};
use carrel_transfer::PieceSet;

/// The two folders.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    blobs: PathBuf,
    partial: PathBuf,
}

/// What a file looks like from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) bytes: u64,
    pub(super) time_ns: i64,
}

impl Folders {
    /// Makes the folders where they are missing.
    pub(super) fn create(data_dir: &Path) -> io::Result<Self> {
        let folders = Self { blobs: data_dir.join("blobs"), partial: data_dir.join("partial") };
        fs::create_dir_all(&folders.blobs)?;
        fs::create_dir_all(&folders.partial)?;
        sync_folder(data_dir)?;
        Ok(folders)
    }

    pub(super) fn root(&self) -> &Path {
        &self.blobs
    }

    pub(super) fn blob(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.blobs.join(name.get(..2).unwrap_or_default()).join(name)
    }

    pub(super) fn part(&self, hash: BlobHash) -> PathBuf {
        self.partial.join(format!("{hash}.part"))
    }

    /// Moves a durable part file to its final name and makes the name durable.
    pub(super) fn adopt(&self, hash: BlobHash) -> io::Result<FileFacts> {
        let target = self.blob(hash);
        let folder = target.parent().unwrap_or(&self.blobs);
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            sync_folder(&self.blobs)?;
        }
        make_way(&target)?;
        fs::rename(self.part(hash), &target)?;
        sync_folder(folder)?;
        file_facts(&target).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes a blob back into the making, so that what is right of it is kept. False: there is nothing to keep, and what
    /// lies in its place has made way as far as it would.
    pub(super) fn withdraw(&self, hash: BlobHash) -> bool {
        let (path, part) = (self.blob(hash), self.part(hash));
        let moved = match file_facts(&path) {
            Some(_) if !can_not_be_opened(&path) => fs::rename(&path, &part).map(|()| true),
            _ => make_way(&path).map(|()| false),
        };
        moved.unwrap_or_else(|error| {
            tracing::warn!(%hash, %error, "a damaged blob stays where it is");
            false
        })
    }

    /// Removes every file of a blob; says how many bytes that freed. What can't be removed stays, and is tried again with
    /// the next start.
    pub(super) fn remove(&self, hash: BlobHash) -> u64 {
        let mut freed = 0;
        for path in [self.blob(hash), self.part(hash)] {
            let facts = file_facts(&path);
            match fs::remove_file(&path) {
                Ok(()) => freed += facts.map_or(0, |facts| facts.bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%hash, %error, "a file of a blob nobody needs stays"),
            }
        }
        freed
    }

    /// All files of the store by hash: whole ones and those in the making. What can't be read is as good as not there.
    pub(super) fn list(&self) -> io::Result<(BTreeMap<BlobHash, FileFacts>, BTreeMap<BlobHash, FileFacts>)> {
        let mut whole = BTreeMap::new();
        for folder in fs::read_dir(&self.blobs)? {
            let folder = folder?.path();
            if folder.is_dir()
                && let Err(error) = collect(&folder, "", &mut whole)
            {
                tracing::warn!(%error, "a folder of blobs can't be read");
            }
        }
        let mut partial = BTreeMap::new();
        collect(&self.partial, ".part", &mut partial)?;
        Ok((whole, partial))
    }
}

fn collect(folder: &Path, suffix: &str, into: &mut BTreeMap<BlobHash, FileFacts>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let hash = name.to_str().and_then(|name| name.strip_suffix(suffix)).and_then(|name| name.parse().ok());
        if let (Some(hash), Some(facts)) = (hash, file_facts(&entry.path())) {
            into.insert(hash, facts);
        }
    }
    Ok(())
}

/// Clears the place of a blob of anything that isn't a file and can't be replaced by one. What somebody put there is not
/// thrown away, unless it is empty.
fn make_way(path: &Path) -> io::Result<()> {
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
fn can_not_be_opened(path: &Path) -> bool {
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

fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder can't be opened for syncing, and a rename is journalled by the file system.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
