//! Names and renames: everything that touches the folders of the store.
//!
//! Blocking; called from [`tokio::task::spawn_blocking`] by the store. Nothing here is named by a server: a file's name is
//! its hash, and only files with such names are ever looked at or removed. While the store moves it has two roots: files
//! are looked for at home first, then where they were before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use carrel_model::BlobHash;
use carrel_transfer::FileLayer;

use super::files::{FileFacts, allocated_bytes, can_not_be_opened, file_facts, make_way};

/// One place for files: whole ones and those in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    folder: PathBuf,
}

impl Root {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    pub(super) fn partial(&self) -> PathBuf {
        self.folder.join("partial")
    }

    pub(super) fn blob(&self, hash: BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.blobs().join(name.get(..2).unwrap_or_default()).join(name)
    }

    pub(super) fn part(&self, hash: BlobHash) -> PathBuf {
        self.partial().join(format!("{hash}.part"))
    }

    /// Makes the folders where they are missing.
    pub(super) fn create(&self, layer: &dyn FileLayer) -> io::Result<()> {
        fs::create_dir_all(self.blobs())?;
        fs::create_dir_all(self.partial())?;
        layer.sync_folder(&self.folder)
    }

    /// The folder of a blob, made if it is missing.
    pub(super) fn make_folder_of(&self, hash: BlobHash, layer: &dyn FileLayer) -> io::Result<PathBuf> {
        let folder = self.blob(hash).parent().map_or_else(|| self.blobs(), Path::to_owned);
        if !folder.is_dir() {
            fs::create_dir_all(&folder)?;
            layer.sync_folder(&self.blobs())?;
        }
        Ok(folder)
    }

    /// Whole files by hash. What can't be read is as good as not there.
    pub(super) fn whole(&self) -> io::Result<BTreeMap<BlobHash, FileFacts>> {
        let mut whole = BTreeMap::new();
        for folder in fs::read_dir(self.blobs())? {
            let folder = folder?.path();
            if folder.is_dir()
                && let Err(error) = collect(&folder, "", &mut whole)
            {
                tracing::warn!(%error, "a folder of blobs can't be read");
            }
        }
        Ok(whole)
    }

    /// Files in the making by hash.
    pub(super) fn parts(&self) -> io::Result<BTreeMap<BlobHash, FileFacts>> {
        let mut parts = BTreeMap::new();
        collect(&self.partial(), ".part", &mut parts)?;
        Ok(parts)
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

/// The roots of the store.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    pub(super) home: Root,
    /// Where files may still be that have not followed the store yet.
    pub(super) previous: Option<Root>,
    pub(super) layer: Arc<dyn FileLayer>,
}

/// What became of part files that were to be put in their places.
#[derive(Debug, Default)]
pub(super) struct Renamed {
    pub(super) done: Vec<(BlobHash, FileFacts)>,
    /// Somebody has removed the part file meanwhile.
    pub(super) gone: Vec<BlobHash>,
    pub(super) failed: Vec<(BlobHash, PathBuf, io::Error)>,
}

impl Folders {
    fn roots(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.home).chain(&self.previous)
    }

    /// Where a whole blob is or belongs.
    pub(super) fn blob(&self, hash: BlobHash) -> PathBuf {
        self.root_of(|root| root.blob(hash)).blob(hash)
    }

    /// Where a part file is or belongs.
    pub(super) fn part(&self, hash: BlobHash) -> PathBuf {
        self.root_of(|root| root.part(hash)).part(hash)
    }

    fn root_of(&self, path: impl Fn(&Root) -> PathBuf) -> &Root {
        let before = self.previous.as_ref().filter(|_| fs::symlink_metadata(path(&self.home)).is_err());
        before.filter(|root| fs::symlink_metadata(path(root)).is_ok()).unwrap_or(&self.home)
    }

    /// Gives durable part files their final names and makes the names durable: all renames first, then one sync of each
    /// folder. What this calls done is done for good.
    pub(super) fn adopt(&self, hashes: &[BlobHash]) -> Renamed {
        let mut renamed = Renamed::default();
        let mut by_folder: BTreeMap<PathBuf, Vec<(BlobHash, FileFacts)>> = BTreeMap::new();
        for hash in hashes {
            // Where a part file has not followed the store yet, the blob will.
            let root = self.root_of(|root| root.part(*hash));
            match self.rename(root, *hash) {
                Ok((folder, facts)) => by_folder.entry(folder).or_default().push((*hash, facts)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && root.partial().is_dir() => {
                    renamed.gone.push(*hash);
                }
                Err(error) => renamed.failed.push((*hash, root.part(*hash), error)),
            }
        }
        for (folder, files) in by_folder {
            match self.layer.sync_folder(&folder) {
                Ok(()) => renamed.done.extend(files),
                Err(error) => {
                    let again = || io::Error::new(error.kind(), error.to_string());
                    renamed.failed.extend(files.into_iter().map(|(hash, _)| (hash, folder.clone(), again())));
                }
            }
        }
        renamed
    }

    fn rename(&self, root: &Root, hash: BlobHash) -> io::Result<(PathBuf, FileFacts)> {
        let folder = root.make_folder_of(hash, &*self.layer)?;
        let (part, target) = (root.part(hash), root.blob(hash));
        make_way(&target)?;
        self.layer.rename(&part, &target)?;
        let facts = file_facts(&target).ok_or(io::ErrorKind::NotFound)?;
        Ok((folder, facts))
    }

    /// Takes a blob back into the making, so that what is right of it is kept. False: there is nothing to keep, and what
    /// lies in its place has made way as far as it would.
    pub(super) fn withdraw(&self, hash: BlobHash) -> bool {
        let root = self.root_of(|root| root.blob(hash));
        let (path, part) = (root.blob(hash), root.part(hash));
        let moved = match file_facts(&path) {
            Some(_) if !can_not_be_opened(&path) => fs::rename(&path, &part).map(|()| true),
            _ => make_way(&path).map(|()| false),
        };
        moved.unwrap_or_else(|error| {
            tracing::warn!(%hash, %error, "a damaged blob stays where it is");
            false
        })
    }

    /// Removes every file of these blobs; says how many bytes that freed. What can't be removed stays, and is tried again
    /// with the next start.
    pub(super) fn remove(&self, hashes: &[BlobHash]) -> u64 {
        let mut freed = 0;
        let paths =
            |hash: &BlobHash| self.roots().flat_map(|root| [root.blob(*hash), root.part(*hash)]).collect::<Vec<_>>();
        for path in hashes.iter().flat_map(paths) {
            let facts = file_facts(&path);
            match fs::remove_file(&path) {
                Ok(()) => freed += facts.map_or(0, |facts| facts.bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "a file of a blob nobody needs stays"),
            }
        }
        freed
    }

    /// Whole files by hash, in all roots; of two the one at home.
    pub(super) fn whole(&self) -> io::Result<BTreeMap<BlobHash, FileFacts>> {
        let mut whole = self.home.whole()?;
        for (hash, facts) in self.previous.iter().filter_map(|root| root.whole().ok()).flatten() {
            whole.entry(hash).or_insert(facts);
        }
        Ok(whole)
    }

    /// Hashes of files in the making, in all roots.
    pub(super) fn parts(&self) -> io::Result<BTreeSet<BlobHash>> {
        let mut parts: BTreeSet<_> = self.home.parts()?.into_keys().collect();
        parts.extend(self.previous.iter().filter_map(|root| root.parts().ok()).flat_map(BTreeMap::into_keys));
        Ok(parts)
    }

    /// Room on the disk that part files have taken.
    pub(super) fn begun(&self) -> io::Result<BTreeMap<BlobHash, u64>> {
        Ok(self.parts()?.into_iter().map(|hash| (hash, allocated_bytes(&self.part(hash)))).collect())
    }

    /// Bytes of each blob, whole or in the making, in all roots.
    pub(super) fn bytes(&self) -> io::Result<BTreeMap<BlobHash, u64>> {
        let mut bytes = BTreeMap::new();
        for root in self.roots() {
            for (hash, facts) in root.whole()?.into_iter().chain(root.parts()?) {
                *bytes.entry(hash).or_insert(0) += facts.bytes;
            }
        }
        Ok(bytes)
    }
}
