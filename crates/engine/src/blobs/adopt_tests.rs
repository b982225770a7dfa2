//! The power goes while files are put in their places: at every operation, with every mix of what was lost.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use carrel_model::BlobHash;
use carrel_transfer::{FileId, FileLayer, OpenFile, SystemFiles};

use super::*;
use crate::{
    downloads::fixture::{MIB, bytes, files},
    library::Library,
};

/// Real files, until the power goes. Then renames that were not synced are lost or not, as chance has it.
#[derive(Debug, Default)]
struct Failing {
    /// Operations that still work.
    left: AtomicUsize,
    done: AtomicUsize,
    /// Syncs that pretend.
    forgets: bool,
    unsynced: Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Failing {
    fn step(&self) -> io::Result<()> {
        self.done.fetch_add(1, Ordering::SeqCst);
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        taken.map(|_| ()).map_err(|_| io::Error::other("the power is gone"))
    }

    /// What is on the medium afterwards.
    fn lose(&self, chance: u64) {
        for (n, (from, to)) in self.unsynced.lock().unwrap().drain(..).enumerate() {
            if chance >> n & 1 == 1 {
                std::fs::rename(to, from).unwrap();
            }
        }
    }
}

impl FileLayer for Failing {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        SystemFiles.open(path)
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        SystemFiles.id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        SystemFiles.rename(from, to)?;
        self.unsynced.lock().unwrap().push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        if !self.forgets {
            self.unsynced.lock().unwrap().retain(|(_, to)| to.parent() != Some(folder));
        }
        Ok(())
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        SystemFiles.free_bytes(folder)
    }
}

/// Contents of some blobs: small ones and one of two pieces.
fn contents() -> Vec<Vec<u8>> {
    (1..=4).map(|seed| bytes(seed, if seed == 4 { MIB + 9 } else { 3_000 })).collect()
}

/// Adopts with so many operations left, loses the power, and opens again; gives how many operations adopting takes, and
/// whether some row was ahead of the files.
async fn adopt_and_lose(left: usize, chance: u64, forgets: bool) -> (usize, bool) {
    let store = super::tests::Store::open().await;
    let mut hashes = Vec::new();
    for content in contents() {
        hashes.push(store.begun(&content).await);
    }
    let layer = Arc::new(Failing { left: AtomicUsize::new(usize::MAX), forgets, ..Failing::default() });
    let clock = store.school.clock.clone();
    let roomy = crate::downloads::fixture::roomy;
    let blobs =
        Blobs::open_on(store.library.clone(), store.folder.path(), roomy(), clock.clone(), Arc::clone(&layer) as _);
    let blobs = blobs.await.unwrap();
    layer.done.store(0, Ordering::SeqCst);
    layer.left.store(left, Ordering::SeqCst);
    let adopted = blobs.adopt_all(&hashes).await.unwrap();
    let operations = layer.done.load(Ordering::SeqCst);
    store.library.close().await;
    layer.lose(chance);

    let (library, _) = Library::open(store.folder.path(), clock.as_ref()).await.unwrap();
    let blobs = Blobs::open(library.clone(), store.folder.path(), roomy(), clock).await.unwrap();
    let mut ahead = false;
    for (hash, content) in hashes.iter().zip(contents()) {
        let row = rows::get(&library, *hash).await.unwrap().unwrap();
        let file = std::fs::read(blobs.folders().blob(*hash)).ok();
        ahead |= row.present && file.as_ref() != Some(&content);
        if adopted.present.contains(hash) && !forgets {
            assert!(row.present, "what was said to be done is done");
        }
    }
    blobs.scan().await.unwrap();
    let again: Vec<BlobHash> = hashes.iter().copied().filter(|hash| blobs.folders().part(*hash).exists()).collect();
    blobs.adopt_all(&again).await.unwrap();
    for hash in &hashes {
        assert!(
            matches!(blobs.locate(*hash).await.unwrap(), Located::Here { .. }),
            "{left}/{chance}: all is found again"
        );
    }
    assert_eq!(files(store.folder.path()).len(), hashes.len(), "and nothing else is left");
    library.close().await;
    (operations, ahead)
}

#[tokio::test]
async fn no_row_is_ahead_of_the_files_wherever_the_power_goes_while_they_are_adopted() {
    let (operations, _) = adopt_and_lose(usize::MAX, 0, false).await;
    assert!(operations >= 8, "four renames, and a sync of each folder: {operations}");
    for left in 0..=operations {
        for chance in [0, 0b1111, 0b0101, 0b0010] {
            let (_, ahead) = adopt_and_lose(left, chance, false).await;
            assert!(!ahead, "after {left} operations, losing {chance:b}");
        }
    }
}

#[tokio::test]
async fn what_a_kill_left_in_its_place_is_recorded_when_its_name_is_durable() {
    let store = super::tests::Store::open().await;
    let content = bytes(1, 3_000);
    let hash = store.begun(&content).await;
    let layer = Arc::new(Failing { left: AtomicUsize::new(usize::MAX), ..Failing::default() });
    let (clock, roomy) = (store.school.clock.clone(), crate::downloads::fixture::roomy());
    let blobs = Blobs::open_on(store.library.clone(), store.folder.path(), roomy, clock, Arc::clone(&layer) as _);
    let blobs = blobs.await.unwrap();
    // The folder of the blob is made and the file renamed; then it ends.
    layer.left.store(2, Ordering::SeqCst);
    assert_eq!(blobs.adopt_all(&[hash]).await.unwrap().failed.len(), 1);
    assert!(blobs.folders().blob(hash).exists());

    layer.left.store(usize::MAX, Ordering::SeqCst);
    blobs.scan().await.unwrap();
    layer.lose(u64::MAX);
    assert!(rows::get(&store.library, hash).await.unwrap().unwrap().present, "taken in by the next start");
    assert!(blobs.folders().blob(hash).exists(), "and there after a power loss");
}

#[tokio::test]
async fn this_test_would_notice_names_that_are_not_synced() {
    let (_, ahead) = adopt_and_lose(usize::MAX, 0b1111, true).await;
    assert!(ahead);
}
