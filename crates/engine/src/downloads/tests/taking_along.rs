//! Units and lessons come to be on the device, in a quality, in a version, for their learners.

use super::*;

#[tokio::test]
async fn a_unit_is_ready_offline_when_every_blob_of_it_is_verified_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (video, _) = school.serve(bytes(1, 3 * MIB + 5)).await;
    let (cover, _) = school.serve(bytes(2, 7_000)).await;
    let cover = school.asset(10, AssetKind::Image, None, &[(Quality::Medium, cover)]);
    let lesson = school.asset(11, AssetKind::Video, Some(id(20)), &[(Quality::Medium, video)]);
    let unit = school.publish(5, Some(cover), vec![lesson]);
    let device = Device::open(folder.path(), &school).await;

    let started = device.start(1, unit).await.unwrap();
    assert_eq!(started.bytes_total, 3 * MIB as u64 + 5 + 7_000, "the size is known before the first byte");
    let done = device.until_complete(1, started.id).await;
    assert_eq!((done.bytes_done, done.error), (done.bytes_total, None));
    let file = std::fs::read(folder.path().join(format!("blobs/{}/{video}", &video.to_string()[..2]))).unwrap();
    assert!(file == bytes(1, 3 * MIB + 5), "the file is what was published");
    assert_eq!(files(folder.path()).len(), 2, "and nothing is left in the making");

    let states = offline_states(device.library.readers(), id(1), done.created_at).await.unwrap();
    assert_eq!(states.unit(unit).availability, Availability::ReadyOffline);
    assert_eq!(states.lesson(id(20)).availability, Availability::ReadyOffline);
    assert_eq!(states.bytes.get(&unit), Some(&done.bytes_total));
    let other = offline_states(device.library.readers(), id(2), done.created_at).await.unwrap();
    assert_eq!(other.unit(unit).availability, Availability::NotDownloaded, "another learner has nothing");
    let again = device.start(1, unit).await.unwrap();
    assert_eq!((again.id, again.state), (done.id, DownloadState::Completed), "asking again gives that one");
    let reported = school.reported.lock().unwrap();
    assert!(
        matches!(&reported[..], [Op::Download(id, told)] if *id == done.id && told.state == DownloadState::Completed),
        "the service is told once: {reported:?}"
    );
}

#[tokio::test]
async fn two_learners_share_one_file_and_each_has_their_own_record() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, _, origin) = school.one_video(5, bytes(1, 2 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let first = device.start(1, unit).await.unwrap();
    let second = device.start(2, unit).await.unwrap();
    device.until_complete(1, first.id).await;
    device.until_complete(2, second.id).await;
    assert_eq!(origin.body_bytes(), 2 * MIB as u64, "its bytes came once");
    assert_eq!(files(folder.path()).len(), 1);
    let foreign = device.downloads.pause(id(2), first.id).await;
    assert!(matches!(foreign, Err(EngineError::NotFound(_))), "one can't touch the other's: {foreign:?}");
}

#[tokio::test]
async fn another_quality_replaces_the_files_only_when_it_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (low, _) = school.serve(bytes(1, MIB)).await;
    let (high, origin) = school.serve(bytes(2, 3 * MIB)).await;
    let renditions = [(Quality::Low, low), (Quality::High, high)];
    let unit = school.publish(5, None, vec![school.asset(11, AssetKind::Video, Some(id(20)), &renditions)]);
    let device = Device::open(folder.path(), &school).await;
    let first = device.start_as(1, unit, Some(Quality::Low)).await.unwrap();
    device.until_complete(1, first.id).await;

    origin.always(Act::status(503));
    let second = device.start_as(1, unit, Some(Quality::High)).await.unwrap();
    assert_eq!(second.id, first.id, "one record for one wish");
    device.until(1, first.id, |view| view.wait_reason == Some(WaitReason::Server)).await;
    let states = offline_states(device.library.readers(), id(1), first.created_at).await.unwrap();
    assert_eq!(states.lesson(id(20)).availability, Availability::ReadyOffline, "the old file is still good");
    let cancelled = device.downloads.cancel(id(1), first.id).await.unwrap();
    assert_eq!(
        (cancelled.state, cancelled.quality),
        (DownloadState::Completed, Quality::Low),
        "and stays if called off"
    );

    origin.always(Act::Serve);
    device.start_as(1, unit, Some(Quality::High)).await.unwrap();
    device.until(1, first.id, |view| view.state == DownloadState::Completed && view.quality == Quality::High).await;
    eventually(async || match &files(folder.path()).into_values().collect::<Vec<_>>()[..] {
        [only] if *only == 3 * MIB as u64 => Ok(()),
        other => Err(format!("{other:?}, where only the new one should be")),
    })
    .await;
}

#[tokio::test]
async fn a_single_lesson_is_taken_along_and_its_blob_serves_the_unit_later() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (one, one_origin) = school.serve(bytes(1, MIB)).await;
    let (two, two_origin) = school.serve(bytes(2, MIB)).await;
    let assets = vec![
        school.asset(11, AssetKind::Video, Some(id(20)), &[(Quality::Medium, one)]),
        school.asset(12, AssetKind::Audio, Some(id(21)), &[(Quality::Medium, two)]),
    ];
    let unit = school.publish(5, None, assets);
    let device = Device::open(folder.path(), &school).await;
    let wish = StartDownload { unit_id: unit, lesson_id: Some(id(20)), quality: None };
    let lesson = device.downloads.start(id(1), wish).await.unwrap();
    device.until_complete(1, lesson.id).await;
    assert_eq!(two_origin.body_bytes(), 0, "only this lesson");
    let states = offline_states(device.library.readers(), id(1), lesson.created_at).await.unwrap();
    assert_eq!(states.lesson(id(20)).availability, Availability::ReadyOffline);
    assert_eq!(states.unit(unit).availability, Availability::NotDownloaded, "the unit was not asked for");
    let whole = device.start(1, unit).await.unwrap();
    device.until_complete(1, whole.id).await;
    assert_eq!(one_origin.body_bytes(), MIB as u64, "what was here is not fetched again");
}

#[tokio::test]
async fn an_update_is_offered_when_the_catalogue_lists_other_bytes_and_expiry_when_its_last_day_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, old, _) = school.one_video(5, bytes(1, 2_000)).await;
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    let done = device.until_complete(1, started.id).await;
    let listed = async |hash: carrel_model::BlobHash| {
        let mut tx = device.library.write().await.unwrap();
        for sql in [
            "INSERT INTO units (profile_id, id, course_id, position, title, summary, language, schema_version, size_low,
                                size_medium, size_high, updated_at, generation)
             VALUES (?1, ?2, 'course', 0, '', '', '', 1, 0, 0, 0, 0, 1) ON CONFLICT DO NOTHING",
            "INSERT INTO assets (profile_id, id, lesson_id, kind, title, updated_at) VALUES (?1, ?3, ?4, 'video', '', 0)
             ON CONFLICT DO NOTHING",
            "INSERT INTO unit_assets (profile_id, unit_id, asset_id, position) VALUES (?1, ?2, ?3, 1) ON CONFLICT DO NOTHING",
            "INSERT OR REPLACE INTO renditions (profile_id, asset_id, quality, hash, size, mime)
             VALUES (?1, ?3, 'medium', ?5, 1, '')",
        ] {
            sqlx::query(sql)
                .bind(id::<ProfileId>(1).to_string())
                .bind(unit.to_string())
                .bind(id::<carrel_model::AssetId>(51).to_string())
                .bind(id::<carrel_model::LessonId>(52).to_string())
                .bind(hash.to_string())
                .execute(&mut *tx)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    };
    let word = async |now| {
        let states = offline_states(device.library.readers(), id(1), now).await.unwrap();
        assert_eq!(states.unit(unit).availability, states.lesson(id(52)).availability, "unit and lesson agree");
        states.unit(unit).availability
    };
    let now = done.created_at;
    listed(old).await;
    assert_eq!(word(now).await, Availability::ReadyOffline);
    let (new, _) = school.serve(bytes(2, 3_000)).await;
    school.publish(5, None, vec![school.asset(51, AssetKind::Video, Some(id(52)), &[(Quality::Medium, new)])]);
    listed(new).await;
    assert_eq!(word(now).await, Availability::UpdateAvailable);
    *school.expires_at.lock().unwrap() = Some(now.plus_ms(60_000));
    let updating = device.start(1, unit).await.unwrap();
    assert_eq!(updating.id, started.id);
    device.until(1, started.id, |view| view.state == DownloadState::Completed && view.bytes_total == 3_000).await;
    assert_eq!(word(now).await, Availability::ReadyOffline, "the new version is here");

    school.clock.advance(60_000);
    assert_eq!(word(school.clock.now()).await, Availability::Expired);
    assert_eq!(device.view(1, started.id).await.state, DownloadState::Expired);
    school.go(NetworkState::Offline);
    let content = device.playback.content(id(1), id(51), None).await;
    assert!(matches!(content, Err(EngineError::Refused(ErrorCode::Expired))), "{content:?}");
    school.go(NetworkState::Online);
    *school.expires_at.lock().unwrap() = None;
    let renewed = device.downloads.retry(id(1), started.id).await.unwrap();
    assert_eq!((renewed.state, renewed.bytes_done), (DownloadState::Completed, 3_000), "renewed without a fetch");
}

#[tokio::test]
async fn tells_how_far_it_is_and_once_that_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, _, origin) = school.one_video(5, bytes(1, 4 * MIB)).await;
    origin.throttle(4 * MIB as u64);
    let device = Device::open(folder.path(), &school).await;
    let mut events = device.events.subscribe();
    let begun = std::time::Instant::now();
    let started = device.start(1, unit).await.unwrap();
    let (mut shown, mut messages) = (Vec::new(), 0u32);
    let ended = loop {
        match events.next().await.unwrap() {
            EngineEvent::Downloads { profile_id, changed, .. } if profile_id == id(1) => {
                messages += 1;
                shown.extend(changed.into_iter().map(|view| view.bytes_done));
            }
            EngineEvent::DownloadEnded { profile_id, download } if profile_id == id(1) => break download,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((ended.id, ended.state), (started.id, DownloadState::Completed));
    assert!(shown.is_sorted() && shown.iter().any(|bytes| (1..4 * MIB as u64).contains(bytes)), "{shown:?}");
    // Five a second, and one each for queued, running and complete.
    let allowed = 5 * (u32::try_from(begun.elapsed().as_secs()).unwrap() + 1) + 4;
    assert!(messages <= allowed, "{messages} messages where {allowed} are allowed");
    while let Some(Some(event)) = events.next().now_or_never() {
        assert!(!matches!(event, EngineEvent::DownloadEnded { .. }), "it ended twice");
    }
}
