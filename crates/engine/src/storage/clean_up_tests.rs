//! Rules, the service and learners taking files away, with real files: what is said is what is freed.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use carrel_model::{
    ErrorCode, ProfileId, UnitId,
    content::{AssetKind, Quality},
    download::DownloadState,
    time::DAY_MS,
};

use super::{
    Storage, cleaner, deletion, lost,
    view::{
        CleanUpReason, CleanUpRules, ClearAll, DeleteCourse, DeleteUnit, DeletedBy, DeletedWhy, KeptBecause, PinUnit,
        UndoDelete,
    },
};
use crate::{
    EngineError,
    downloads::{
        fixture::{Device, MIB, School, TestDisk, bytes, eventually, files, id},
        view::StartDownload,
    },
    playback::MediaContent,
};

const ALL: CleanUpRules = CleanUpRules { by_age: true, age_days: 30, expired: true, finished: true, when_full: false };

fn on_disk(folder: &Path) -> u64 {
    files(folder).into_values().sum()
}

/// Units 5, 6 and 7 of a film each; 5 and 6 share a picture, and there is a page in each that can be opened.
async fn school() -> Arc<School> {
    let school = School::new();
    let (shared, _) = school.serve(bytes(9, 40_000)).await;
    for n in [5, 6, 7_u32] {
        let (own, _) = school.serve(bytes(u8::try_from(n).unwrap(), MIB + n as usize)).await;
        let mut assets =
            vec![school.asset(n * 10 + 1, AssetKind::Video, Some(id(n * 10 + 2)), &[(Quality::Medium, own)])];
        if n < 7 {
            assets.push(school.asset(n * 10 + 3, AssetKind::Image, Some(id(n * 10 + 2)), &[(Quality::Medium, shared)]));
        }
        let (cover, _) = school.serve(bytes(100 + u8::try_from(n).unwrap(), 3_000 + n as usize)).await;
        let cover = school.asset(n * 10 + 5, AssetKind::Image, None, &[(Quality::Medium, cover)]);
        school.publish(n, Some(cover), assets);
    }
    school
}

async fn with_units(folder: &Path, school: &Arc<School>, units: &[(u32, u32)]) -> Device {
    let device = Device::open(folder, school).await;
    for (profile, unit) in units {
        let started = device.start(*profile, id(*unit)).await.unwrap();
        device.until_complete(*profile, started.id).await;
    }
    device
}

/// What the screen shows is what lies on the disk, whoever looks.
async fn agrees(storage: &Storage, folder: &Path) -> u64 {
    let sum = on_disk(folder);
    for profile in [1, 2] {
        let usage = storage.usage(id(profile)).await.unwrap();
        assert_eq!(usage.used_bytes, sum, "all files");
        assert_eq!(usage.by_kind.iter().map(|kind| kind.bytes).sum::<u64>(), sum, "by kind");
        let kinds: u64 = usage.by_kind.iter().map(|kind| kind.frees_bytes).sum();
        assert_eq!(kinds, usage.frees_bytes, "what clearing frees, by kind");
    }
    sum
}

async fn final_now(device: &Device, school: &School) {
    school.clock.advance(10_001);
    let now = crate::ports::Clock::now(&*school.clock);
    deletion::release(&device.storage.parts, deletion::Due::At(now)).await.unwrap();
}

#[tokio::test]
async fn the_sum_shown_is_the_sum_on_disk_before_and_after_every_way_to_delete() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    let device = with_units(folder.path(), &school, &[(1, 5), (1, 6), (2, 6)]).await;
    // A page that was opened, a cover, and a film that is half here.
    device.playback.content(id(1), id(75), None).await.unwrap();
    let (whole, _) = school.serve(bytes(77, 3 * MIB)).await;
    let film = school.asset(81, AssetKind::Video, Some(id(82)), &[(Quality::Medium, whole)]);
    let (page, _) = school.serve(bytes(78, 5_000)).await;
    let page = school.asset(83, AssetKind::Document, Some(id(82)), &[(Quality::Medium, page)]);
    school.publish(8, None, vec![film, page]);
    device.playback.content(id(1), id(83), None).await.unwrap();
    std::fs::write(device.blobs.part_path(whole), bytes(1, 123_456)).unwrap();
    let before = agrees(&device.storage, folder.path()).await;
    let usage = device.storage.usage(id(1)).await.unwrap();
    assert_eq!((usage.opened.entries, usage.opened.frees_bytes), (1, 5_000), "the page; covers are the library's");

    let forgotten = device.storage.clear_opened(id(1)).await.unwrap();
    assert_eq!(forgotten.opened.entries, 0);
    assert_eq!(agrees(&device.storage, folder.path()).await, before - 5_000);

    let unit = usage.units.iter().find(|unit| unit.unit_id == id(5)).unwrap().frees_bytes;
    assert_eq!(unit, MIB as u64 + 5 + 3_005, "its film and its cover; the picture is shared");
    let deleted = device.storage.delete_unit(id(1), DeleteUnit { unit_id: id(5) }).await.unwrap();
    assert_eq!(deleted.frees_bytes, unit, "the dialog and the answer say the same");
    assert_eq!(agrees(&device.storage, folder.path()).await, before - 5_000, "still here while it can be undone");
    assert_eq!(device.storage.usage(id(1)).await.unwrap().leaving_bytes, unit + 123_456, "and the part of nobody");
    final_now(&device, &school).await;
    let after = agrees(&device.storage, folder.path()).await;
    assert_eq!(after, before - 5_000 - unit, "to the byte");

    let course = device.storage.usage(id(1)).await.unwrap().courses;
    assert_eq!((course.len(), course[0].units, course[0].frees_bytes), (1, 1, 0), "all of unit 6 is the other's too");
    let deleted = device.storage.delete_course(id(1), DeleteCourse { course_id: id(900) }).await.unwrap();
    assert_eq!(deleted.frees_bytes, 0);
    final_now(&device, &school).await;
    assert_eq!(agrees(&device.storage, folder.path()).await, after, "what another learner has stays");

    let all = device.storage.usage(id(2)).await.unwrap().frees_bytes;
    let deleted = device.storage.clear_all(id(2), ClearAll { at_once: true }).await.unwrap();
    assert_eq!(deleted.frees_bytes, all);
    assert_eq!(agrees(&device.storage, folder.path()).await, after - all, "at once");
    let why: Vec<_> = device.storage.clean_up_log(id(2)).await.unwrap().entries;
    assert_eq!((why.len(), why[0].by, why[0].why, why[0].bytes), (1, DeletedBy::Learner, DeletedWhy::Asked, all));
    assert_eq!(why[0].undo_until, None, "nothing to take back");
}

#[tokio::test]
async fn rules_delete_what_the_preview_named_and_the_log_says_who_why_and_when() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    let device = with_units(folder.path(), &school, &[(1, 5), (1, 6), (1, 7), (2, 6)]).await;
    let storage = &device.storage;
    school.clock.advance(31 * DAY_MS);
    storage.pin(id(1), PinUnit { unit_id: id(7), pinned: true }).await.unwrap();
    school.completed.lock().unwrap().insert(id(52));
    let preview = storage.preview_clean_up(id(1), ALL).await.unwrap();
    let going: Vec<(UnitId, CleanUpReason, u64)> =
        preview.items.iter().map(|item| (item.unit_id, item.reason, item.frees_bytes)).collect();
    let own = MIB as u64 + 5 + 3_005;
    assert_eq!(
        going,
        [(id(5), CleanUpReason::Finished, own), (id(6), CleanUpReason::Age, 0)],
        "the other has all of 6"
    );
    assert_eq!(preview.frees_bytes, own);
    let kept: Vec<_> = preview.kept.iter().map(|kept| (kept.unit_id, kept.reason, kept.because)).collect();
    assert_eq!(kept, [(id(7), CleanUpReason::Age, KeptBecause::Pinned)]);
    let before = agrees(storage, folder.path()).await;
    assert_eq!(storage.clean_up(id(1)).await.unwrap().unit_ids, [] as [UnitId; 0], "a preview keeps no rules");

    storage.set_clean_up_rules(id(1), ALL).await.unwrap();
    school.waiting.lock().unwrap().insert(id(5), 1);
    let careful = storage.preview_clean_up(id(1), ALL).await.unwrap();
    assert!(careful.kept.iter().any(|kept| kept.unit_id == id(5) && kept.because == KeptBecause::Unsent));
    school.waiting.lock().unwrap().clear();

    let cleaned = storage.clean_up(id(1)).await.unwrap();
    assert_eq!((cleaned.unit_ids.len(), cleaned.frees_bytes), (2, own));
    storage.undo_delete(id(1), UndoDelete { unit_ids: vec![id(6)] }).await.unwrap();
    final_now(&device, &school).await;
    assert_eq!(agrees(storage, folder.path()).await, before - own);
    let log = storage.clean_up_log(id(1)).await.unwrap().entries;
    let told: BTreeMap<UnitId, _> =
        log.iter().map(|line| (line.unit_id, (line.by, line.why, line.bytes, line.undone))).collect();
    assert_eq!(told[&id(5)], (DeletedBy::Rules, DeletedWhy::Finished, own, false));
    assert_eq!(told[&id(6)], (DeletedBy::Rules, DeletedWhy::Age, 0, true), "it was taken back");
    assert!(storage.clean_up_log(id(2)).await.unwrap().entries.is_empty(), "nobody reads another's log");
    let left: Vec<UnitId> = storage.usage(id(1)).await.unwrap().units.iter().map(|unit| unit.unit_id).collect();
    assert_eq!(left, [id(6), id(7)]);
    assert_eq!(storage.usage(id(2)).await.unwrap().units.len(), 1, "the other learner's copy stays");
}

#[tokio::test]
async fn expired_content_goes_by_itself_a_day_after_its_last_and_its_record_stays() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    let day = crate::ports::Clock::now(&*school.clock).plus_ms(5 * DAY_MS);
    *school.expires_at.lock().unwrap() = Some(day);
    let device = with_units(folder.path(), &school, &[(1, 7)]).await;
    school.clock.advance(5 * DAY_MS);
    let refused = device.playback.content(id(1), id(71), None).await;
    assert!(matches!(refused, Ok(MediaContent::Remote { .. })), "the disk doesn't give it any more: {refused:?}");
    cleaner::by_rules(&device.storage.parts).await.unwrap();
    assert_eq!(device.storage.usage(id(1)).await.unwrap().units.len(), 1, "for a day renewing it costs no byte");
    // Renewed in time: nothing goes.
    *school.expires_at.lock().unwrap() = Some(day.plus_ms(3 * DAY_MS));
    let expired = device.downloads.list(id(1)).await.unwrap().downloads.remove(0);
    assert_eq!(expired.state, DownloadState::Expired);
    let renewed = device.downloads.retry(id(1), expired.id).await.unwrap();
    assert_eq!(device.until_complete(1, renewed.id).await.expires_at, Some(day.plus_ms(3 * DAY_MS)));
    school.clock.advance(2 * DAY_MS);
    cleaner::by_rules(&device.storage.parts).await.unwrap();
    assert_eq!(device.storage.usage(id(1)).await.unwrap().units.len(), 1);
    // And not renewed.
    school.clock.advance(2 * DAY_MS);
    cleaner::by_rules(&device.storage.parts).await.unwrap();
    final_now(&device, &school).await;
    assert!(device.storage.usage(id(1)).await.unwrap().units.is_empty());
    assert_eq!(agrees(&device.storage, folder.path()).await, 0, "all files are gone");
    let reason: String =
        sqlx::query_scalar("SELECT deleted_reason FROM downloads").fetch_one(device.library.readers()).await.unwrap();
    assert_eq!(reason, "expired", "the record says why");
}

#[tokio::test]
async fn an_ended_enrolment_takes_the_files_nobody_else_may_use_and_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    let device = with_units(folder.path(), &school, &[(1, 5), (1, 7), (2, 5)]).await;
    school.waiting.lock().unwrap().insert(id(7), 2);
    let before = agrees(&device.storage, folder.path()).await;
    let lost: [((ProfileId, UnitId), ErrorCode); 2] =
        [((id(1), id(5)), ErrorCode::NotEnrolled), ((id(1), id(7)), ErrorCode::Gone)];
    school.lost.lock().unwrap().extend(lost);
    // The tombstone came with a sync, which tells it.
    device.events.send(crate::EngineEvent::Catalogue { profile_id: id(1) });
    eventually(async || {
        let left = device.storage.usage(id(1)).await.unwrap().units.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} units")) }
    })
    .await;
    let freed = MIB as u64 + 7 + 3_007;
    eventually(async || {
        let now = on_disk(folder.path());
        if now == before - freed { Ok(()) } else { Err(format!("{now} of {before}")) }
    })
    .await;
    agrees(&device.storage, folder.path()).await;
    assert!(lost::let_go(&device.storage.parts, id(1)).await.unwrap().is_none(), "once");
    let log = device.storage.clean_up_log(id(1)).await.unwrap().entries;
    let told: BTreeMap<UnitId, _> = log.iter().map(|line| (line.unit_id, (line.by, line.why, line.bytes))).collect();
    assert_eq!(told[&id(5)], (DeletedBy::Service, DeletedWhy::NotEnrolled, 0), "another learner still has it");
    assert_eq!(told[&id(7)], (DeletedBy::Service, DeletedWhy::Gone, freed));
    let records: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM downloads WHERE deleted_at IS NOT NULL")
        .fetch_one(device.library.readers())
        .await
        .unwrap();
    assert_eq!(records, 2, "records stay");
    assert!(matches!(device.playback.content(id(2), id(51), None).await.unwrap(), MediaContent::File { .. }));
}

#[tokio::test]
async fn room_for_a_download_is_made_by_what_was_not_used_for_longest_if_the_learner_wants_that() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    // Room for two films and no third above the floor of a quarter.
    let total = 4 * 2_200_000;
    let disk = Arc::new(TestDisk(std::sync::Mutex::new(crate::blobs::DiskFacts {
        total_bytes: total,
        free_bytes: total / 4 + 2_200_000,
    })));
    let device = Device::open_with(folder.path(), &school, Arc::clone(&disk)).await;
    let full = |used: u64| disk.0.lock().unwrap().free_bytes = (total / 4 + 2_200_000).saturating_sub(used);
    for n in [6, 5] {
        let started = device.start(1, id(n)).await.unwrap();
        device.until_complete(1, started.id).await;
        full(on_disk(folder.path()));
        school.clock.advance(DAY_MS);
    }
    let wish = StartDownload {
        unit_id: id(7),
        ..serde_json::from_str(&format!("{{\"unit_id\":\"{}\"}}", id::<UnitId>(7))).unwrap()
    };
    let refused = device.storage.take_along(id(1), wish).await.unwrap_err();
    assert!(matches!(refused, EngineError::StorageFull { .. }), "the rule is off: {refused}");
    assert_eq!(device.storage.usage(id(1)).await.unwrap().units.len(), 2);

    device.storage.set_clean_up_rules(id(1), CleanUpRules { when_full: true, ..ALL }).await.unwrap();
    let refused = device.storage.take_along(id(1), wish).await;
    full(on_disk(folder.path()));
    let started = match refused {
        // This disk learns of what became free only when the test tells it.
        Err(EngineError::StorageFull { .. }) => device.storage.take_along(id(1), wish).await.unwrap(),
        started => started.unwrap(),
    };
    device.until_complete(1, started.id).await;
    let left: Vec<UnitId> = device.storage.usage(id(1)).await.unwrap().units.iter().map(|unit| unit.unit_id).collect();
    assert_eq!(left, [id(5), id(7)], "unit 6 was not opened for longest");
    let log = device.storage.clean_up_log(id(1)).await.unwrap().entries;
    assert_eq!((log.len(), log[0].unit_id, log[0].why), (1, id(6), DeletedWhy::Space));
    agrees(&device.storage, folder.path()).await;
}

#[tokio::test]
async fn rules_out_of_range_are_refused_and_pins_are_for_what_the_learner_sees() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    let device = Device::open(folder.path(), &school).await;
    for age_days in [0, 3651] {
        let refused = device.storage.set_clean_up_rules(id(1), CleanUpRules { age_days, ..ALL }).await;
        assert!(matches!(refused, Err(EngineError::Invalid(_))), "{age_days}");
    }
    assert_eq!(device.storage.clean_up_rules(id(1)).await.unwrap(), CleanUpRules::default());
    let unknown = device.storage.pin(id(1), PinUnit { unit_id: id(404), pinned: true }).await;
    assert!(matches!(unknown, Err(EngineError::NotFound(_))));
}

#[tokio::test]
async fn files_deleted_by_hand_are_noticed_fetched_again_and_never_counted() {
    let folder = tempfile::tempdir().unwrap();
    let school = school().await;
    let device = with_units(folder.path(), &school, &[(1, 5), (1, 7)]).await;
    let before = agrees(&device.storage, folder.path()).await;
    for name in files(folder.path()).into_keys() {
        std::fs::remove_file(folder.path().join("blobs").join(&name[..2]).join(&name)).unwrap();
    }
    assert_eq!(agrees(&device.storage, folder.path()).await, 0, "what is not there is not counted");
    // Opening it notices; the queue brings it again by itself.
    assert!(matches!(device.playback.content(id(1), id(51), None).await.unwrap(), MediaContent::Remote { .. }));
    device.kill().await;
    let device = Device::open(folder.path(), &school).await;
    for download in device.downloads.list(id(1)).await.unwrap().downloads {
        device.until_complete(1, download.id).await;
    }
    assert_eq!(agrees(&device.storage, folder.path()).await, before);
    assert!(matches!(device.playback.content(id(1), id(51), None).await.unwrap(), MediaContent::File { .. }));
}

#[tokio::test]
async fn a_last_day_that_passes_in_mid_download_keeps_every_byte_and_renewing_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, _, origin) = school.one_video(1, bytes(1, 4 * MIB)).await;
    let now = crate::ports::Clock::now(&*school.clock);
    *school.expires_at.lock().unwrap() = Some(now.plus_ms(DAY_MS));
    origin.throttle(1 << 20);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done > 0).await;
    school.clock.advance(2 * DAY_MS);
    origin.throttle(0);
    let ended = device.until(1, started.id, |view| view.state == DownloadState::Expired).await;
    assert_eq!(ended.bytes_done, 4 * MIB as u64, "what came stays, under the right word");
    let offered = device.playback.open(id(1), id(12)).await.unwrap();
    assert_ne!(offered.source, crate::playback::view::PlaybackSource::Local, "and doesn't open: {offered:?}");
    let sent = origin.body_bytes();
    *school.expires_at.lock().unwrap() = Some(now.plus_ms(30 * DAY_MS));
    device.downloads.retry(id(1), started.id).await.unwrap();
    device.until_complete(1, started.id).await;
    assert_eq!(origin.body_bytes(), sent, "renewing costs no byte");
    assert!(matches!(device.playback.content(id(1), id(11), None).await.unwrap(), MediaContent::File { .. }));
}

#[tokio::test]
async fn the_store_is_moved_as_asked_and_every_sum_stays() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let school = school().await;
    let device = with_units(folder.path(), &school, &[(1, 5), (2, 7)]).await;
    let before = agrees(&device.storage, folder.path()).await;
    let inside = folder.path().join("blobs/inside").to_string_lossy().into_owned();
    for (to, reason) in [("relative".to_owned(), "not a whole path"), (inside, "the folder lies within the store")] {
        let refused = device.storage.move_store(super::view::MoveStore { folder: to }).await.unwrap_err();
        assert_eq!(refused.details()["reason"], reason, "a word for each reason");
    }
    let to = elsewhere.path().join("store").to_string_lossy().into_owned();
    device.storage.move_store(super::view::MoveStore { folder: to.clone() }).await.unwrap();
    let place = eventually(async || {
        let place = device.storage.place().await;
        if place.moving.is_none() && place.folder == to { Ok(place) } else { Err(format!("{place:?}")) }
    })
    .await;
    assert_eq!((place.folder, place.is_here, place.error), (to.clone(), true, None));
    assert_eq!(agrees(&device.storage, Path::new(&to)).await, before, "to the byte");
    assert!(matches!(device.playback.content(id(1), id(51), None).await.unwrap(), MediaContent::File { .. }));
    let settled = device.storage.cancel_move().await;
    assert!(settled.is_err(), "there is nothing to call off any more");
}
