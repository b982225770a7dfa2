//! Going on: after a pause, with a file somebody touched, on a full disk.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    sync::Arc,
    time::Duration,
};

use carrel_model::{
    BlobHash,
    pieces::{Manifest, fold, piece_count},
};
use carrel_testbed::http_origin::Act;
use carrel_transfer::{
    Checkpoint, FetchError, FetchRequest, Fetched, FixedSources, Journal as _, NoJournal, PieceSet, State,
};
use rig::{MIB, Rig};

const SIZE: u64 = 6 * MIB + 5;

/// A rig whose first fetch ended after a little more than three pieces.
async fn interrupted() -> Rig {
    let rig = Rig::new(SIZE).await;
    rig.origin.script([Act::CutAfter(3 * MIB + 5000)]);
    rig.origin.always(Act::status(404));
    assert!(matches!(rig.fetch().await, Err(FetchError::Gone)));
    rig.origin.always(Act::Serve);
    let known = rig.journal().load(rig.manifest.hash(), 7).await.unwrap().unwrap();
    assert_eq!(known.iter().collect::<Vec<_>>(), [0, 1, 2], "an end of any kind records what is verified");
    rig
}

#[tokio::test]
async fn goes_on_from_verified_pieces() {
    let rig = interrupted().await;
    let fetched = rig.survives().await;
    assert_eq!(fetched.bytes_fetched, SIZE - 3 * MIB);
}

#[tokio::test]
async fn finds_pieces_the_journal_does_not_know() {
    let rig = interrupted().await;
    fs::remove_file(rig.folder.path().join("journal")).unwrap();
    assert_eq!(rig.survives().await.bytes_fetched, SIZE - 3 * MIB);
    fs::write(rig.folder.path().join("journal"), "rubbish").unwrap();
    assert_eq!(rig.survives().await.bytes_fetched, 0, "a complete file needs nothing");
}

#[tokio::test]
async fn a_damaged_piece_on_disk_is_fetched_again_alone() {
    let rig = interrupted().await;
    let mut file = fs::OpenOptions::new().write(true).open(rig.path()).unwrap();
    file.seek(SeekFrom::Start(MIB + 77)).unwrap();
    file.write_all(b"edited").unwrap();
    let fetched = rig.survives().await;
    assert_eq!(fetched.bytes_fetched, SIZE - 2 * MIB);
    assert_eq!(rig.ranges().last(), Some(&(MIB, 2 * MIB - 1)));
}

#[tokio::test]
async fn a_truncated_file_loses_only_what_was_cut() {
    let rig = interrupted().await;
    fs::OpenOptions::new().write(true).open(rig.path()).unwrap().set_len(2 * MIB + 9).unwrap();
    assert_eq!(rig.survives().await.bytes_fetched, SIZE - 2 * MIB);
}

#[tokio::test]
async fn a_file_that_grew_is_cut_to_the_blob() {
    let rig = interrupted().await;
    fs::OpenOptions::new().write(true).open(rig.path()).unwrap().set_len(SIZE + 1000).unwrap();
    rig.survives().await;
}

#[tokio::test]
async fn a_deleted_file_is_fetched_anew() {
    let rig = interrupted().await;
    fs::remove_file(rig.path()).unwrap();
    assert_eq!(rig.survives().await.bytes_fetched, SIZE);
}

#[tokio::test]
async fn a_journal_that_claims_too_much_is_not_believed() {
    let rig = Rig::new(SIZE).await;
    fs::File::create(rig.path()).unwrap().set_len(SIZE).unwrap();
    let mut everything = PieceSet::new(7);
    (0..7).for_each(|piece| assert!(everything.insert(piece)));
    rig.journal().store(&[Checkpoint { blob: rig.manifest.hash(), verified: everything }]).await.unwrap();
    assert_eq!(rig.survives().await.bytes_fetched, SIZE);
}

/// Does this to the part file when two pieces of it are verified, and the same fetch must still end well.
async fn survives_a_hand_in_the_file(act: impl FnOnce(&Rig)) -> (Rig, Fetched) {
    let rig = Rig::new(SIZE).await;
    rig.origin.throttle(8 * MIB);
    let mut progress = rig.control.progress();
    let touch = async {
        progress.wait_for(|progress| progress.bytes_verified >= 2 * MIB).await.unwrap();
        act(&rig);
    };
    let (fetched, ()) = tokio::join!(rig.fetch(), touch);
    rig.assert_file();
    let fetched = fetched.unwrap();
    (rig, fetched)
}

#[tokio::test]
async fn a_file_deleted_meanwhile_is_made_anew_in_the_same_run() {
    let (_, fetched) = survives_a_hand_in_the_file(|rig| fs::remove_file(rig.path()).unwrap()).await;
    assert!(fetched.bytes_fetched > SIZE);
}

#[tokio::test]
async fn a_file_replaced_meanwhile_is_continued_from_what_is_right_in_it() {
    survives_a_hand_in_the_file(|rig| {
        fs::write(rig.folder.path().join("other"), b"something else").unwrap();
        fs::rename(rig.folder.path().join("other"), rig.path()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_file_cut_meanwhile_gets_back_only_what_was_lost() {
    let cut = |rig: &Rig| fs::OpenOptions::new().write(true).open(rig.path()).unwrap().set_len(MIB).unwrap();
    let (_, fetched) = survives_a_hand_in_the_file(cut).await;
    assert!(fetched.bytes_fetched > SIZE && fetched.bytes_fetched < 2 * SIZE - MIB);
}

#[tokio::test]
async fn a_file_edited_meanwhile_gets_back_only_the_damaged_piece() {
    let edit = |rig: &Rig| {
        let mut file = fs::OpenOptions::new().write(true).open(rig.path()).unwrap();
        file.seek(SeekFrom::Start(77)).unwrap();
        file.write_all(b"edited").unwrap();
    };
    let (_, fetched) = survives_a_hand_in_the_file(edit).await;
    assert_eq!(fetched.bytes_fetched, SIZE + MIB);
}

#[tokio::test]
async fn pauses_and_goes_on() {
    let rig = Rig::new(SIZE).await;
    rig.origin.throttle(4 * MIB);
    let mut progress = rig.control.progress();
    let pause = async {
        progress.wait_for(|progress| progress.bytes_verified >= 2 * MIB).await.unwrap();
        rig.control.pause();
    };
    let (paused, ()) = tokio::join!(rig.fetch(), pause);
    assert!(matches!(paused, Err(FetchError::Paused)));
    let known = rig.journal().load(rig.manifest.hash(), 7).await.unwrap().unwrap();
    assert!(known.len() >= 2);

    let rig = Rig { control: carrel_transfer::Control::new(), ..rig };
    rig.origin.throttle(0);
    let progress = rig.control.progress();
    let fetched = rig.survives().await;
    assert!(fetched.bytes_fetched <= SIZE - 2 * MIB);
    let last = *progress.borrow();
    assert_eq!((last.state, last.bytes_verified, last.bytes_total), (State::Complete, SIZE, SIZE));
}

#[tokio::test]
async fn cancels_while_nothing_arrives() {
    let rig = Rig::new(SIZE).await;
    rig.origin.always(Act::Silent);
    let mut progress = rig.control.progress();
    let cancel = async {
        progress.wait_for(|progress| progress.state == State::Fetching).await.unwrap();
        rig.control.cancel();
    };
    let (cancelled, ()) = tokio::join!(rig.fetch(), cancel);
    assert!(matches!(cancelled, Err(FetchError::Cancelled)));
}

#[tokio::test]
async fn a_changed_network_means_a_new_connection_at_once() {
    let rig = Rig::new(SIZE).await;
    rig.origin.script([Act::StallAfter(MIB + 5000)]);
    let mut progress = rig.control.progress();
    let nudge = async {
        progress.wait_for(|progress| progress.state == State::Fetching).await.unwrap();
        let begun = tokio::time::Instant::now();
        while rig.origin.body_bytes() < MIB + 5000 {
            tokio::task::yield_now().await;
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        rig.control.reconnect();
    };
    let (fetched, ()) = tokio::join!(rig.fetch(), nudge);
    fetched.unwrap();
    rig.assert_file();
}

#[tokio::test]
async fn a_full_disk_is_told_before_the_first_byte() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(1).await;
    // A terabyte that nobody has: consistent, as a piece list folds into a hash whatever it holds.
    let size = 1 << 40;
    let pieces = vec![[7; 32]; usize::try_from(piece_count(size)).unwrap()];
    let hash: BlobHash = fold(&pieces).unwrap();
    let request = FetchRequest::new(Manifest::new(hash, size, pieces).unwrap(), folder.path().join("blob.part"));
    let sources = Arc::new(FixedSources(vec![rig.origin.url("/").parse().unwrap()]));
    let fetched = rig.fetcher().fetch(request, sources, Arc::new(NoJournal), rig.control.clone()).await;
    let Err(FetchError::DiskFull { needed_bytes, free_bytes }) = fetched else { panic!("{fetched:?}") };
    assert!(needed_bytes == size && free_bytes < size);
    assert!(rig.origin.seen().is_empty());
    assert_eq!(fs::metadata(folder.path().join("blob.part")).unwrap().len(), 0, "no room is kept");
}
