//! Where the store is, and that it is ours alone.
//!
//! In the data folder the store needs no mark: the lock on the data folder covers it. In a folder of its own there is a
//! file, `carrel-store`, that names the store. It tells an empty mount point, or another learner's drive on the same path,
//! from the store itself; and the lock on it keeps a second Carrel out, from whatever data folder it comes (fault 29).
//!
//! What is known of the place is in the table `metadata`, so that it changes in one commit: `store_folder` (none: the data
//! folder), `store_next` (where it is being copied to), `store_previous` (what is still to be emptied).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use carrel_transfer::FileLayer;
use fs4::fs_std::FileExt as _;
use sqlx::Row as _;

use super::folders::Root;
use crate::{
    EngineError,
    library::{DATABASE_FILE, Library, WriteTx},
};

/// Name of the mark.
const MARK: &str = "carrel-store";

/// Why the store can't be moved to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoveRefusal {
    /// Not a whole path, or one that can't be written down.
    #[error("not a whole path")]
    NotAPath,
    /// The store is there already.
    #[error("the store is there already")]
    AlreadyThere,
    /// It lies within the store, which is to be emptied.
    #[error("the folder lies within the store")]
    InsideStore,
    /// Another store is there, or files that have the names of one.
    #[error("there is another store in the folder")]
    AnotherStore,
    /// The store is being moved already, or its drive is not there.
    #[error("the store can't be moved now")]
    NotNow,
}

/// The names under which the place is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fact {
    Id,
    Folder,
    Next,
    Previous,
}

impl Fact {
    const fn name(self) -> &'static str {
        match self {
            Self::Id => "store_id",
            Self::Folder => "store_folder",
            Self::Next => "store_next",
            Self::Previous => "store_previous",
        }
    }
}

/// What is written down of the place.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) id: Option<String>,
    pub(super) folder: Option<PathBuf>,
    pub(super) next: Option<PathBuf>,
    pub(super) previous: Option<PathBuf>,
}

impl Kept {
    pub(super) async fn read(library: &Library) -> Result<Self, EngineError> {
        let rows = sqlx::query("SELECT name, value FROM metadata WHERE name LIKE 'store\\_%' ESCAPE '\\'")
            .fetch_all(library.readers())
            .await?;
        let mut kept = Self::default();
        for row in &rows {
            let (name, value): (String, String) = (row.try_get("name")?, row.try_get("value")?);
            match name.as_str() {
                "store_id" => kept.id = Some(value),
                "store_folder" => kept.folder = Some(value.into()),
                "store_next" => kept.next = Some(value.into()),
                "store_previous" => kept.previous = Some(value.into()),
                _ => {}
            }
        }
        Ok(kept)
    }

    pub(super) async fn write(tx: &mut WriteTx, fact: Fact, value: Option<&str>) -> Result<(), EngineError> {
        let sql = match value {
            Some(_) => {
                "INSERT INTO metadata (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            }
            None => "DELETE FROM metadata WHERE name = ?",
        };
        sqlx::query(sql).bind(fact.name()).bind(value).execute(&mut **tx).await?;
        Ok(())
    }
}

/// The home of the store, held.
#[derive(Debug)]
pub(super) struct Place {
    /// What its mark says; none: the data folder.
    mark: Option<String>,
    lock: Option<File>,
    taken: bool,
}

impl Place {
    /// Takes the home of the store. One whose drive is not there is taken when it comes back.
    pub(super) fn open(home: &Root, mark: Option<String>, layer: &dyn FileLayer) -> io::Result<Self> {
        let mut place = Self { mark, lock: None, taken: false };
        if place.mark.is_none() {
            home.create(layer)?;
        } else {
            place.take(home);
        }
        Ok(place)
    }

    /// A folder that is marked and locked.
    pub(super) const fn held(mark: String, lock: File) -> Self {
        Self { mark: Some(mark), lock: Some(lock), taken: false }
    }

    /// Whether another process has it.
    pub(super) const fn is_taken(&self) -> bool {
        self.taken
    }

    /// Whether it is there and ours.
    pub(super) fn is_here(&mut self, home: &Root) -> bool {
        let Some(mark) = &self.mark else {
            let there = || home.blobs().is_dir() && home.partial().is_dir();
            return there() || (fs::create_dir_all(home.blobs()).is_ok() && fs::create_dir_all(home.partial()).is_ok());
        };
        if read_mark(home.folder()).as_deref() != Some(mark) {
            // The lock was on a file of a drive that has gone.
            self.lock = None;
            return false;
        }
        if self.lock.is_none() {
            self.take(home);
        }
        self.lock.is_some()
    }

    fn take(&mut self, home: &Root) {
        let Some(mark) = self.mark.as_ref().filter(|mark| read_mark(home.folder()).as_ref() == Some(mark)) else {
            return;
        };
        tracing::debug!(mark, "taking the store");
        match lock(home.folder()) {
            Ok(Some(lock)) => (self.lock, self.taken) = (Some(lock), false),
            Ok(None) => self.taken = true,
            Err(error) => tracing::warn!(%error, "the store's folder can't be used"),
        }
        if self.lock.is_some() {
            fs::create_dir_all(home.blobs()).ok();
            fs::create_dir_all(home.partial()).ok();
        }
    }
}

/// What the mark of a folder says.
fn read_mark(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(MARK)).ok()
}

/// Locks a marked folder; none: another process has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).open(folder.join(MARK))?;
    Ok(file.try_lock_exclusive()?.then_some(file))
}

/// Why a folder can't be a new home, as far as names tell.
pub(super) fn refusal(home: &Root, data_dir: &Path, mark: &str, to: &Path) -> Option<MoveRefusal> {
    let same = |one: &Path, other: &Path| real(one) == real(other);
    if !to.is_absolute() || to.to_str().is_none() {
        return Some(MoveRefusal::NotAPath);
    }
    if same(to, home.folder()) {
        return Some(MoveRefusal::AlreadyThere);
    }
    if real(to).starts_with(real(home.folder())) {
        return Some(MoveRefusal::InsideStore);
    }
    match read_mark(to) {
        Some(found) if found == mark => return None,
        Some(_) => return Some(MoveRefusal::AnotherStore),
        None => {}
    }
    let ours = same(to, data_dir);
    let root = Root::new(to);
    let used = |folder: PathBuf| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    let other = (!ours && to.join(DATABASE_FILE).exists()) || used(root.blobs()) || used(root.partial());
    other.then_some(MoveRefusal::AnotherStore)
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut there = path;
    loop {
        if let Ok(found) = there.canonicalize() {
            return rest.into_iter().rev().fold(found, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return path.to_owned() };
        rest.push(name);
        there = parent;
    }
}

/// Marks a folder as this store's and locks it; none: another process has it. Fails where nothing can be written.
pub(super) fn make_home(to: &Path, mark: &str, layer: &dyn FileLayer) -> io::Result<Option<File>> {
    fs::create_dir_all(to)?;
    if read_mark(to).as_deref() != Some(mark) {
        let mut file = File::create(to.join(MARK))?;
        file.write_all(mark.as_bytes())?;
        file.sync_all()?;
    }
    let lock = lock(to)?;
    if lock.is_some() {
        Root::new(to).create(layer)?;
    }
    Ok(lock)
}

/// Takes away what is left of a home that was emptied; what somebody else put there stays.
pub(super) fn clear(root: &Root, marked: bool) {
    for folder in fs::read_dir(root.blobs()).into_iter().flatten().flatten() {
        fs::remove_dir(folder.path()).ok();
    }
    fs::remove_dir(root.blobs()).ok();
    fs::remove_dir(root.partial()).ok();
    if marked {
        fs::remove_file(root.folder().join(MARK)).ok();
        fs::remove_dir(root.folder()).ok();
    }
}
