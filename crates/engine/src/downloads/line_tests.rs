//! The queue in SQLite: plans that read only what they need, reasons that are true, counters that agree with the rows.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, DownloadId, ProfileId, TimeMs, download::WaitReason};
use sqlx::Row as _;

use super::*;
use crate::{
    downloads::{
        fixture::{Device, School, bytes, id},
        scheduler::{Conditions, Queued, Wishes, held_back},
        view::StartDownload,
    },
    library::Library,
};

async fn plan_of(library: &Library, sql: &str) -> Vec<String> {
    let rows = sqlx::query(&format!("EXPLAIN QUERY PLAN {sql}")).fetch_all(library.readers()).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>("detail").unwrap()).collect()
}

#[tokio::test]
async fn what_comes_next_is_read_in_order_from_indexes_and_nothing_is_sorted() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = Library::open(folder.path(), School::new().clock.as_ref()).await.unwrap();
    for (sql, wanted) in [
        (NEXT, &["downloads_runnable", "download_items_wanted"][..]),
        (OF_BLOB, &["download_items_by_hash"]),
        (SERVED, &["download_items_by_hash"]),
        (WHOLE, &["downloads_whole"]),
        (FIRST_RETRY, &["downloads_retry"]),
        (RESERVED_AT_MOST, &["COVERING INDEX downloads_reserved"]),
    ] {
        let plan = plan_of(&library, sql).await;
        for index in wanted {
            assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:#?}");
        }
        let scans = plan
            .iter()
            .filter(|step| step.starts_with("SCAN") && !step.contains("INDEX") && !step.contains("json_each"));
        assert_eq!(scans.count(), 0, "no table is read as a whole: {plan:#?}");
    }
    let plan = plan_of(&library, NEXT).await;
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
}

/// A queue of learners 1 and 2 in which some wait for another round.
async fn some_queue(device: &Device) -> Vec<Queued> {
    let mut tx = device.library.write().await.unwrap();
    let mut queue = Vec::new();
    for n in 0..40_u32 {
        let (download, profile): (DownloadId, ProfileId) = (id(100 + n), id(1 + n % 2));
        let retry = match n % 5 {
            0 => Some((TimeMs::from_ms(500), WaitReason::Server)),
            1 => Some((TimeMs::from_ms(2_000), WaitReason::Drive)),
            _ => None,
        };
        let own = OwnConditions {
            wifi_only: [None, Some(true), Some(false)][n as usize % 3],
            at_any_hour: n % 7 < 3,
            on_battery: n % 4 < 2,
        };
        sqlx::query(
            "INSERT INTO downloads (id, profile_id, course_id, unit_id, title, accent, quality, state, position, created_at,
                                    retry_at, retry_reason, wait_reason, wifi_only, at_any_hour, on_battery)
             VALUES (?1, ?2, ?1, ?1, '', '', 'low', ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .bind(download.to_string())
        .bind(profile.to_string())
        .bind(if n % 3 == 0 { "downloading" } else { "pending" })
        .bind(i64::from(n))
        .bind(retry.map(|(at, _)| at.as_ms()))
        .bind(retry.map(|(_, reason)| reason.as_str()))
        .bind((n % 4 == 0).then_some("space"))
        .bind(own.wifi_only)
        .bind(own.at_any_hour)
        .bind(own.on_battery)
        .execute(&mut *tx)
        .await
        .unwrap();
        queue.push(Queued {
            id: download,
            profile,
            priority: 5,
            position: i64::from(n),
            retry,
            own,
            blobs: Vec::new(),
        });
    }
    tx.commit().await.unwrap();
    queue
}

#[tokio::test]
async fn reasons_written_by_sql_are_those_of_the_scheduler() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.signed_in.lock().unwrap().clear();
    let device = Device::open(folder.path(), &school).await;
    let library = device.library.clone();
    let queue = some_queue(&device).await;
    let running: BTreeSet<DownloadId> = [id(107), id(112)].into();
    let nobody = Wishes::default();
    let some = |of: &[u32]| -> BTreeSet<ProfileId> { of.iter().map(|n| id(*n)).collect() };
    let all_wishes = [
        nobody.clone(),
        Wishes { without_wifi: Some(some(&[])), ..nobody.clone() },
        Wishes { without_wifi: Some(some(&[2])), without_power: some(&[1]), ..nobody.clone() },
        Wishes { without_power: some(&[1, 2]), out_of_hours: some(&[2]), ..nobody.clone() },
        Wishes { out_of_hours: some(&[1]), hours_change_at: Some(TimeMs::from_ms(9_000)), ..nobody },
    ];
    for (network, wishes) in [NetworkState::Online, NetworkState::Offline, NetworkState::Limited, NetworkState::Unknown]
        .into_iter()
        .flat_map(|network| all_wishes.iter().map(move |wishes| (network, wishes)))
    {
        for drive_is_here in [true, false] {
            for signed_in in [vec![], vec![id(1)], vec![id(1), id(2)]] {
                let signed_in: BTreeSet<ProfileId> = signed_in.into_iter().collect();
                let now = TimeMs::from_ms(1_000);
                let (signed_in, running) = (&signed_in, &running);
                let around = Surroundings { now, network, drive_is_here, signed_in, wishes, running, room: None };
                label(&library, &around, None).await.unwrap();
                let again = label(&library, &around, None).await.unwrap();
                assert_eq!(again, [], "a second look changes nothing");
                let conditions = Conditions {
                    now,
                    network,
                    drive_is_here,
                    signed_in: signed_in.clone(),
                    wishes: wishes.clone(),
                    limits: BTreeMap::new(),
                    room_bytes: u64::MAX,
                    running: BTreeMap::new(),
                };
                let ids: BTreeSet<DownloadId> = queue.iter().map(|queued| queued.id).collect();
                let free = free(library.readers(), &ids, wishes).await.unwrap();
                for queued in &queue {
                    let row = &crate::downloads::rows::of_ids(library.readers(), &[queued.id]).await.unwrap()[0];
                    let runs = running.contains(&queued.id);
                    let expected = if runs { None } else { held_back(queued, &conditions) };
                    assert_eq!(row.wait_reason, expected, "{queued:?} in {conditions:?}");
                    assert_eq!(row.state.as_str(), if runs { "downloading" } else { "pending" });
                    let held = wishes.hold_back(queued.profile, queued.own).is_some();
                    assert_eq!(free.contains(&queued.id), !held, "what runs is stopped by the same rule");
                }
            }
        }
    }
    device.kill().await;
}

#[tokio::test]
async fn many_small_blobs_of_many_downloads_share_commits_and_the_counters_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let mut wishes = Vec::new();
    for n in 0..12_u32 {
        let mut assets = Vec::new();
        for m in 0..10_u32 {
            // The first of each unit is shared by all.
            let seed = if m == 0 { 250 } else { u8::try_from(n * 10 + m).unwrap() };
            let (hash, _) = school.serve(bytes(seed, 3_000 + usize::from(seed))).await;
            let number = 1_000 + n * 100 + m * 2;
            let of = [(carrel_model::content::Quality::Medium, hash)];
            assets.push(school.asset(number, carrel_model::content::AssetKind::Image, Some(id(number + 1)), &of));
        }
        wishes.push(StartDownload { unit_id: school.publish(500 + n, None, assets), lesson_id: None, quality: None });
    }
    let device = Device::open(folder.path(), &school).await;
    let twice = wishes.iter().copied().chain(wishes.iter().copied());
    assert!(device.downloads.start_all(id(1), twice.collect()).await.unwrap().is_empty());
    let all = device.downloads.list(id(1)).await.unwrap().downloads;
    assert_eq!(all.len(), 12, "each wish once");
    for view in &all {
        device.until_complete(1, view.id).await;
    }
    let mut wrong: Vec<String> = Vec::new();
    for row in sqlx::query(
        "SELECT d.id, d.bytes_total, d.bytes_done, d.blobs_missing,
                (SELECT SUM(size) FROM blobs WHERE hash IN (SELECT hash FROM download_items i WHERE i.download_id = d.id)) AS size
         FROM downloads d",
    )
    .fetch_all(device.library.readers())
    .await
    .unwrap()
    {
        let of = |name: &str| row.try_get::<i64, _>(name).unwrap();
        if (of("bytes_total"), of("bytes_done"), of("blobs_missing")) != (of("size"), of("size"), 0) {
            wrong.push(row.try_get("id").unwrap());
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let shared = BlobHash::of(&bytes(250, 3_250));
    let served = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM download_items WHERE hash = ?")
        .bind(shared.to_string())
        .fetch_one(device.library.readers())
        .await
        .unwrap();
    assert_eq!(served, 12, "one file serves all of them");
    let gone = device.downloads.list(id(1)).await.unwrap().downloads.len();
    assert_eq!(gone, 12);
}
