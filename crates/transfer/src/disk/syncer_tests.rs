use std::time::Duration;

use carrel_model::pieces::{Manifest, ManifestBuilder};

use super::*;
use crate::disk::{
    Disk, DiskOptions, Judged, Part,
    spy::{Seen, Spy, SpyFiles, SpyJournal},
};

const MIB: usize = 1 << 20;

fn content(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| seed.wrapping_add(u8::try_from((at * 31 + at / 251) % 256).unwrap())).collect()
}

fn manifest_of(content: &[u8]) -> Arc<Manifest> {
    let mut builder = ManifestBuilder::new();
    builder.update(content);
    Arc::new(builder.finish())
}

struct Desk {
    folder: tempfile::TempDir,
    spy: Arc<Spy>,
    disk: Disk,
    journal: Arc<dyn Journal>,
}

struct Sheet {
    content: Vec<u8>,
    manifest: Arc<Manifest>,
    part: Part,
}

impl Desk {
    fn new() -> Self {
        let spy = Arc::new(Spy::default());
        let disk = Disk::new(DiskOptions { layer: Arc::new(SpyFiles(Arc::clone(&spy))), ..DiskOptions::default() });
        let journal = Arc::new(SpyJournal(Arc::clone(&spy)));
        Self { folder: tempfile::tempdir().unwrap(), spy, disk, journal }
    }

    async fn open(&self, name: &str, bytes: usize, seed: u8) -> Sheet {
        let content = content(bytes, seed);
        let manifest = manifest_of(&content);
        let path = self.folder.path().join(name);
        let opened = self.disk.open(Arc::clone(&manifest), path, Arc::clone(&self.journal)).await.unwrap();
        Sheet { content, manifest, part: opened.part }
    }

    async fn put(&self, sheet: &Sheet, piece: u64) -> Judged {
        let (start, length) = sheet.manifest.piece_range(piece);
        let (start, length) = (usize::try_from(start).unwrap(), usize::try_from(length).unwrap());
        let mut buffer = self.disk.buffer(length).await;
        buffer.extend_from_slice(&sheet.content[start..start + length]);
        let (told, judged) = oneshot::channel();
        sheet.part.submit(piece, buffer, move |outcome| told.send(outcome).unwrap());
        judged.await.unwrap()
    }

    /// Waits until something has been seen.
    async fn until(&self, what: impl Fn(&[Seen]) -> bool) {
        let wait = async {
            while !what(&self.spy.seen()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it happens in the end");
    }
}

fn is_store(seen: &Seen) -> bool {
    matches!(seen, Seen::Store(_))
}

#[tokio::test]
async fn a_piece_is_recorded_after_a_sync_that_began_after_its_write() {
    let desk = Desk::new();
    let sheet = desk.open("video", 20 * MIB, 1).await;
    for piece in 0..20 {
        assert!(matches!(desk.put(&sheet, piece).await, Judged::Right));
    }
    sheet.part.finish(true).await.unwrap();

    let (mut written, mut synced, mut named) = (Vec::new(), Vec::new(), false);
    let mut stores = 0;
    for seen in desk.spy.seen() {
        match seen {
            Seen::Write(_, offset) => written.push(offset / MIB as u64),
            Seen::Sync(_) => synced.clone_from(&written),
            Seen::SyncFolder => named = true,
            Seen::Store(told) => {
                stores += 1;
                assert!(named, "a record of a file whose name may vanish is ahead of it");
                for (_, pieces) in told {
                    assert!(
                        pieces.iter().all(|piece| synced.contains(piece)),
                        "{pieces:?} recorded, {synced:?} synced"
                    );
                }
            }
            Seen::Allocate(_) | Seen::SyncVolume(_) => {}
        }
    }
    assert!(stores >= 2, "one after 16 MiB, one at the end");
    assert_eq!(desk.spy.recorded(sheet.manifest.hash()).len(), 20, "everything is recorded at the end");
}

#[tokio::test]
async fn a_second_after_a_piece_it_is_recorded_though_nothing_more_comes() {
    let desk = Desk::new();
    let sheet = desk.open("video", 3 * MIB, 1).await;
    desk.put(&sheet, 1).await;
    desk.until(|seen| seen.iter().any(is_store)).await;
    assert_eq!(desk.spy.recorded(sheet.manifest.hash()), [1]);
}

#[tokio::test]
async fn blobs_that_come_due_together_share_one_commit() {
    let desk = Desk::new();
    let mut sheets = Vec::new();
    for seed in 0..3 {
        sheets.push(desk.open(&format!("video {seed}"), 2 * MIB, seed).await);
    }
    // While the first is being synced the others come due.
    desk.spy.hold_syncs(true);
    let first = desk.open("first", 2 * MIB, 9).await;
    desk.put(&first, 0).await;
    let finish = |sheet: &Sheet| {
        let part = sheet.part.clone();
        tokio::spawn(async move { part.finish(false).await })
    };
    let mut ends = vec![finish(&first)];
    while !lock(&first.part.record().state).waiters.is_empty() || lock(&first.part.record().state).unsynced_bytes > 0 {
        tokio::task::yield_now().await;
    }
    for sheet in &sheets {
        desk.put(sheet, 0).await;
        ends.push(finish(sheet));
        while lock(&sheet.part.record().state).waiters.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    desk.spy.hold_syncs(false);
    for end in ends {
        end.await.unwrap().unwrap();
    }
    let stores: Vec<_> = desk
        .spy
        .seen()
        .into_iter()
        .filter_map(|seen| if let Seen::Store(told) = seen { Some(told.len()) } else { None })
        .collect();
    assert_eq!(stores, [1, 3]);
}

/// Finishes six small files while a first one is being synced; says what was done from then on.
async fn six_small_files(desk: &Desk) -> (Vec<Result<(), FetchError>>, Vec<Seen>) {
    let before = desk.spy.seen().len();
    let mut sheets = Vec::new();
    for seed in 0..7 {
        sheets.push(desk.open(&format!("small {seed}"), 30_000, seed).await);
        desk.put(&sheets[usize::from(seed)], 0).await;
    }
    let writes = desk.spy.seen()[before..].iter().all(|seen| matches!(seen, Seen::Write(..)));
    assert!(writes, "nothing is done before they are complete");
    desk.spy.hold_syncs(true);
    let mut ends = Vec::new();
    for (at, sheet) in sheets.iter().enumerate() {
        let part = sheet.part.clone();
        ends.push(tokio::spawn(async move { part.finish(true).await }));
        // The first is taken by the task, which then stands at the gate; the others wait for it.
        let wait = async {
            while !lock(&sheet.part.record().state).complete
                || (at == 0) != lock(&sheet.part.record().state).waiters.is_empty()
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it comes to that");
    }
    desk.spy.hold_syncs(false);
    let mut outcomes = Vec::new();
    for end in ends.into_iter().skip(1) {
        outcomes.push(end.await.unwrap());
    }
    let seen = desk.spy.seen().split_off(before);
    let mark = seen.iter().position(|seen| matches!(seen, Seen::SyncFolder)).unwrap();
    (outcomes, seen[mark + 1..].to_vec())
}

#[tokio::test]
async fn many_small_files_share_one_durable_commit_and_no_record() {
    let desk = Desk::new();
    let (outcomes, seen) = six_small_files(&desk).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(seen, [Seen::SyncVolume("small 1".to_owned())], "by the file that was opened first");
}

#[tokio::test]
async fn where_a_volume_cannot_be_synced_each_file_is_and_the_folder_once() {
    let desk = Desk::new();
    desk.spy.forbid_volume_sync();
    let (outcomes, seen) = six_small_files(&desk).await;
    assert!(outcomes.iter().all(Result::is_ok));
    let mut expected: Vec<_> = (1..7).map(|seed| Seen::Sync(format!("small {seed}"))).collect();
    expected.push(Seen::SyncFolder);
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_failed_sync_of_the_volume_is_the_failure_of_the_file_that_has_it() {
    let desk = Desk::new();
    desk.spy.fail(|seen| match seen {
        Seen::SyncVolume(_) => Some(io::ErrorKind::Other),
        Seen::Sync(name) if name == "small 4" => Some(io::ErrorKind::Other),
        _ => None,
    });
    let (outcomes, _) = six_small_files(&desk).await;
    let failed: Vec<_> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, false, true, false, false]);
    // Whose turn hadn't come may have failed with it, and the volume wouldn't say so again.
    desk.spy.heal();
    let (outcomes, seen) = six_small_files(&desk).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(seen.iter().filter(|seen| matches!(seen, Seen::Sync(_))).count(), 6, "each answers for itself");
}

#[tokio::test]
async fn names_that_cannot_be_made_durable_are_no_success() {
    let desk = Desk::new();
    desk.spy.fail(|seen| (*seen == Seen::SyncFolder).then_some(io::ErrorKind::Other));
    let sheet = desk.open("small", 1_000, 3).await;
    desk.put(&sheet, 0).await;
    assert!(matches!(sheet.part.finish(true).await, Err(FetchError::Io(_))));
}

#[tokio::test]
async fn nothing_is_recorded_after_a_failed_sync() {
    let desk = Desk::new();
    let sheet = desk.open("video", 3 * MIB, 1).await;
    desk.put(&sheet, 0).await;
    desk.spy.fail(|seen| matches!(seen, Seen::Sync(_)).then_some(io::ErrorKind::NotConnected));
    assert!(matches!(sheet.part.finish(false).await, Err(FetchError::Io(_))));
    assert!(sheet.part.has_failed());
    let again = sheet.part.finish(false).await;
    assert!(
        matches!(&again, Err(FetchError::Io(error)) if error.kind() == io::ErrorKind::NotConnected),
        "told again: {again:?}"
    );
    desk.spy.heal();
    desk.put(&sheet, 1).await;
    assert!(sheet.part.finish(true).await.is_err(), "a later success proves nothing about the bytes before");
    assert_eq!(desk.spy.count(is_store), 0);
}

#[tokio::test]
async fn a_journal_that_fails_ends_the_fetch_with_its_error() {
    let desk = Desk::new();
    let sheet = desk.open("video", 3 * MIB, 1).await;
    desk.put(&sheet, 0).await;
    desk.spy.fail(|seen| is_store(seen).then_some(io::ErrorKind::Other));
    assert!(matches!(sheet.part.finish(false).await, Err(FetchError::Journal(_))));
}

#[tokio::test]
async fn what_was_written_when_the_fetch_is_dropped_is_recorded_all_the_same() {
    let desk = Desk::new();
    let sheet = desk.open("video", 3 * MIB, 1).await;
    desk.put(&sheet, 2).await;
    let blob = sheet.manifest.hash();
    drop(sheet);
    desk.until(|seen| seen.iter().any(is_store)).await;
    assert_eq!(desk.spy.recorded(blob), [2]);
}

#[tokio::test]
async fn a_lost_piece_is_taken_out_of_the_record() {
    let desk = Desk::new();
    let sheet = desk.open("video", 3 * MIB, 1).await;
    for piece in 0..3 {
        desk.put(&sheet, piece).await;
    }
    sheet.part.finish(false).await.unwrap();
    sheet.part.lost(1);
    sheet.part.finish(false).await.unwrap();
    assert_eq!(desk.spy.recorded(sheet.manifest.hash()), [0, 2]);
}

#[test]
fn a_runtime_that_ends_leaves_the_rest_to_the_next() {
    let desk = Desk::new();
    let first = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sheet = first.block_on(async {
        let sheet = desk.open("video", 3 * MIB, 1).await;
        desk.put(&sheet, 0).await;
        tokio::task::yield_now().await;
        sheet
    });
    let (manifest, blob) = (Arc::clone(&sheet.manifest), sheet.manifest.hash());
    drop(first);
    drop(sheet);
    let second = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    second.block_on(async {
        let path = desk.folder.path().join("video");
        let opened = desk.disk.open(manifest, path, Arc::clone(&desk.journal)).await.unwrap();
        assert_eq!(opened.found, [0], "found by its hash");
        opened.part.finish(false).await.unwrap();
    });
    assert_eq!(desk.spy.recorded(blob), [0]);
}

#[test]
fn news_for_a_runtime_that_is_gone_stop_nobody() {
    let desk = Desk::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let orphan = first.block_on(desk.open("orphan", 3 * MIB, 1));
    drop(first);
    let second = runtime();
    second.block_on(async {
        assert!(matches!(desk.put(&orphan, 0).await, Judged::Right));
        let sheet = desk.open("video", 3 * MIB, 2).await;
        desk.put(&sheet, 0).await;
        let finishing = tokio::time::timeout(Duration::from_secs(20), sheet.part.finish(false));
        finishing.await.expect("it ends").unwrap();
        assert_eq!(desk.spy.recorded(sheet.manifest.hash()), [0]);
    });
}

#[tokio::test]
async fn a_sync_that_is_broken_off_proves_nothing() {
    let desk = Desk::new();
    let sheet = desk.open("video", 3 * MIB, 1).await;
    desk.put(&sheet, 0).await;
    desk.spy.fail(|seen| if matches!(seen, Seen::Sync(_)) { panic!("meant") } else { None });
    assert!(sheet.part.finish(false).await.is_err());
    desk.spy.heal();
    assert!(sheet.part.finish(true).await.is_err());
    assert_eq!(desk.spy.count(is_store), 0);
}
