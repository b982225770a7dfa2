//! Many wishes, and large ones: they are written quickly, and as wholes.

use super::*;

/// A unit of so many small documents; their bytes are never served.
fn library_of(
    school: &School,
    n: u32,
    items: u32,
    origin: &std::sync::Arc<carrel_testbed::http_origin::Origin>,
) -> carrel_model::UnitId {
    let asset = |item: u32| {
        let hash = school.know(&[n.to_le_bytes(), item.to_le_bytes()].concat(), origin);
        school.asset(
            n * 100_000 + item,
            AssetKind::Document,
            Some(id(n * 100_000 + 50_000 + item)),
            &[(Quality::Medium, hash)],
        )
    };
    let assets = (0..items).map(asset).collect();
    school.publish(n, None, assets)
}

async fn counted(device: &Device, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(device.library.readers()).await.unwrap()
}

#[tokio::test]
async fn the_small_units_of_a_course_are_granted_in_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Offline);
    let origin = std::sync::Arc::new(carrel_testbed::http_origin::Origin::start(Vec::new()).await.unwrap());
    let mut units: Vec<_> = (1..=30).map(|n| library_of(&school, n, 3, &origin)).collect();
    // Two units with the same bytes: each has them, and they are one blob.
    let shared = school.know(b"shared", &origin);
    for n in [31, 32] {
        let asset =
            school.asset(n * 100_000, AssetKind::Audio, Some(id(n * 100_000 + 1)), &[(Quality::Medium, shared)]);
        units.push(school.publish(n, None, vec![asset]));
    }
    let device = Device::open(folder.path(), &school).await;
    let wish = |unit_id: &carrel_model::UnitId| StartDownload { unit_id: *unit_id, lesson_id: None, quality: None };
    let refused = device.downloads.start_all(id(1), units.iter().map(wish).collect()).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(*school.asked_for_grants.lock().unwrap(), 1, "for all of them");
    let all = device.downloads.list(id(1)).await.unwrap().downloads;
    assert_eq!(all.iter().map(|view| view.unit_id).collect::<Vec<_>>(), units, "in the order they were asked for");
    let bytes: Vec<u64> = all.iter().map(|view| view.bytes_total).collect();
    assert_eq!((bytes[0], bytes[30], bytes[31]), (24, 6, 6), "each has the bytes of its own items");
    assert_eq!(counted(&device, "SELECT COUNT(*) FROM download_items").await, 92);
    assert_eq!(counted(&device, "SELECT COUNT(*) FROM blobs").await, 91, "the shared one once");
    let again = device.downloads.start_all(id(1), units.iter().map(wish).collect()).await.unwrap();
    assert!(again.is_empty());
    assert_eq!(*school.asked_for_grants.lock().unwrap(), 1, "what is queued needs no question");
    assert_eq!(device.downloads.list(id(1)).await.unwrap().downloads.len(), 32);
}

#[tokio::test]
async fn a_unit_of_thousands_is_written_in_parts_and_a_crash_leaves_no_half_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Offline);
    let origin = std::sync::Arc::new(carrel_testbed::http_origin::Origin::start(Vec::new()).await.unwrap());
    let unit = library_of(&school, 1, 4_500, &origin);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    assert_eq!((started.bytes_total, started.bytes_done), (4_500 * 8, 0));
    assert_eq!(counted(&device, "SELECT COUNT(*) FROM download_items WHERE leads AND missing").await, 4_500);
    assert_eq!(counted(&device, "SELECT COUNT(DISTINCT ordinal) FROM download_items").await, 4_500, "in one order");
    let rest = "SELECT blobs_missing FROM downloads WHERE expanding = 0";
    assert_eq!(counted(&device, rest).await, 4_500, "and it is complete when all of them are");

    // As a kill between two of its transactions leaves it.
    let mut tx = device.library.write().await.unwrap();
    for sql in
        ["DELETE FROM download_items WHERE ordinal >= 2000", "UPDATE downloads SET expanding = 1, blobs_missing = 2001"]
    {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    device.kill().await;
    let device = Device::open(folder.path(), &school).await;
    assert_eq!(device.downloads.list(id(1)).await.unwrap().downloads, [], "nobody was told that it was queued");
    let again = device.start(1, unit).await.unwrap();
    assert_eq!(again.bytes_total, 4_500 * 8);
    device.downloads.cancel(id(1), again.id).await.unwrap();
    assert_eq!(counted(&device, "SELECT COUNT(*) FROM blobs").await, 0, "nothing of it stays");
}

#[tokio::test]
async fn a_damaged_list_of_pieces_fails_its_own_download_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Offline);
    let (first, hash, _) = school.one_video(5, bytes(1, 3 * MIB)).await;
    let (second, ..) = school.one_video(6, bytes(2, 3 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let damaged = device.start(1, first).await.unwrap();
    let other = device.start(1, second).await.unwrap();
    let mut tx = device.library.write().await.unwrap();
    sqlx::query("UPDATE blob_pieces SET pieces = zeroblob(96) WHERE hash = ?")
        .bind(hash.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    school.go(NetworkState::Online);
    device.until_complete(1, other.id).await;
    let failed = device.until(1, damaged.id, |view| view.state == DownloadState::Failed).await;
    assert_eq!(failed.error, Some(ErrorCode::BadManifest));
    device.downloads.retry(id(1), damaged.id).await.unwrap();
    device.until_complete(1, damaged.id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_the_service_answers_for_the_first_time_breaks_no_transfer() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Unknown);
    let (unit, _, origin) = school.one_video(5, bytes(1, 8 * MIB)).await;
    origin.throttle(8 * MIB as u64);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done >= MIB as u64).await;
    let connections = origin.connections();
    school.go(NetworkState::Online);
    device.until_complete(1, started.id).await;
    assert!(origin.connections() <= connections + 1, "a second lane at most, and no new one for the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_go_on_within_seconds_after_the_machine_was_asleep() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, _, origin) = school.one_video(5, bytes(1, 4 * MIB)).await;
    // What a connection is after a sleep: open, and silent.
    origin.script([Act::StallAfter(2 * MIB as u64 + 1_000)]);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done >= 2 * MIB as u64).await;
    let asked = origin.seen().len();
    let woke = std::time::Instant::now();
    school.clock.sleep(3_600_000);
    device.until_complete(1, started.id).await;
    assert!(origin.seen().len() > asked, "it asked anew");
    assert!(woke.elapsed() < std::time::Duration::from_secs(8), "and before it called the server stalled");
}

#[tokio::test]
async fn a_course_is_taken_along_and_all_of_it_is_stopped_called_off_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.go(NetworkState::Offline);
    for n in 5..8 {
        school.one_video(n, bytes(u8::try_from(n).unwrap(), 2_000)).await;
    }
    let device = Device::open(folder.path(), &school).await;
    let course = StartCourse { course_id: id(900), quality: None };
    let started = device.downloads.start_course(id(1), course).await.unwrap();
    assert_eq!((started.queued, started.refused), (3, Vec::new()));
    let strange = device.downloads.start_course(id(1), StartCourse { course_id: id(901), quality: None }).await;
    assert!(matches!(strange, Err(EngineError::NotFound(_))), "{strange:?}");

    let states = |list: crate::downloads::view::DownloadsView| {
        list.downloads.into_iter().map(|view| view.state).collect::<Vec<_>>()
    };
    assert_eq!(states(device.downloads.pause_all(id(1)).await.unwrap()), [DownloadState::Paused; 3]);
    assert_eq!(states(device.downloads.resume_all(id(1)).await.unwrap()), [DownloadState::Pending; 3]);
    assert_eq!(states(device.downloads.cancel_all(id(1)).await.unwrap()), [DownloadState::Cancelled; 3]);
    assert_eq!(counted(&device, "SELECT COUNT(*) FROM blobs").await, 0, "nothing of them stays");
    device.downloads.start_course(id(1), course).await.unwrap();

    let mut tx = device.library.write().await.unwrap();
    sqlx::query("UPDATE downloads SET state = 'failed', error = 'service_failed'").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(states(device.downloads.retry_all(id(1)).await.unwrap()), [DownloadState::Pending; 3]);
    let all = device.downloads.list(id(1)).await.unwrap().downloads;
    let last = device.downloads.first(id(1), all[2].id).await.unwrap();
    assert_eq!(last.priority, 10);
    let second = device.downloads.first(id(1), all[1].id).await.unwrap();
    let order: Vec<_> = device.downloads.list(id(1)).await.unwrap().downloads.iter().map(|view| view.id).collect();
    assert_eq!(order, [second.id, last.id, all[0].id], "the last that was wanted next comes next");
    school.go(NetworkState::Online);
    for view in all {
        device.until_complete(1, view.id).await;
    }
}
