use carrel_model::{
    ErrorCode,
    content::{AssetKind, Quality},
};
use carrel_testbed::http_origin::Act;

use super::{MediaContent, view::PlaybackSource};
use crate::{
    EngineError,
    downloads::fixture::{Device, MIB, School, bytes, files, id},
    sync::view::NetworkState,
};

#[tokio::test]
async fn a_cover_shows_before_anything_is_downloaded_and_offline_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (cover, origin) = school.serve(bytes(1, 50_000)).await;
    let cover = school.asset(10, AssetKind::Image, None, &[(Quality::Medium, cover)]);
    school.publish(5, Some(cover), Vec::new());
    let device = Device::open(folder.path(), &school).await;

    school.go(NetworkState::Offline);
    let never = device.playback.content(id(1), id(10), None).await;
    assert!(matches!(never, Err(EngineError::Refused(ErrorCode::Offline))), "{never:?}");
    assert!(origin.seen().is_empty() && *school.asked_for_urls.lock().unwrap() == 0, "offline touches no network");
    school.go(NetworkState::Online);
    let online = device.playback.content(id(1), id(10), None).await.unwrap();
    school.go(NetworkState::Offline);
    let offline = device.playback.content(id(1), id(10), None).await.unwrap();
    assert_eq!(online, offline, "kept, and the same");
    let MediaContent::File { path, .. } = offline else { panic!("{offline:?}") };
    assert!(std::fs::read(path).unwrap() == bytes(1, 50_000));
    let usage = device.storage.usage(id(1)).await.unwrap();
    assert_eq!(usage.used_bytes, 50_000, "and counted");
}

#[tokio::test]
async fn wrong_bytes_are_neither_shown_nor_kept() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (page, origin) = school.serve(bytes(1, 9_000)).await;
    let page = school.asset(11, AssetKind::Document, Some(id(20)), &[(Quality::Medium, page)]);
    school.publish(5, None, vec![page]);
    origin.always(Act::Changed(vec![100]));
    let device = Device::open(folder.path(), &school).await;
    let refused = device.playback.content(id(1), id(11), None).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ServiceFailed);
    assert!(files(folder.path()).is_empty());
}

#[tokio::test]
async fn plays_from_the_disk_when_it_is_there_and_says_why_when_nothing_can_play() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, hash, origin) = school.one_video(5, bytes(1, 5 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let source = async |state| {
        school.go(state);
        device.playback.open(id(1), id(52)).await.unwrap().source
    };
    assert_eq!(source(NetworkState::Online).await, PlaybackSource::Remote);
    assert_eq!(source(NetworkState::Offline).await, PlaybackSource::Unavailable { reason: ErrorCode::Offline });
    school.go(NetworkState::Online);
    let large = device.playback.content(id(1), id(51), None).await.unwrap();
    assert!(matches!(large, MediaContent::Remote { hash: of, .. } if of == hash), "a film passes through: {large:?}");

    let started = device.start(1, unit).await.unwrap();
    device.until_complete(1, started.id).await;
    assert_eq!(source(NetworkState::Offline).await, PlaybackSource::Local);
    *school.permits.lock().unwrap() = Some(ErrorCode::EnrolmentExpired);
    let ended = PlaybackSource::Unavailable { reason: ErrorCode::EnrolmentExpired };
    assert_eq!(source(NetworkState::Offline).await, ended, "an ended enrolment opens nothing");
    let content = device.playback.content(id(1), id(51), None).await;
    assert!(matches!(content, Err(EngineError::Refused(ErrorCode::EnrolmentExpired))), "{content:?}");
    *school.permits.lock().unwrap() = None;

    std::fs::remove_file(folder.path().join(format!("blobs/{}/{hash}", &hash.to_string()[..2]))).unwrap();
    origin.always(Act::status(503));
    school.go(NetworkState::Online);
    let fallen_back = device.playback.content(id(1), id(51), None).await.unwrap();
    assert!(matches!(fallen_back, MediaContent::Remote { .. }), "a missing file is noticed: {fallen_back:?}");
    let noticed = device.view(1, started.id).await;
    assert_eq!(noticed.error, Some(ErrorCode::Damaged), "and fetched again");
    origin.always(Act::Serve);
    school.clock.advance(600_000);
    device.downloads.wake();
    device.until_complete(1, started.id).await;
}

#[tokio::test]
async fn another_learners_asset_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, ..) = school.one_video(5, bytes(1, MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until_complete(1, started.id).await;
    school.enrolled.lock().unwrap().remove(&id(2));
    let foreign = device.playback.content(id(2), id(51), None).await;
    assert!(matches!(foreign, Err(EngineError::NotFound(_))), "{foreign:?}");
    let lesson = device.playback.open(id(2), id(52)).await;
    assert!(matches!(lesson, Err(EngineError::NotFound(_))), "{lesson:?}");
}
