//! What a learner does to downloads.

use super::*;

#[tokio::test]
async fn pausing_keeps_verified_bytes_and_cancelling_lets_them_go() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, hash, origin) = school.one_video(5, bytes(1, 8 * MIB)).await;
    origin.throttle(4 * MIB as u64);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done >= 2 * MIB as u64).await;
    let paused = device.downloads.pause(id(1), started.id).await.unwrap();
    assert_eq!(paused.state, DownloadState::Paused);
    eventually(async || {
        let seen = device.view(1, started.id).await;
        let writing = device.blobs.begin_writing(hash);
        if writing.is_some() && seen.bytes_done >= 2 * MIB as u64 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let twice = device.downloads.pause(id(1), started.id).await;
    assert!(matches!(twice, Err(EngineError::Refused(ErrorCode::WrongState))), "{twice:?}");
    device.downloads.resume(id(1), started.id).await.unwrap();
    device.until(1, started.id, |view| view.state == DownloadState::Downloading).await;
    device.downloads.cancel(id(1), started.id).await.unwrap();
    eventually(
        async || if files(folder.path()).is_empty() { Ok(()) } else { Err(format!("{:?}", files(folder.path()))) },
    )
    .await;
    origin.throttle(400 * MIB as u64);
    let again = device.downloads.retry(id(1), started.id).await.unwrap();
    assert_eq!(again.id, started.id, "it is the same wish");
    device.until_complete(1, started.id).await;
}

#[tokio::test]
async fn moving_changes_the_order_and_survives_many_moves_to_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Offline);
    let device = Device::open(folder.path(), &school).await;
    let mut ids = Vec::new();
    for n in 0..4 {
        let (unit, ..) = school.one_video(5 + n, bytes(u8::try_from(n).unwrap(), 1_000)).await;
        ids.push(device.start(1, unit).await.unwrap().id);
    }
    let profile: ProfileId = id(1);
    let [a, b, c, d] = ids[..] else { panic!("four") };
    for turn in 0..60 {
        // The last always goes to second place: the gap before `b` is halved each time.
        let moved = if turn % 2 == 0 { d } else { c };
        device.downloads.reorder(profile, MoveDownload { download_id: moved, before: Some(b) }).await.unwrap();
    }
    let order =
        |view: crate::downloads::view::DownloadsView| view.downloads.into_iter().map(|d| d.id).collect::<Vec<_>>();
    assert_eq!(order(device.downloads.list(profile).await.unwrap()), [a, d, c, b]);
    device.downloads.reorder(profile, MoveDownload { download_id: a, before: None }).await.unwrap();
    assert_eq!(order(device.downloads.list(profile).await.unwrap()), [d, c, b, a]);
    let first = SetPriority { download_id: b, priority: 9 };
    assert_eq!(device.downloads.set_priority(profile, first).await.unwrap().priority, 9);
    assert_eq!(order(device.downloads.list(profile).await.unwrap()), [b, d, c, a], "priority before position");
    for priority in [0, 11] {
        let refused = device.downloads.set_priority(profile, SetPriority { download_id: b, priority }).await;
        assert!(matches!(refused, Err(EngineError::Invalid(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_downloads_at_once_counts_from_now_on() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.settings.lock().unwrap().concurrency = 1;
    let mut units = Vec::new();
    for n in [5, 6] {
        let (unit, _, origin) = school.one_video(n, bytes(u8::try_from(n).unwrap(), 8 * MIB)).await;
        origin.throttle(64 * 1024);
        units.push(unit);
    }
    let device = Device::open(folder.path(), &school).await;
    let first = device.start(1, units[0]).await.unwrap();
    device.until(1, first.id, |view| view.state == DownloadState::Downloading).await;
    let second = device.start(1, units[1]).await.unwrap();
    device.until(1, second.id, |view| view.state == DownloadState::Pending).await;

    let chosen = crate::settings::Settings { concurrency: 2, ..Default::default() };
    *school.settings.lock().unwrap() = chosen.clone();
    let settings = device.settings(&school).await;
    settings.set(id(1), chosen).await.unwrap();
    device.until(1, second.id, |view| view.state == DownloadState::Downloading).await;
    device.kill().await;
}
