//! Names, renames and syncs: everything that touches the two folders of the store.
//!
//! Blocking; called from [`tokio::task::spawn_blocking`] by the store. Nothing here is named by a server: a file's name is
//! its hash, and only files with such names are ever looked at or removed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
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
        fs::rename(self.part(hash), &target)?;
        sync_folder(folder)?;
        file_facts(&target)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes a blob back into the making, so that what is right of it is kept.
    pub(super) fn withdraw(&self, hash: BlobHash) -> io::Result<()> {
        match fs::rename(self.blob(hash), self.part(hash)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Removes every file of a blob; says how many bytes that freed.
    pub(super) fn remove(&self, hash: BlobHash) -> io::Result<u64> {
        let mut freed = 0;
        for path in [self.blob(hash), self.part(hash)] {
            let facts = file_facts(&path)?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(()) => freed += facts.map_or(0, |facts| facts.bytes),
            }
        }
        Ok(freed)
    }

    /// All files of the store by hash: whole ones and those in the making.
    pub(super) fn list(&self) -> io::Result<(BTreeMap<BlobHash, FileFacts>, BTreeMap<BlobHash, FileFacts>)> {
        let mut whole = BTreeMap::new();
        for folder in fs::read_dir(&self.blobs)? {
            let folder = folder?;
            if folder.file_type()?.is_dir() {
                collect(&folder.path(), "", &mut whole)?;
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
        if let (Some(hash), Some(facts)) = (hash, file_facts(&entry.path())?) {
            into.insert(hash, facts);
        }
    }
    Ok(())
}

/// Length and time of a file; none where there is no file.
pub(super) fn file_facts(path: &Path) -> io::Result<Option<FileFacts>> {
    let metadata = match fs::metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other?,
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some(FileFacts { bytes: metadata.len(), time_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) }))
}

/// Bytes of the disk a file takes, which for a reserved part file is more than what was written.
pub(super) fn allocated_bytes(path: &Path) -> u64 {
    File::open(path).and_then(|file| fs4::fs_std::FileExt::allocated_size(&file)).unwrap_or(0)
}

/// Which pieces of a file are right. A file that is missing or too short has the pieces that it has; a file that is too
/// long has none past its proper end, and is cut by the next fetch.
pub(super) fn right_pieces(path: &Path, manifest: &Manifest) -> io::Result<PieceSet> {
    let mut right = PieceSet::new(manifest.piece_count());
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(right),
        other => other?,
    };
    let mut piece = Vec::with_capacity(usize::try_from(PIECE_BYTES).unwrap_or_default());
    for index in 0..manifest.piece_count() {
        piece.clear();
        let (_, length) = manifest.piece_range(index);
        file.by_ref().take(length).read_to_end(&mut piece)?;
        if manifest.verifies(index, &piece) {
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
