//! Moving the store to another folder while the app runs.
//!
//! First everything is copied, blob by blob, each one checked against its hash; downloads and playback go on in the old
//! place. Then, in one commit, the new folder becomes the home. Then the old one is emptied: parts follow as soon as nobody
//! writes them. A kill at any point leaves a store that is whole, and the next start goes on with the move; until the commit
//! it can be called off. Where both folders are on one file system, files are linked and not copied.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use carrel_model::{BlobHash, ErrorCode};
use carrel_transfer::FileLayer;
use tokio_util::sync::CancellationToken;

use super::{
    Blobs, Folders, MoveRefusal, Root, blocking,
    files::{FileFacts, file_facts},
    place::{self, Fact, Kept, Place},
    rows,
};
use crate::EngineError;

/// How long a player that was told of a file in the old place has to open it.
const GRACE: Duration = Duration::from_secs(1);
/// Copied between two looks at whether it was called off.
const STEP_BYTES: u64 = 8 << 20;

/// What a move is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MoveStage {
    /// Files are being copied; it can be called off.
    Copying,
    /// The store is in its new place, and the old one is being emptied.
    Emptying,
}

/// How far a move is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MoveProgress {
    pub(crate) to: PathBuf,
    pub(crate) stage: MoveStage,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
}

/// A move that is being performed.
#[derive(Debug, Clone)]
pub(super) struct Moving {
    to: PathBuf,
    stage: MoveStage,
    bytes: Arc<Bytes>,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Bytes {
    done: AtomicU64,
    total: AtomicU64,
}

/// How the way of one file ended.
enum Carried {
    There,
    /// The copy isn't the blob: the file was altered, or the drive is failing.
    Wrong,
    /// It is not there any more.
    Gone,
    CalledOff,
}

impl Blobs {
    /// Moves the store; returns when the old place is empty. Gives the blobs that were found damaged on the way.
    #[cfg(test)]
    pub(crate) async fn move_to(&self, folder: &Path) -> Result<Vec<BlobHash>, EngineError> {
        self.begin_move(folder).await?;
        self.carry_on_moving().await
    }

    /// Checks whether the store can be moved there, and writes down that it is to be. Refused with the numbers where the
    /// room is too small.
    pub(crate) async fn begin_move(&self, folder: &Path) -> Result<(), EngineError> {
        let kept = Kept::read(&self.inner.library).await?;
        if kept.next.is_some() || kept.previous.is_some() || !self.is_here().await {
            return Err(EngineError::CanNotMove(MoveRefusal::NotNow));
        }
        let mut id = [0; 16];
        self.inner.clock.fill_random(&mut id);
        let id = kept.id.unwrap_or_else(|| hex::encode(id));
        let home = self.folders().home;
        if let Some(refusal) = place::refusal(&home, &self.inner.data_dir, &id, folder) {
            return Err(EngineError::CanNotMove(refusal));
        }
        let (to, mark, layer) = (folder.to_owned(), id.clone(), self.folders().layer);
        let fresh = !folder.exists();
        let lock = blocking(folder, move || place::make_home(&to, &mark, &*layer)).await?;
        if lock.is_none() {
            return Err(EngineError::CanNotMove(MoveRefusal::AnotherStore));
        }
        if let Err(error) = self.check_room(&home, folder).await {
            place::clear(&Root::new(folder), true);
            if !fresh {
                fs::create_dir_all(folder).ok();
            }
            return Err(error);
        }
        let mut tx = self.inner.library.write().await?;
        Kept::write(&mut tx, Fact::Id, Some(&id)).await?;
        Kept::write(&mut tx, Fact::Next, folder.to_str()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether a move is written down that isn't done.
    pub(crate) async fn is_to_move(&self) -> Result<bool, EngineError> {
        let kept = Kept::read(&self.inner.library).await?;
        Ok(kept.next.is_some() || kept.previous.is_some())
    }

    /// Performs the move that was written down, from wherever it is.
    pub(crate) async fn carry_on_moving(&self) -> Result<Vec<BlobHash>, EngineError> {
        let mut damaged = Vec::new();
        let kept = Kept::read(&self.inner.library).await?;
        if let (Some(next), Some(id)) = (kept.next, kept.id) {
            let moving = self.now_moving(&next, MoveStage::Copying);
            let switched = self.copy_and_switch(&next, id, &moving, &mut damaged).await;
            *self.moving() = None;
            if !switched? {
                return Ok(damaged);
            }
        }
        if let Some(previous) = Kept::read(&self.inner.library).await?.previous {
            self.now_moving(&self.folder(), MoveStage::Emptying);
            let emptied = self.empty(&Root::new(&previous)).await;
            *self.moving() = None;
            emptied?;
        }
        Ok(damaged)
    }

    /// How far the move is that is being performed.
    pub(crate) fn move_progress(&self) -> Option<MoveProgress> {
        self.moving().as_ref().map(|moving| MoveProgress {
            to: moving.to.clone(),
            stage: moving.stage,
            bytes_done: moving.bytes.done.load(Ordering::Relaxed),
            bytes_total: moving.bytes.total.load(Ordering::Relaxed),
        })
    }

    /// Calls the move off; what was copied is removed. Refused once the store is in its new place.
    pub(crate) fn cancel_move(&self) -> Result<(), EngineError> {
        match self.moving().as_ref().filter(|moving| moving.stage == MoveStage::Copying) {
            Some(moving) => moving.cancel.cancel(),
            None => return Err(EngineError::Refused(ErrorCode::WrongState)),
        }
        Ok(())
    }

    fn moving(&self) -> std::sync::MutexGuard<'_, Option<Moving>> {
        self.inner.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_moving(&self, to: &Path, stage: MoveStage) -> Moving {
        let moving = Moving { to: to.to_owned(), stage, bytes: Arc::default(), cancel: CancellationToken::new() };
        *self.moving() = Some(moving.clone());
        moving
    }

    async fn check_room(&self, home: &Root, to: &Path) -> Result<(), EngineError> {
        let (from, target, disk) = (home.clone(), Root::new(to), Arc::clone(&self.inner.disk));
        let (needed, facts) = blocking(to, move || {
            let files = from.whole()?.into_values().chain(from.parts()?.into_values());
            let needed = if can_link(&from, &target) { 0 } else { files.map(|facts| facts.bytes).sum() };
            Ok((needed, disk.facts(target.folder())?))
        })
        .await?;
        let available = super::Space::of(facts).above_floor_bytes();
        if needed > available { Err(EngineError::StorageFull { needed, available }) } else { Ok(()) }
    }

    /// True: the store is in its new place. False: it was called off.
    async fn copy_and_switch(
        &self,
        next: &Path,
        id: String,
        moving: &Moving,
        damaged: &mut Vec<BlobHash>,
    ) -> Result<bool, EngineError> {
        let folders = self.folders();
        let (from, to) = (folders.home.clone(), Root::new(next));
        let (at, mark, layer) = (next.to_owned(), id.clone(), Arc::clone(&folders.layer));
        let lock = blocking(next, move || place::make_home(&at, &mark, &*layer)).await?;
        let lock = lock.ok_or(EngineError::CanNotMove(MoveRefusal::AnotherStore))?;
        loop {
            let todo = self.still_to_carry(&from, &to, moving).await?;
            if todo.is_empty() {
                break;
            }
            for hash in todo {
                if !self.carry_checked(&from, &to, hash, moving, damaged).await? {
                    return self.call_off(&to).await.map(|()| false);
                }
            }
        }
        // What was adopted in the last moment follows now, and nothing changes meanwhile.
        let store_lock = self.lock().await;
        for hash in self.still_to_carry(&from, &to, moving).await? {
            if let Carried::CalledOff = self.carry(&from, &to, hash, moving).await? {
                drop(store_lock);
                return self.call_off(&to).await.map(|()| false);
            }
        }
        let (here, there, layer) = (from.clone(), to.clone(), Arc::clone(&folders.layer));
        let times = blocking(next, move || settle_in(&here, &there, &*layer)).await?;
        rows::set_times(&self.inner.library, &times).await?;
        let at_home = next == self.inner.data_dir;
        let mut tx = self.inner.library.write().await?;
        Kept::write(&mut tx, Fact::Folder, next.to_str().filter(|_| !at_home)).await?;
        Kept::write(&mut tx, Fact::Previous, from.folder().to_str()).await?;
        Kept::write(&mut tx, Fact::Next, None).await?;
        tx.commit().await?;
        *self.inner.folders.write().unwrap_or_else(PoisonError::into_inner) =
            Folders { home: to.clone(), previous: Some(from), layer: folders.layer };
        let place = if at_home {
            // The lock on the data folder covers it there.
            drop(lock);
            let (root, layer) = (to, self.folders().layer);
            blocking(next, move || Place::open(&root, None, &*layer)).await?
        } else {
            Place::held(id, lock)
        };
        *self.inner.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        Ok(true)
    }

    /// Blobs that are not in the new place yet.
    async fn still_to_carry(&self, from: &Root, to: &Root, moving: &Moving) -> Result<Vec<BlobHash>, EngineError> {
        let (from, to, bytes) = (from.clone(), to.clone(), Arc::clone(&moving.bytes));
        blocking(&self.folder(), move || {
            let (here, there) = (from.whole()?, to.whole()?);
            let missing = |(hash, facts): &(&BlobHash, &FileFacts)| {
                there.get(*hash).is_none_or(|found| found.bytes != facts.bytes)
            };
            let todo: Vec<_> = here.iter().filter(missing).collect();
            let left: u64 = todo.iter().map(|(_, facts)| facts.bytes).sum();
            let total: u64 = here.values().map(|facts| facts.bytes).sum();
            bytes.total.store(total, Ordering::Relaxed);
            bytes.done.store(total - left, Ordering::Relaxed);
            Ok(todo.into_iter().map(|(hash, _)| *hash).collect())
        })
        .await
    }

    /// Carries a blob; one that turns out to be damaged goes back into the making. False: called off.
    async fn carry_checked(
        &self,
        from: &Root,
        to: &Root,
        hash: BlobHash,
        moving: &Moving,
        damaged: &mut Vec<BlobHash>,
    ) -> Result<bool, EngineError> {
        match self.carry(from, to, hash, moving).await? {
            Carried::There | Carried::Gone => {}
            Carried::CalledOff => return Ok(false),
            Carried::Wrong if self.verify(hash).await? => {
                let source = io::Error::other("what was copied there can't be read back as it was");
                return Err(EngineError::Io { path: to.blob(hash), source });
            }
            Carried::Wrong => {
                damaged.push(hash);
                // A file without a row, say from before the database was made anew: nothing takes it back.
                let path = from.blob(hash);
                if self.manifest(hash).await?.is_none() {
                    blocking(&path.clone(), move || fs::remove_file(path)).await?;
                }
            }
        }
        Ok(true)
    }

    async fn carry(&self, from: &Root, to: &Root, hash: BlobHash, moving: &Moving) -> Result<Carried, EngineError> {
        let (source, root, layer) = (from.blob(hash), to.clone(), self.folders().layer);
        let (bytes, cancel) = (Arc::clone(&moving.bytes), moving.cancel.clone());
        blocking(&to.blob(hash), move || {
            let mut step = |copied| {
                bytes.done.fetch_add(copied, Ordering::Relaxed);
                !cancel.is_cancelled()
            };
            carry_blob(&source, &root, hash, &*layer, &mut step)
        })
        .await
    }

    async fn call_off(&self, to: &Root) -> Result<(), EngineError> {
        let mut tx = self.inner.library.write().await?;
        Kept::write(&mut tx, Fact::Next, None).await?;
        tx.commit().await?;
        let (to, at_home) = (to.clone(), to.folder() == self.inner.data_dir);
        blocking(&self.folder(), move || {
            remove_all(&to)?;
            place::clear(&to, true);
            if at_home { Root::new(to.folder()).create(&carrel_transfer::SystemFiles) } else { Ok(()) }
        })
        .await
    }

    /// Empties the place the store was in. Transfers that write there are waited for.
    async fn empty(&self, old: &Root) -> Result<(), EngineError> {
        if !old.folder().is_dir() {
            return self.forget_previous(old).await;
        }
        tokio::time::sleep(GRACE).await;
        loop {
            let root = old.clone();
            let (parts, blobs) = blocking(old.folder(), move || {
                // Somebody may have cleared the place by hand.
                Ok((root.parts().unwrap_or_default(), root.whole().unwrap_or_default()))
            })
            .await?;
            if parts.is_empty() && blobs.is_empty() {
                break;
            }
            for hash in parts.into_keys() {
                let _writing = self.writing(hash).await;
                let (from, to, layer) = (old.part(hash), self.folders().home, self.folders().layer);
                blocking(&old.part(hash), move || carry_part(&from, &to, hash, &*layer)).await?;
            }
            let known: BTreeSet<BlobHash> = rows::all(&self.inner.library).await?.into_keys().collect();
            // Most are there already, and only leave the old place; a few were adopted in it since.
            let _lock = self.lock().await;
            for hash in blobs.into_keys() {
                let (from, to, layer) = (old.blob(hash), self.folders().home, self.folders().layer);
                let wanted = known.contains(&hash);
                let time = blocking(&old.blob(hash), move || leave(&from, &to, hash, wanted, &*layer)).await?;
                rows::set_times(&self.inner.library, time.as_slice()).await?;
            }
        }
        self.forget_previous(old).await
    }

    async fn forget_previous(&self, old: &Root) -> Result<(), EngineError> {
        let _lock = self.lock().await;
        let mut tx = self.inner.library.write().await?;
        Kept::write(&mut tx, Fact::Previous, None).await?;
        tx.commit().await?;
        self.inner.folders.write().unwrap_or_else(PoisonError::into_inner).previous = None;
        let (old, at_home) = (old.clone(), old.folder() == self.inner.data_dir);
        blocking(&self.folder(), move || {
            place::clear(&old, !at_home);
            Ok(())
        })
        .await
    }
}

/// Whether files can be linked from one folder into the other: they are on one file system that can do so.
fn can_link(from: &Root, to: &Root) -> bool {
    let (probe, link) = (from.partial().join("carrel-probe"), to.partial().join("carrel-probe"));
    let linked = File::create(&probe).and_then(|_| fs::hard_link(&probe, &link)).is_ok();
    fs::remove_file(&link).ok();
    fs::remove_file(&probe).ok();
    linked
}

/// Brings one blob into another root: linked, or copied, made durable and read back.
fn carry_blob(
    source: &Path,
    to: &Root,
    hash: BlobHash,
    layer: &dyn FileLayer,
    step: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Carried> {
    let Some(facts) = file_facts(source) else { return Ok(Carried::Gone) };
    if !step(0) {
        return Ok(Carried::CalledOff);
    }
    to.make_folder_of(hash, layer)?;
    // Whatever is there is replaced by something whole, never taken away first: it may be in use already.
    let (target, beside) = (to.blob(hash), beside(to, hash));
    if fs::hard_link(source, &beside).is_ok() {
        layer.rename(&beside, &target)?;
        // Where both are the same file already, renaming does nothing.
        fs::remove_file(&beside).ok();
        step(facts.bytes);
        return Ok(Carried::There);
    }
    match copy(source, &beside, step) {
        Ok(true) => {}
        Ok(false) => return Ok(Carried::CalledOff),
        Err(error) if error.kind() == io::ErrorKind::NotFound && file_facts(source).is_none() => {
            return Ok(Carried::Gone);
        }
        Err(error) => return Err(error),
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(&beside)?)?;
    if BlobHash::from_bytes(*hasher.finalize().as_bytes()) != hash {
        fs::remove_file(&beside)?;
        return Ok(Carried::Wrong);
    }
    layer.rename(&beside, &target)?;
    Ok(Carried::There)
}

/// A name for a copy in the making, used once: one that an engine just closed still writes must not be written by the next.
fn beside(to: &Root, hash: BlobHash) -> PathBuf {
    static COPIES: AtomicU64 = AtomicU64::new(0);
    to.partial().join(format!("{hash}.{}.moving", COPIES.fetch_add(1, Ordering::Relaxed)))
}

/// Takes copies away that were never finished.
fn remove_unfinished(root: &Root) -> io::Result<()> {
    for entry in fs::read_dir(root.partial())?.flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "moving") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies a file and makes the copy durable, with the time of the original. False: called off.
fn copy(source: &Path, target: &Path, step: &mut dyn FnMut(u64) -> bool) -> io::Result<bool> {
    let mut from = File::open(source)?;
    let mut to = File::create(target)?;
    loop {
        let copied = io::copy(&mut from.by_ref().take(STEP_BYTES), &mut to)?;
        if copied == 0 {
            break;
        }
        if !step(copied) {
            drop(to);
            fs::remove_file(target)?;
            return Ok(false);
        }
    }
    if let Ok(time) = from.metadata()?.modified() {
        // A medium that can't keep it costs one look at the file.
        to.set_modified(time).ok();
    }
    to.sync_all()?;
    Ok(true)
}

/// Brings a part file into the new home, where it isn't there already, and takes it from the old one.
fn carry_part(source: &Path, to: &Root, hash: BlobHash, layer: &dyn FileLayer) -> io::Result<()> {
    if file_facts(source).is_none() {
        return Ok(());
    }
    let target = to.part(hash);
    if file_facts(&target).is_none() && fs::hard_link(source, &target).is_err() {
        let beside = beside(to, hash);
        copy(source, &beside, &mut |_| true)?;
        layer.rename(&beside, &target)?;
    }
    layer.sync_folder(&to.partial())?;
    fs::remove_file(source)
}

/// Takes a blob from the old place, once it is in the new one; says its time there where it came only now.
fn leave(
    source: &Path,
    home: &Root,
    hash: BlobHash,
    wanted: bool,
    layer: &dyn FileLayer,
) -> io::Result<Option<(BlobHash, i64)>> {
    let mut came = None;
    let (here, there) = (file_facts(source), file_facts(&home.blob(hash)));
    if wanted && there.map(|facts| facts.bytes) != here.map(|facts| facts.bytes) {
        match carry_blob(source, home, hash, layer, &mut |_| true)? {
            Carried::There => {
                layer.sync_folder(&home.make_folder_of(hash, layer)?)?;
                came = file_facts(&home.blob(hash)).map(|facts| (hash, facts.time_ns));
            }
            // Altered since it was adopted: the next look at the blob finds it missing, and it is fetched again.
            Carried::Wrong | Carried::Gone | Carried::CalledOff => {}
        }
    }
    match fs::remove_file(source) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(came),
    }
}

/// Makes the new place durable and like the old one: what was deleted meanwhile goes. Gives the times that differ.
fn settle_in(from: &Root, to: &Root, layer: &dyn FileLayer) -> io::Result<Vec<(BlobHash, i64)>> {
    let (here, there): (BTreeMap<_, _>, BTreeMap<_, _>) = (from.whole()?, to.whole()?);
    let mut times = Vec::new();
    let mut touched = BTreeSet::new();
    for (hash, facts) in there {
        match here.get(&hash) {
            None => fs::remove_file(to.blob(hash))?,
            Some(before) if before.time_ns != facts.time_ns => times.push((hash, facts.time_ns)),
            Some(_) => {}
        }
        touched.extend(to.blob(hash).parent().map(Path::to_owned));
    }
    for folder in touched {
        layer.sync_folder(&folder)?;
    }
    layer.sync_folder(&to.blobs())?;
    remove_unfinished(to)?;
    Ok(times)
}

fn remove_all(root: &Root) -> io::Result<()> {
    for hash in root.whole()?.into_keys() {
        fs::remove_file(root.blob(hash))?;
    }
    remove_unfinished(root)
}
