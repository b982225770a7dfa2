//! Kills, damaged files, full disks, networks that go: each ends well or with its reason.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_by_itself_after_a_kill_and_fetches_no_verified_piece_twice() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let size = 12 * MIB;
    let (unit, hash, origin) = school.one_video(5, bytes(1, size)).await;
    origin.throttle(4 * MIB as u64);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done >= 5 * MIB as u64).await;
    device.kill().await;

    origin.throttle(400 * MIB as u64);
    let asked_before = origin.seen().len();
    let device = Device::open(folder.path(), &school).await;
    device.until_complete(1, started.id).await;
    let resumed =
        origin.seen()[asked_before..].iter().filter_map(|seen| seen.range).map(|(from, _)| from).min().unwrap();
    assert!(resumed >= 5 * MIB as u64, "it began at {resumed}, after what was verified");
    assert!(device.blobs.verify(hash).await.unwrap(), "and the file is right");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_altered_while_it_is_written_is_not_called_complete() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, hash, origin) = school.one_video(5, bytes(1, 8 * MIB)).await;
    origin.throttle(4 * MIB as u64);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done >= 3 * MIB as u64).await;
    {
        use std::io::{Seek as _, Write as _};
        let part = folder.path().join(format!("partial/{hash}.part"));
        let mut file = std::fs::OpenOptions::new().write(true).open(part).unwrap();
        file.seek(std::io::SeekFrom::Start(500_000)).unwrap();
        file.write_all(b"RUBBISH").unwrap();
    }
    device.until_complete(1, started.id).await;
    let path = folder.path().join(format!("blobs/{}/{hash}", &hash.to_string()[..2]));
    assert!(std::fs::read(path).unwrap() == bytes(1, 8 * MIB), "what is called complete is what was published");
    assert_eq!(origin.body_bytes(), 9 * MIB as u64, "and only the altered piece was fetched again");
}

#[tokio::test]
async fn a_damaged_file_is_noticed_at_start_and_only_its_damaged_piece_is_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, hash, origin) = school.one_video(5, bytes(1, 6 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until_complete(1, started.id).await;
    device.kill().await;

    let path = folder.path().join(format!("blobs/{}/{hash}", &hash.to_string()[..2]));
    let mut content = std::fs::read(&path).unwrap();
    content[3 * MIB + 17] ^= 1;
    std::fs::write(&path, &content).unwrap();
    let before = origin.body_bytes();
    school.go(NetworkState::Offline);
    let device = Device::open(folder.path(), &school).await;
    let noticed = device.until(1, started.id, |view| view.wait_reason.is_some()).await;
    assert_eq!(
        (noticed.state, noticed.error),
        (DownloadState::Pending, Some(ErrorCode::Damaged)),
        "not ready any more"
    );
    assert_eq!(noticed.bytes_done, 5 * MIB as u64, "what is right counts");
    school.go(NetworkState::Online);
    let mended = device.until_complete(1, started.id).await;
    assert_eq!(mended.error, None);
    assert_eq!(origin.body_bytes() - before, MIB as u64, "one piece was fetched");
    assert!(device.blobs.verify(hash).await.unwrap());
}

#[tokio::test]
async fn a_full_disk_is_refused_early_with_the_numbers_and_queued_bytes_are_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Offline);
    let (first, ..) = school.one_video(5, bytes(1, 6 * MIB)).await;
    let (second, ..) = school.one_video(6, bytes(2, 6 * MIB)).await;
    // 64 MiB of which 16 stay free: room for 10.
    let facts = DiskFacts { total_bytes: 64 * MIB as u64, free_bytes: 26 * MIB as u64 };
    let disk = std::sync::Arc::new(TestDisk(Mutex::new(facts)));
    let device = Device::open_with(folder.path(), &school, disk.clone()).await;
    device.start(1, first).await.unwrap();
    let refused = device.start(1, second).await.unwrap_err();
    let (needed, available) = (6 * MIB as u64, 4 * MIB as u64);
    assert!(
        matches!(refused, EngineError::StorageFull { needed: n, available: a } if (n, a) == (needed, available)),
        "{refused:?}"
    );
    assert_eq!(device.downloads.list(id(1)).await.unwrap().downloads.len(), 1, "nothing was written of it");
    disk.0.lock().unwrap().free_bytes = 40 * MIB as u64;
    device.start(1, second).await.unwrap();
}

#[tokio::test]
async fn waits_with_a_reason_while_there_is_no_network_and_goes_on_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, ..) = school.one_video(5, bytes(1, 2 * MIB)).await;
    school.go(NetworkState::Offline);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    let waits = |reason| move |view: &crate::downloads::view::DownloadView| view.wait_reason == Some(reason);
    device.until(1, started.id, waits(WaitReason::Network)).await;
    school.go(NetworkState::Limited);
    device.until(1, started.id, waits(WaitReason::Server)).await;
    school.signed_in.lock().unwrap().clear();
    school.go(NetworkState::Online);
    device.until(1, started.id, waits(WaitReason::SignIn)).await;
    school.signed_in.lock().unwrap().insert(id(1));
    device.downloads.wake();
    device.until_complete(1, started.id).await;
}

#[tokio::test]
async fn gives_up_after_three_rounds_with_a_reason_and_tries_again_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, _, origin) = school.one_video(5, bytes(1, MIB)).await;
    origin.always(Act::status(500));
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    let failed = eventually(async || {
        let view = device.view(1, started.id).await;
        if view.state == DownloadState::Failed {
            return Ok(view);
        }
        if view.wait_reason == Some(WaitReason::Server) {
            school.clock.advance(600_000);
            device.downloads.wake();
        }
        Err(format!("{view:?}"))
    })
    .await;
    assert!(origin.seen().len() >= 3, "each round asked");
    assert_eq!(failed.error, Some(ErrorCode::ServiceFailed));
    origin.always(Act::Serve);
    device.downloads.retry(id(1), started.id).await.unwrap();
    device.until_complete(1, started.id).await;
}

/// Alters one byte in each of these pieces of a file.
fn damage(path: &std::path::Path, pieces: &[usize]) {
    let mut content = std::fs::read(path).unwrap();
    for piece in pieces {
        content[piece * MIB + 17] ^= 1;
    }
    std::fs::write(path, &content).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_of_three_damaged_pieces_fetches_three_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, hash, origin) = school.one_video(5, bytes(1, 64 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until_complete(1, started.id).await;
    device.kill().await;
    damage(&folder.path().join(format!("blobs/{}/{hash}", &hash.to_string()[..2])), &[2, 31, 63]);
    let before = origin.body_bytes();
    let device = Device::open(folder.path(), &school).await;
    device.until_complete(1, started.id).await;
    assert_eq!(origin.body_bytes() - before, 3 * MIB as u64, "and not a byte more");
    assert!(device.blobs.verify(hash).await.unwrap());
}

#[tokio::test]
async fn bytes_that_are_wrong_at_the_service_end_as_damaged_after_a_few_looks() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, _, origin) = school.one_video(5, bytes(1, 6 * MIB)).await;
    origin.always(Act::Changed(vec![2 * MIB as u64 + 5]));
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    let failed = device.until(1, started.id, |view| view.state == DownloadState::Failed).await;
    assert_eq!(failed.error, Some(ErrorCode::Damaged), "in its own words");
    assert_eq!(failed.bytes_done, 5 * MIB as u64, "what is right is kept");
    assert!(origin.body_bytes() <= 12 * MIB as u64, "{} bytes for one wrong byte", origin.body_bytes());
    origin.always(Act::Serve);
    device.downloads.retry(id(1), started.id).await.unwrap();
    device.until_complete(1, started.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_file_that_somebody_deletes_or_cuts_is_mended_by_itself() {
    for cut in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let school = School::new();
        let (unit, hash, origin) = school.one_video(5, bytes(1, 8 * MIB)).await;
        origin.throttle(4 * MIB as u64);
        let device = Device::open(folder.path(), &school).await;
        let started = device.start(1, unit).await.unwrap();
        device.until(1, started.id, |view| view.bytes_done >= 3 * MIB as u64).await;
        let part = folder.path().join(format!("partial/{hash}.part"));
        if cut {
            std::fs::OpenOptions::new().write(true).open(&part).unwrap().set_len(MIB as u64 + 9).unwrap();
        } else {
            std::fs::remove_file(&part).unwrap();
        }
        origin.throttle(400 * MIB as u64);
        let done = device.until(1, started.id, |view| {
            // Where it waits, it is for something that ends by itself.
            if view.wait_reason.is_some() {
                school.clock.advance(60_000);
                device.downloads.wake();
            }
            view.state == DownloadState::Completed
        });
        assert_eq!(done.await.error, None, "cut: {cut}");
        assert!(device.blobs.verify(hash).await.unwrap());
    }
}

#[tokio::test]
async fn what_is_played_is_fetched_before_what_was_asked_for_earlier() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.settings.lock().unwrap().concurrency = 1;
    school.go(NetworkState::Offline);
    let mut videos = Vec::new();
    for n in [5, 6, 7] {
        videos.push(school.one_video(n, bytes(u8::try_from(n).unwrap(), 5 * MIB)).await);
    }
    let device = Device::open(folder.path(), &school).await;
    let mut ids = Vec::new();
    school.go(NetworkState::Limited);
    for (unit, ..) in &videos {
        ids.push(device.start(1, *unit).await.unwrap().id);
    }
    for (_, _, origin) in &videos {
        origin.throttle(2 * MIB as u64);
    }
    let _ = device.playback.content(id(1), id(71), None).await;
    device.downloads.plays([videos[2].1]);
    school.go(NetworkState::Online);
    device.until(1, ids[2], |view| view.state == DownloadState::Downloading).await;
    assert_eq!(device.view(1, ids[0]).await.state, DownloadState::Pending, "it waits for its turn");
    device.kill().await;
}

#[tokio::test]
async fn a_drive_that_was_pulled_out_is_waited_for() {
    let (folder, drive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let school = School::new();
    let (first, ..) = school.one_video(5, bytes(1, 2 * MIB)).await;
    let (second, ..) = school.one_video(6, bytes(2, 2 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let here = device.start(1, first).await.unwrap();
    device.until_complete(1, here.id).await;
    let (store, away) = (drive.path().join("carrel"), drive.path().join("away"));
    device.blobs.move_to(&store).await.unwrap();
    std::fs::rename(&store, &away).unwrap();
    device.kill().await;

    let device = Device::open(folder.path(), &school).await;
    assert!(!device.storage.place().await.is_here, "the app can say so");
    assert_eq!(device.view(1, here.id).await.state, DownloadState::Completed, "no record is touched");
    assert!(matches!(device.start(1, second).await, Err(EngineError::Io { .. })), "there is no room to reserve");
    device.kill().await;
    std::fs::rename(&away, &store).unwrap();
    let device = Device::open(folder.path(), &school).await;
    let coming = device.start(1, second).await.unwrap();
    device.until_complete(1, coming.id).await;
    std::fs::rename(&store, &away).unwrap();
    let (third, ..) = school.one_video(7, bytes(3, 2 * MIB)).await;
    assert!(device.start(1, third).await.is_err());
    std::fs::rename(&away, &store).unwrap();
    let coming = device.start(1, third).await.unwrap();
    device.until_complete(1, coming.id).await;
    assert!(files_of(&store) >= 3, "and they are on it");
}

fn files_of(store: &std::path::Path) -> usize {
    let folders = std::fs::read_dir(store.join("blobs")).unwrap().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).unwrap().count()).sum()
}
