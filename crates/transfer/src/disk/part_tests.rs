use std::{os::unix::fs::FileExt as _, sync::Arc};

use carrel_model::pieces::ManifestBuilder;
use tokio::sync::oneshot;

use super::*;
use crate::disk::{
    DiskOptions, beginnings,
    spy::{Seen, Spy, SpyFiles, SpyJournal},
};

const MIB: u64 = 1 << 20;

struct Bench {
    folder: tempfile::TempDir,
    spy: Arc<Spy>,
    content: Vec<u8>,
    manifest: Arc<Manifest>,
    floor_bytes: u64,
}

impl Bench {
    fn new(bytes: u64) -> Self {
        let content: Vec<u8> =
            (0..bytes).map(|at| u8::try_from((at * 131 + at / 4093 + at / 1_000_003) % 251).unwrap()).collect();
        let mut builder = ManifestBuilder::new();
        builder.update(&content);
        let manifest = Arc::new(builder.finish());
        Self { folder: tempfile::tempdir().unwrap(), spy: Arc::default(), content, manifest, floor_bytes: 0 }
    }

    fn disk(&self) -> Disk {
        let layer = Arc::new(SpyFiles(Arc::clone(&self.spy)));
        Disk::new(DiskOptions { layer, floor_bytes: self.floor_bytes, ..DiskOptions::default() })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("blob.part")
    }

    async fn open(&self) -> Result<Opened, FetchError> {
        self.open_on(&self.disk(), self.path()).await
    }

    async fn open_on(&self, disk: &Disk, path: PathBuf) -> Result<Opened, FetchError> {
        disk.open(Arc::clone(&self.manifest), path, Arc::new(SpyJournal(Arc::clone(&self.spy)))).await
    }

    fn piece(&self, piece: u64) -> &[u8] {
        let (start, length) = self.manifest.piece_range(piece);
        &self.content[usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap()]
    }
}

async fn put(part: &Part, piece: u64, bytes: &[u8]) -> Judged {
    let mut buffer = part.0.disk.buffer(bytes.len()).await;
    buffer.extend_from_slice(bytes);
    let (told, judged) = oneshot::channel();
    part.submit(piece, buffer, move |outcome| told.send(outcome).unwrap());
    judged.await.unwrap()
}

#[tokio::test]
async fn a_file_is_put_together_in_any_order() {
    let bench = Bench::new(5 * MIB + 77);
    let part = bench.open().await.unwrap().part;
    for piece in [3, 0, 5, 1, 4, 2] {
        assert!(matches!(put(&part, piece, bench.piece(piece)).await, Judged::Right));
    }
    assert_eq!(part.state().await.unwrap(), FileState::Whole);
    part.finish(true).await.unwrap();
    assert!(std::fs::read(bench.path()).unwrap() == bench.content);
}

#[tokio::test]
async fn a_wrong_piece_is_not_written() {
    let bench = Bench::new(2 * MIB);
    let part = bench.open().await.unwrap().part;
    assert!(matches!(put(&part, 0, bench.piece(1)).await, Judged::Wrong));
    assert!(matches!(put(&part, 1, &bench.piece(1)[1..]).await, Judged::Wrong), "nor one that is too short");
    assert!(matches!(put(&part, 7, bench.piece(1)).await, Judged::Wrong), "nor one the blob doesn't have");
    assert_eq!(bench.spy.count(|seen| matches!(seen, Seen::Write(..))), 0);
}

#[tokio::test]
async fn finishing_waits_for_everything_submitted() {
    let bench = Bench::new(3 * MIB);
    let part = bench.open().await.unwrap().part;
    for piece in 0..3 {
        let mut buffer = part.0.disk.buffer(1 << 20).await;
        buffer.extend_from_slice(bench.piece(piece));
        part.submit(piece, buffer, |_| {});
    }
    part.finish(true).await.unwrap();
    assert_eq!(bench.spy.recorded(bench.manifest.hash()), [0, 1, 2]);
}

#[tokio::test]
async fn a_callback_that_panics_stops_nobody() {
    let bench = Bench::new(3 * MIB);
    let part = bench.open().await.unwrap().part;
    for piece in 0..2 {
        let mut buffer = part.0.disk.buffer(1 << 20).await;
        buffer.extend_from_slice(bench.piece(piece));
        part.submit(piece, buffer, |_| panic!("meant"));
    }
    assert!(matches!(put(&part, 2, bench.piece(2)).await, Judged::Right));
    part.finish(true).await.unwrap();
    assert_eq!(bench.spy.recorded(bench.manifest.hash()), [0, 1, 2]);
}

#[tokio::test]
async fn a_medium_that_panics_is_a_medium_that_fails() {
    let bench = Bench::new(3 * MIB);
    let opened = bench.open().await.unwrap();
    bench.spy.fail(|seen| if matches!(seen, Seen::Write(..)) { panic!("meant") } else { None });
    assert!(matches!(put(&opened.part, 0, bench.piece(0)).await, Judged::Failed(_)), "who waits is told");
    bench.spy.heal();
    assert!(matches!(put(&opened.part, 0, bench.piece(0)).await, Judged::Right));
}

#[tokio::test]
async fn what_the_journal_knows_is_claimed_and_what_it_does_not_know_is_found() {
    let bench = Bench::new(6 * MIB);
    let part = bench.open().await.unwrap().part;
    put(&part, 1, bench.piece(1)).await;
    part.finish(false).await.unwrap();
    // As if the process had died before the next checkpoint.
    bench.spy.fail(|seen| matches!(seen, Seen::Sync(_)).then_some(io::ErrorKind::Other));
    put(&part, 2, bench.piece(2)).await;
    part.finish(false).await.unwrap_err();
    bench.spy.heal();

    let opened = bench.open().await.unwrap();
    assert_eq!(opened.claimed.iter().collect::<Vec<_>>(), [1]);
    assert_eq!(opened.found, [2]);
    assert_eq!(opened.part.recheck(vec![1, 2, 3]).await.unwrap(), [(1, true), (2, true), (3, false)]);
    opened.part.finish(false).await.unwrap();
    assert_eq!(bench.spy.recorded(bench.manifest.hash()), [1, 2], "what was found is recorded too");
}

#[tokio::test]
async fn claims_beyond_the_end_of_the_file_are_not_believed() {
    let bench = Bench::new(6 * MIB);
    let part = bench.open().await.unwrap().part;
    for piece in 0..6 {
        put(&part, piece, bench.piece(piece)).await;
    }
    part.finish(true).await.unwrap();
    std::fs::File::options().write(true).open(bench.path()).unwrap().set_len(2 * MIB + 5).unwrap();
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.claimed.iter().collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_file_deleted_or_replaced_is_gone_and_one_made_shorter_is_cut() {
    let bench = Bench::new(6 * MIB);
    let part = bench.open().await.unwrap().part;
    put(&part, 0, bench.piece(0)).await;
    std::fs::File::options().write(true).open(bench.path()).unwrap().set_len(5).unwrap();
    // Long again by the next write, but the bytes before are lost.
    put(&part, 5, bench.piece(5)).await;
    assert_eq!(part.state().await.unwrap(), FileState::Cut);
    part.restore_length().await.unwrap();
    assert_eq!(part.state().await.unwrap(), FileState::Whole);
    assert_eq!(part.recheck(vec![0, 5]).await.unwrap(), [(0, false), (5, true)]);
    std::fs::write(bench.folder.path().join("other"), &bench.content).unwrap();
    std::fs::rename(bench.folder.path().join("other"), bench.path()).unwrap();
    assert_eq!(part.state().await.unwrap(), FileState::Gone, "another file has the name now");
    std::fs::remove_file(bench.path()).unwrap();
    assert_eq!(part.state().await.unwrap(), FileState::Gone);
}

#[tokio::test]
async fn a_file_somebody_wrote_into_is_to_be_looked_at_again() {
    let bench = Bench::new(6 * MIB);
    let part = bench.open().await.unwrap().part;
    for piece in 0..3 {
        put(&part, piece, bench.piece(piece)).await;
    }
    let mut noticed = false;
    // The time of a file moves in steps of a few milliseconds.
    for _ in 0..1_000 {
        std::fs::File::options().write(true).open(bench.path()).unwrap().write_all_at(b"by hand", 5).unwrap();
        noticed = part.state().await.unwrap() == FileState::Cut;
        if noticed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(noticed);
    assert_eq!(part.state().await.unwrap(), FileState::Whole, "told once");
    assert_eq!(part.recheck(vec![0, 1]).await.unwrap(), [(0, false), (1, true)]);

    std::fs::File::options().write(true).open(bench.path()).unwrap().set_len(6 * MIB).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    std::fs::File::options().write(true).open(bench.path()).unwrap().write_all_at(b"by hand", 5).unwrap();
    put(&part, 3, bench.piece(3)).await;
    assert_eq!(part.state().await.unwrap(), FileState::Cut, "our own write doesn't hide it");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_an_error_with_its_kind() {
    let bench = Bench::new(MIB);
    let missing = bench.folder.path().join("unplugged").join("blob.part");
    let outcome = bench.open_on(&bench.disk(), missing).await;
    assert!(matches!(outcome, Err(FetchError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_big_file_gets_its_room_at_once_and_a_small_one_when_it_is_written() {
    let big = Bench::new(4 * MIB);
    let part = big.open().await.unwrap().part;
    assert!(part.0.record.file.allocated_bytes().unwrap() >= 4 * MIB);
    for small in [Bench::new(4 * MIB - 1), Bench::new(30_000)] {
        let part = small.open().await.unwrap().part;
        assert_eq!(part.0.record.file.allocated_bytes().unwrap(), 0);
        assert_eq!(lock(&part.0.record.volume.ledger).promised_bytes(), small.manifest.size(), "but it is promised");
        put(&part, 0, small.piece(0)).await;
        let left = small.manifest.size() - small.piece(0).len() as u64;
        assert_eq!(lock(&part.0.record.volume.ledger).promised_bytes(), left);
        let volume = Arc::clone(&part.0.record.volume);
        drop(part);
        while Arc::strong_count(&volume) > 2 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn small_files_are_refused_room_that_is_promised_to_others() {
    let mut bench = Bench::new(30_000);
    bench.floor_bytes = 1_000_000;
    bench.spy.set_free(1_000_000 + 100_000);
    let disk = bench.disk();
    let mut open = Vec::new();
    for name in 0..3 {
        open.push(bench.open_on(&disk, bench.folder.path().join(name.to_string())).await.unwrap());
    }
    let refused = bench.open_on(&disk, bench.folder.path().join("3")).await;
    assert!(
        matches!(refused, Err(FetchError::DiskFull { needed_bytes: 30_000, free_bytes: 10_000 })),
        "the floor and three promises are left alone: {refused:?}"
    );
    open.pop();
    bench.open_on(&disk, bench.folder.path().join("3")).await.unwrap();
}

#[tokio::test]
async fn a_disk_filled_by_somebody_else_stops_the_fetch_before_the_floor() {
    let mut bench = Bench::new(3 * MIB);
    bench.floor_bytes = 50 * MIB;
    bench.spy.set_free(60 * MIB);
    let part = bench.open().await.unwrap().part;
    assert!(matches!(put(&part, 0, bench.piece(0)).await, Judged::Right));
    bench.spy.set_free(50 * MIB + 1000);
    let Judged::Failed(error) = put(&part, 1, bench.piece(1)).await else { panic!("below the floor") };
    let full = part.failure(error);
    assert!(matches!(full, FetchError::DiskFull { free_bytes: 1000, .. }), "{full:?}");
    part.finish(false).await.unwrap();
    assert_eq!(bench.spy.recorded(bench.manifest.hash()), [0], "what was right is kept");

    bench.spy.set_free(60 * MIB);
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.claimed.iter().collect::<Vec<_>>(), [0]);
    for piece in 1..3 {
        assert!(matches!(put(&opened.part, piece, bench.piece(piece)).await, Judged::Right));
    }
    opened.part.finish(true).await.unwrap();
}

#[tokio::test]
async fn a_medium_that_fails_at_any_piece_loses_nothing_verified() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::Other] {
        for fails in 0..6 {
            let bench = Bench::new(6 * MIB);
            bench.spy.fail(move |seen| match seen {
                Seen::Write(_, offset) if *offset == fails * MIB => Some(kind),
                _ => None,
            });
            let part = bench.open().await.unwrap().part;
            for piece in 0..fails {
                assert!(matches!(put(&part, piece, bench.piece(piece)).await, Judged::Right));
            }
            let Judged::Failed(error) = put(&part, fails, bench.piece(fails)).await else { panic!("it fails") };
            match (kind, part.failure(error)) {
                (io::ErrorKind::Other, FetchError::Io(_)) => {}
                (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, FetchError::DiskFull { .. }) => {}
                (kind, other) => panic!("{kind:?} became {other:?}"),
            }
            part.finish(false).await.unwrap();
            bench.spy.heal();
            let opened = bench.open().await.unwrap();
            assert_eq!(opened.claimed.len(), fails, "the next run goes on from there");
            for piece in fails..6 {
                assert!(matches!(put(&opened.part, piece, bench.piece(piece)).await, Judged::Right));
            }
            opened.part.finish(true).await.unwrap();
            assert!(std::fs::read(bench.path()).unwrap() == bench.content);
        }
    }
}

#[tokio::test]
async fn room_that_cannot_be_reserved_is_given_back() {
    let bench = Bench::new(8 * MIB);
    bench.spy.fail(|seen| matches!(seen, Seen::Allocate(_)).then_some(io::ErrorKind::StorageFull));
    let disk = bench.disk();
    let outcome = bench.open_on(&disk, bench.path()).await;
    assert!(
        matches!(outcome, Err(FetchError::DiskFull { needed_bytes, .. }) if needed_bytes == 8 * MIB),
        "{outcome:?}"
    );
    assert_eq!(std::fs::metadata(bench.path()).unwrap().len(), 0);
    let volume = disk.volume(disk.layer().id(&bench.path()).unwrap().volume);
    assert_eq!(lock(&volume.ledger).promised_bytes(), 0);
}

#[tokio::test]
async fn a_file_system_that_cannot_reserve_is_used_all_the_same() {
    let bench = Bench::new(5 * MIB);
    bench.spy.fail(|seen| matches!(seen, Seen::Allocate(_)).then_some(io::ErrorKind::Unsupported));
    let part = bench.open().await.unwrap().part;
    assert_eq!(lock(&part.0.record.volume.ledger).promised_bytes(), 5 * MIB);
    for piece in 0..5 {
        put(&part, piece, bench.piece(piece)).await;
    }
    assert_eq!(lock(&part.0.record.volume.ledger).promised_bytes(), 0);
    part.finish(true).await.unwrap();
}

#[tokio::test]
async fn an_empty_blob_is_found_at_once() {
    let bench = Bench::new(0);
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.found, [0]);
    assert_eq!(opened.part.state().await.unwrap(), FileState::Whole);
    opened.part.finish(true).await.unwrap();
    assert_eq!(std::fs::metadata(bench.path()).unwrap().len(), 0);
}

/// The step after so many bytes of a piece have come.
fn step(bench: &Bench, piece: u64, arrived: usize) -> Step {
    let length = bench.piece(piece).len();
    beginnings::Beginning::new(&bench.manifest, piece).step(&bench.piece(piece)[..arrived], length).unwrap()
}

async fn keep(part: &Part, step: Step) {
    let (told, kept) = oneshot::channel();
    part.keep(step, move || told.send(()).unwrap());
    kept.await.unwrap();
}

#[tokio::test]
async fn the_beginning_of_a_piece_is_there_after_a_kill() {
    let bench = Bench::new(4 * MIB);
    let part = bench.open().await.unwrap().part;
    put(&part, 0, bench.piece(0)).await;
    keep(&part, step(&bench, 1, 700_000)).await;
    drop(part);
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.found, [0]);
    let (piece, bytes) = &opened.begun[0];
    assert_eq!((*piece, bytes.len(), opened.begun.len()), (1, 5 * (128 << 10), 1));
    assert!(*bytes == bench.piece(1)[..bytes.len()]);
    assert!(matches!(put(&opened.part, 1, bench.piece(1)).await, Judged::Right));
    assert!(bench.open().await.unwrap().begun.is_empty(), "a complete piece has no beginning");
}

#[tokio::test]
async fn a_late_beginning_does_not_go_over_a_complete_piece() {
    let bench = Bench::new(2 * MIB);
    let part = bench.open().await.unwrap().part;
    let late = step(&bench, 1, 300_000);
    put(&part, 1, bench.piece(1)).await;
    keep(&part, late).await;
    put(&part, 0, bench.piece(0)).await;
    part.finish(true).await.unwrap();
    assert!(std::fs::read(bench.path()).unwrap() == bench.content);
}

#[tokio::test]
async fn a_beginning_that_can_not_be_kept_is_no_loss() {
    let bench = Bench::new(2 * MIB);
    let part = bench.open().await.unwrap().part;
    bench.spy.fail(|seen| matches!(seen, Seen::Write(..)).then_some(io::ErrorKind::StorageFull));
    keep(&part, step(&bench, 1, 300_000)).await;
    bench.spy.heal();
    for piece in 0..2 {
        assert!(matches!(put(&part, piece, bench.piece(piece)).await, Judged::Right));
    }
    part.finish(true).await.unwrap();
}

#[tokio::test]
async fn a_kill_while_a_piece_is_written_leaves_its_beginning() {
    let bench = Bench::new(4 * MIB);
    let part = bench.open().await.unwrap().part;
    keep(&part, step(&bench, 1, 300_000)).await;
    // As far as the first write gets, each time: what comes over the seal is the last.
    let far = MIB + (2 << 17);
    bench.spy.fail(move |seen| matches!(seen, Seen::Write(_, at) if *at <= far).then_some(io::ErrorKind::StorageFull));
    assert!(matches!(put(&part, 1, bench.piece(1)).await, Judged::Failed(_)));
    bench.spy.heal();
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.begun.iter().map(|(piece, bytes)| (*piece, bytes.len())).collect::<Vec<_>>(), [(1, 2 << 17)]);
    assert!(opened.begun[0].1 == bench.piece(1)[..2 << 17]);

    // And so it is with a longer beginning.
    bench.spy.fail(move |seen| matches!(seen, Seen::Write(_, at) if *at <= far).then_some(io::ErrorKind::StorageFull));
    keep(&opened.part, step(&bench, 1, 900_000)).await;
    bench.spy.heal();
    let opened = bench.open().await.unwrap();
    assert_eq!(opened.begun[0].1.len(), 2 << 17);
    keep(&opened.part, step(&bench, 1, 900_000)).await;
    assert_eq!(bench.open().await.unwrap().begun[0].1.len(), 6 << 17);
}
