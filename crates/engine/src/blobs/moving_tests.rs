//! The store moves while it is used, and survives whatever comes between.

use std::path::{Path, PathBuf};

use carrel_transfer::Journal as _;

use super::{tests::Store, *};
use crate::downloads::fixture::{MIB, bytes, eventually, files, roomy};

/// A folder on another file system than the temporary ones, where files have to be copied.
fn elsewhere() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn both() -> [tempfile::TempDir; 2] {
    [tempfile::tempdir().unwrap(), elsewhere()]
}

impl Store {
    /// Opens the same store again, as a new process would.
    async fn reopened(&self) -> Blobs {
        let clock = self.school.clock.clone();
        Blobs::open(self.library.clone(), self.folder.path(), roomy(), clock).await.unwrap()
    }
}

fn refusal(result: Result<(), EngineError>) -> MoveRefusal {
    match result {
        Err(EngineError::CanNotMove(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn path_of(blobs: &Blobs, hash: BlobHash) -> PathBuf {
    match blobs.locate(hash).await.unwrap() {
        Located::Here { path, .. } => path,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn moves_every_blob_and_part_empties_the_old_place_and_is_found_at_the_next_start() {
    for to in both() {
        let store = Store::open().await;
        let (one, two) = (store.here(&bytes(1, 3 * MIB + 7)).await, store.here(&bytes(2, 9_000)).await);
        let part = store.begun(&bytes(3, 2 * MIB)).await;
        let new = to.path().join("carrel");
        assert_eq!(store.blobs.move_to(&new).await.unwrap(), []);
        for (hash, content) in [(one, bytes(1, 3 * MIB + 7)), (two, bytes(2, 9_000))] {
            let path = path_of(&store.blobs, hash).await;
            assert!(path.starts_with(&new) && std::fs::read(path).unwrap() == content);
        }
        assert_eq!(std::fs::read(store.blobs.part_path(part)).unwrap(), bytes(3, 2 * MIB), "what was begun goes along");
        assert!(!store.folder.path().join("blobs").exists() && !store.folder.path().join("partial").exists());
        assert_eq!(store.blobs.scan().await.unwrap(), scan::ScanReport::default(), "nothing is missing or altered");
        let Store { blobs, library, folder, school } = store;
        drop(blobs);
        let again = Blobs::open(library, folder.path(), roomy(), school.clock.clone()).await.unwrap();
        assert!(path_of(&again, one).await.starts_with(&new));
        again.move_to(folder.path()).await.unwrap();
        assert!(path_of(&again, one).await.starts_with(folder.path().join("blobs")), "and back home");
        assert!(!new.exists(), "which leaves nothing behind");
    }
}

#[tokio::test]
async fn refuses_where_a_store_can_not_be_and_changes_nothing() {
    let store = Store::open().await;
    store.here(&bytes(1, 5_000)).await;
    let (other, to) = (Store::open().await, tempfile::tempdir().unwrap());
    let home = store.folder.path();
    let begin = async |folder: &Path| refusal(store.blobs.begin_move(folder).await);
    assert_eq!(begin(home).await, MoveRefusal::AlreadyThere);
    assert_eq!(begin(&home.join("blobs/inside")).await, MoveRefusal::InsideStore);
    assert_eq!(begin(Path::new("somewhere")).await, MoveRefusal::NotAPath);
    assert_eq!(begin(other.folder.path()).await, MoveRefusal::AnotherStore, "another data folder");
    let theirs = to.path().join("theirs");
    other.here(&bytes(1, 5_000)).await;
    other.blobs.move_to(&theirs).await.unwrap();
    assert_eq!(begin(&theirs).await, MoveRefusal::AnotherStore, "another store in a folder of its own");
    let used = to.path().join("used");
    std::fs::create_dir_all(used.join("blobs/ab")).unwrap();
    assert_eq!(begin(&used).await, MoveRefusal::AnotherStore, "names that would be mixed up");
    let file = to.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let unwritable = store.blobs.begin_move(&file.join("below")).await.unwrap_err();
    assert_eq!(unwritable.code(), carrel_model::ErrorCode::StorageUnavailable, "{unwritable}");
    assert!(!store.blobs.is_to_move().await.unwrap());
    assert_eq!(files(home).into_values().sum::<u64>(), 5_000);
}

#[tokio::test]
async fn says_with_numbers_when_the_room_is_too_small() {
    let (store, to) = (Store::open().await, elsewhere());
    let hash = store.here(&bytes(1, 3 * MIB)).await;
    let small = Arc::new(crate::downloads::fixture::TestDisk(Mutex::new(DiskFacts {
        total_bytes: 16 * MIB as u64,
        free_bytes: 6 * MIB as u64,
    })));
    let blobs =
        Blobs::open(store.library.clone(), store.folder.path(), small, store.school.clock.clone()).await.unwrap();
    let refused = blobs.begin_move(&to.path().join("carrel")).await;
    if std::fs::hard_link(store.path(hash), to.path().join("link")).is_ok() {
        assert!(refused.is_ok(), "on one file system a move takes no room: {refused:?}");
        return;
    }
    let (needed, available) = (3 * MIB as u64, 2 * MIB as u64);
    assert!(
        matches!(refused, Err(EngineError::StorageFull { needed: n, available: a }) if (n, a) == (needed, available)),
        "{refused:?}"
    );
    assert!(!to.path().join("carrel").exists(), "and leaves nothing there");
}

#[tokio::test]
async fn goes_on_wherever_it_was_killed() {
    for stop_at in 0..6 {
        let (store, to) = (Store::open().await, elsewhere());
        let mut hashes = Vec::new();
        for seed in 1..=5 {
            hashes.push(store.here(&bytes(seed, 40_000)).await);
        }
        let part = store.begun(&bytes(9, 50_000)).await;
        let new = to.path().join("carrel");
        store.blobs.begin_move(&new).await.unwrap();
        // Dropped at some point of its way, as a kill would leave it.
        {
            let mut moving = Box::pin(store.blobs.carry_on_moving());
            eventually(async || {
                let arrived = files_in(&new.join("blobs"));
                if arrived >= stop_at { Ok(()) } else { Err(format!("{arrived} there")) }
            })
            .await_beside(&mut moving)
            .await;
        }
        let blobs = {
            let Store { blobs, .. } = &store;
            // The lock of the process that was killed is gone with it.
            *blobs.inner.place.lock().unwrap() =
                place::Place::open(&Root::new(store.folder.path()), None, &carrel_transfer::SystemFiles).unwrap();
            store.reopened().await
        };
        assert_eq!(blobs.scan().await.unwrap().damaged, [], "{stop_at}: the store is whole in between");
        for hash in &hashes {
            path_of(&blobs, *hash).await;
        }
        blobs.carry_on_moving().await.unwrap();
        for hash in &hashes {
            assert!(path_of(&blobs, *hash).await.starts_with(&new), "{stop_at}");
        }
        assert!(blobs.part_path(part).starts_with(&new) && blobs.part_path(part).exists(), "{stop_at}");
        assert!(!store.folder.path().join("blobs").exists(), "{stop_at}: the old place is empty");
        assert_eq!(blobs.scan().await.unwrap().damaged, []);
    }
}

fn files_in(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

/// Polls one future while another one goes on.
trait Beside: Future + Sized {
    async fn await_beside(self, other: &mut (impl Future + Unpin)) {
        tokio::select! {
            biased;
            _ = self => {}
            _ = other => {}
        }
    }
}

impl<F: Future> Beside for F {}

#[tokio::test]
async fn is_called_off_without_a_trace() {
    let (store, to) = (Store::open().await, elsewhere());
    let hash = store.here(&bytes(1, 9_000)).await;
    let new = to.path().join("carrel");
    assert!(store.blobs.cancel_move().is_err(), "there is none");
    store.blobs.begin_move(&new).await.unwrap();
    let mut moving = Box::pin(store.blobs.carry_on_moving());
    let called_off = async {
        eventually(async || store.blobs.cancel_move().map_err(|error| error.to_string())).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = &mut moving => assert_eq!(ended.unwrap(), []),
        () = called_off => {}
    }
    drop(moving);
    if store.blobs.folder() == store.folder.path() {
        assert!(path_of(&store.blobs, hash).await.starts_with(store.folder.path()));
        assert!(!new.exists() && !store.blobs.is_to_move().await.unwrap());
    }
}

#[tokio::test]
async fn a_damaged_blob_is_found_on_the_way_and_keeps_no_other_from_moving() {
    let (store, to) = (Store::open().await, elsewhere());
    let (good, bad) = (store.here(&bytes(1, 9_000)).await, store.here(&bytes(2, 2 * MIB)).await);
    let mut altered = bytes(2, 2 * MIB);
    altered[MIB + 5] ^= 1;
    std::fs::write(store.path(bad), &altered).unwrap();
    let new = to.path().join("carrel");
    let damaged = store.blobs.move_to(&new).await.unwrap();
    if damaged.is_empty() {
        // Linked on one file system, nothing was read.
        assert_eq!(store.blobs.locate(bad).await.unwrap(), Located::Damaged);
    } else {
        assert_eq!(damaged, [bad]);
    }
    let right = store.blobs.journal().load(bad, 2).await.unwrap().unwrap();
    assert_eq!(right.iter().collect::<Vec<_>>(), [0], "its right piece is kept");
    assert!(path_of(&store.blobs, good).await.starts_with(&new));
}

#[tokio::test]
async fn a_drive_that_is_away_loses_nothing_and_is_found_when_it_is_back() {
    let (store, to) = (Store::open().await, tempfile::tempdir().unwrap());
    let hash = store.here(&bytes(1, 9_000)).await;
    let (new, away) = (to.path().join("carrel"), to.path().join("away"));
    store.blobs.move_to(&new).await.unwrap();
    std::fs::rename(&new, &away).unwrap();
    assert!(!store.blobs.is_here().await);
    assert_eq!(store.blobs.locate(hash).await.unwrap(), Located::Absent, "not damaged: not seen");
    let row = rows::get(&store.library, hash).await.unwrap().unwrap();
    assert!(row.present, "the record stays");
    let Store { blobs, library, folder, school } = store;
    drop(blobs);
    let blobs = Blobs::open(library, folder.path(), roomy(), school.clock.clone()).await.unwrap();
    assert!(!blobs.is_here().await, "nor at the next start");
    std::fs::create_dir(&new).unwrap();
    assert!(!blobs.is_here().await, "an empty mount point is not the store");
    std::fs::remove_dir(&new).unwrap();
    std::fs::rename(&away, &new).unwrap();
    assert!(blobs.is_here().await);
    path_of(&blobs, hash).await;
}

#[tokio::test]
async fn a_moved_store_is_locked_against_whoever_else_knows_of_it() {
    let (store, to) = (Store::open().await, tempfile::tempdir().unwrap());
    store.blobs.move_to(&to.path().join("carrel")).await.unwrap();
    let second = Blobs::open(store.library.clone(), store.folder.path(), roomy(), store.school.clock.clone()).await;
    let refused = second.unwrap_err();
    assert_eq!(refused.code(), carrel_model::ErrorCode::StoreInUse, "{refused}");
}
