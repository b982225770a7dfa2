use std::{path::PathBuf, sync::Arc};

use carrel_model::{BlobHash, content::AssetKind};
use carrel_transfer::{Checkpoint, Journal as _, PieceSet};

use super::*;
use crate::downloads::fixture::{MIB, School, bytes, files, id, manifest_of, roomy};

pub(super) struct Store {
    pub(super) folder: tempfile::TempDir,
    pub(super) blobs: Blobs,
    pub(super) library: Library,
    pub(super) school: Arc<School>,
}

impl Store {
    pub(super) async fn open() -> Self {
        let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
        let (library, _) = Library::open(folder.path(), school.clock.as_ref()).await.unwrap();
        let blobs = Blobs::open(library.clone(), folder.path(), roomy(), school.clock.clone()).await.unwrap();
        let mut tx = library.write().await.unwrap();
        sqlx::query(
            "INSERT INTO profiles (id, learner_id, service_url, name, display_name, device_id, used_at, created_at)
             VALUES (?1, ?1, 'http://localhost', 'name', 'Name', ?1, 0, 0)",
        )
        .bind(id::<carrel_model::ProfileId>(1).to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        Self { folder, blobs, library, school }
    }

    /// A blob that is known, referred to, and has its part file on disk.
    pub(super) async fn begun(&self, content: &[u8]) -> BlobHash {
        let manifest = manifest_of(content);
        let lock = self.blobs.lock().await;
        let mut tx = self.library.write().await.unwrap();
        self.blobs.expect(&lock, &mut tx, &manifest, AssetKind::Video, "video/mp4").await.unwrap();
        sqlx::query(
            "INSERT INTO cache_entries (profile_id, asset_id, quality, hash, mime, used_at) VALUES (?, ?2, 'low', ?2, '', 0)",
        )
        .bind(id::<carrel_model::ProfileId>(1).to_string())
        .bind(manifest.hash().to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        std::fs::write(self.blobs.part_path(manifest.hash()), content).unwrap();
        manifest.hash()
    }

    pub(super) async fn here(&self, content: &[u8]) -> BlobHash {
        let hash = self.begun(content).await;
        assert!(self.blobs.adopt(hash).await.unwrap());
        hash
    }

    async fn unrefer(&self, hash: BlobHash) {
        let mut tx = self.library.write().await.unwrap();
        sqlx::query("DELETE FROM cache_entries WHERE hash = ?").bind(hash.to_string()).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(super) fn path(&self, hash: BlobHash) -> PathBuf {
        self.folder.path().join("blobs").join(&hash.to_string()[..2]).join(hash.to_string())
    }
}

#[tokio::test]
async fn a_blob_stays_while_something_needs_it_and_its_bytes_go_with_the_last_reference() {
    let store = Store::open().await;
    let (kept, gone) = (store.here(&bytes(1, 5_000)).await, store.here(&bytes(2, 7_000)).await);
    assert_eq!(store.blobs.sweep().await.unwrap(), 0, "both are needed");
    store.unrefer(gone).await;
    let writing = store.blobs.begin_writing(gone);
    assert_eq!(store.blobs.sweep().await.unwrap(), 0, "nothing goes under a writer's hands");
    drop(writing);
    assert_eq!(store.blobs.sweep().await.unwrap(), 7_000);
    assert_eq!(files(store.folder.path()).into_values().sum::<u64>(), 5_000);
    assert!(matches!(store.blobs.locate(kept).await.unwrap(), Located::Here { size: 5_000, .. }));
    assert_eq!(store.blobs.locate(gone).await.unwrap(), Located::Absent);
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_not_adopted() {
    let store = Store::open().await;
    let hash = store.begun(&bytes(1, 5_000)).await;
    store.unrefer(hash).await;
    std::fs::rename(store.blobs.part_path(hash), store.folder.path().join("aside")).unwrap();
    store.blobs.sweep().await.unwrap();
    std::fs::rename(store.folder.path().join("aside"), store.blobs.part_path(hash)).unwrap();
    assert!(!store.blobs.adopt(hash).await.unwrap());
    assert!(files(store.folder.path()).is_empty(), "and leaves no file");
}

#[tokio::test]
async fn an_altered_file_keeps_its_right_pieces_and_is_served_to_nobody() {
    let store = Store::open().await;
    let content = bytes(1, 4 * MIB + 100);
    let hash = store.here(&content).await;
    let mut altered = content.clone();
    altered[MIB + 3] ^= 0x80;
    std::fs::write(store.path(hash), &altered).unwrap();
    assert_eq!(store.blobs.locate(hash).await.unwrap(), Located::Damaged, "its time has changed, so it was looked at");
    assert_eq!(store.blobs.locate(hash).await.unwrap(), Located::Absent);
    let right = store.blobs.journal().load(hash, 5).await.unwrap().unwrap();
    assert_eq!(right.iter().collect::<Vec<_>>(), [0, 2, 3, 4], "only the damaged piece is missing");
    assert_eq!(files(store.folder.path()), [(format!("{hash}.part"), content.len() as u64)].into());
}

#[tokio::test]
async fn a_file_that_was_only_touched_is_still_right() {
    let store = Store::open().await;
    let content = bytes(1, 4_000);
    let hash = store.here(&content).await;
    std::fs::write(store.path(hash), &content).unwrap();
    assert!(matches!(store.blobs.locate(hash).await.unwrap(), Located::Here { .. }));
}

#[tokio::test]
async fn the_scan_brings_rows_and_files_to_agree() {
    let store = Store::open().await;
    let whole = store.here(&bytes(1, 4_000)).await;
    let missing = store.here(&bytes(2, 4_000)).await;
    let cut = store.here(&bytes(3, 2 * MIB)).await;
    let renamed = store.begun(&bytes(4, 4_000)).await;
    let lost = store.begun(&bytes(5, 2 * MIB)).await;
    let mut both = PieceSet::new(2);
    both.insert(0);
    store.blobs.journal().store(&[Checkpoint { blob: lost, verified: both }]).await.unwrap();
    std::fs::remove_file(store.path(missing)).unwrap();
    std::fs::write(store.path(cut), &bytes(3, 2 * MIB)[..MIB + 9]).unwrap();
    // The power went between the rename and the record of it.
    std::fs::create_dir_all(store.path(renamed).parent().unwrap()).unwrap();
    std::fs::rename(store.blobs.part_path(renamed), store.path(renamed)).unwrap();
    std::fs::remove_file(store.blobs.part_path(lost)).unwrap();
    let stranger = BlobHash::of(b"stranger");
    std::fs::write(store.blobs.part_path(stranger), b"stranger").unwrap();

    let mut report = store.blobs.scan().await.unwrap();
    report.damaged.sort();
    let mut damaged = vec![missing, cut];
    damaged.sort();
    assert_eq!(report, scan::ScanReport { damaged, removed_bytes: 8 });
    for here in [whole, renamed] {
        assert!(matches!(store.blobs.locate(here).await.unwrap(), Located::Here { .. }), "{here} is here");
    }
    let of_cut = store.blobs.journal().load(cut, 2).await.unwrap().unwrap();
    assert_eq!(of_cut.iter().collect::<Vec<_>>(), [0], "the first piece of the cut file is right");
    assert_eq!(
        store.blobs.journal().load(lost, 2).await.unwrap(),
        None,
        "what the journal claimed of a lost file is void"
    );
    assert!(!files(store.folder.path()).contains_key(&format!("{stranger}.part")));
    assert_eq!(store.blobs.scan().await.unwrap(), scan::ScanReport::default(), "a second scan finds nothing");
    drop(store.school);
}

#[tokio::test]
async fn the_journal_counts_the_bytes_of_a_short_last_piece_rightly() {
    let store = Store::open().await;
    let hash = store.begun(&bytes(1, 2 * MIB + 100)).await;
    for (pieces, expected) in [(&[0, 1][..], 2 * MIB as u64), (&[2], 100), (&[0, 2], MIB as u64 + 100)] {
        let mut verified = PieceSet::new(3);
        pieces.iter().for_each(|piece| {
            verified.insert(*piece);
        });
        store.blobs.journal().store(&[Checkpoint { blob: hash, verified: verified.clone() }]).await.unwrap();
        assert_eq!(store.blobs.journal().load(hash, 3).await.unwrap(), Some(verified.clone()));
        let stored: i64 =
            sqlx::query_scalar("SELECT verified_bytes FROM blobs").fetch_one(store.library.readers()).await.unwrap();
        assert_eq!(stored.cast_unsigned(), expected, "{pieces:?}");
        assert_eq!(journal::verified_bytes(&verified, 2 * MIB as u64 + 100), expected, "both count alike");
    }
}

/// What it is, and how to put it there.
#[cfg(unix)]
type Obstacle = (&'static str, fn(&std::path::Path));

/// What can lie where a file should be, none of which can be read as one.
#[cfg(unix)]
fn unreadable() -> [Obstacle; 3] {
    [
        ("an empty folder", |path| std::fs::create_dir(path).unwrap()),
        ("a folder with something in it", |path| {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("x"), b"x").unwrap();
        }),
        // As good as any error of the disk itself.
        ("a link to itself", |path| std::os::unix::fs::symlink(path, path).unwrap()),
    ]
}

#[cfg(unix)]
#[tokio::test]
async fn a_blob_that_can_not_be_read_is_damaged_and_keeps_no_other_from_opening() {
    for (what, put) in unreadable() {
        let store = Store::open().await;
        let (other, content) = (store.here(&bytes(2, 7_000)).await, bytes(1, MIB + 100));
        let hash = store.here(&content).await;
        for at_start in [true, false] {
            std::fs::remove_file(store.path(hash)).unwrap();
            put(&store.path(hash));
            if at_start {
                assert_eq!(store.blobs.scan().await.unwrap().damaged, [hash], "{what}");
            } else {
                assert_eq!(store.blobs.locate(hash).await.unwrap(), Located::Damaged, "{what}");
            }
            assert_eq!(store.blobs.locate(hash).await.unwrap(), Located::Absent, "{what}");
            assert!(matches!(store.blobs.locate(other).await.unwrap(), Located::Here { .. }), "{what}");
            let right = store.blobs.journal().load(hash, 2).await.unwrap();
            assert!(right.is_none_or(|right| right.is_empty()), "{what}: all is fetched again");
            std::fs::write(store.blobs.part_path(hash), &content).unwrap();
            assert!(store.blobs.adopt(hash).await.unwrap(), "{what}: and the new file finds its place");
            assert!(matches!(store.blobs.locate(hash).await.unwrap(), Located::Here { .. }), "{what}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_can_not_be_removed_keeps_nothing_else_from_being_removed() {
    for (what, put) in unreadable() {
        let store = Store::open().await;
        let (first, second) = (store.here(&bytes(1, 5_000)).await, store.here(&bytes(2, 7_000)).await);
        std::fs::remove_file(store.path(first)).unwrap();
        put(&store.path(first));
        store.unrefer(first).await;
        store.unrefer(second).await;
        assert_eq!(store.blobs.sweep().await.unwrap(), 7_000, "{what}");
        assert_eq!(store.blobs.scan().await.unwrap().damaged, [], "{what}");
    }
}
