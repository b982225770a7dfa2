//! A unit is taken along from the real service: killed in mid-download, finished, played without a service, deleted.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_engine::{
    Engine, EngineConfig, OpenError, Ports,
    access::view::SignIn,
    catalogue::view::Availability,
    downloads::view::{DownloadView, StartDownload},
    playback::{MediaContent, view::PlaybackSource},
    ports::{FileSecrets, Observed, Power, SystemClock, UnknownLink, http_client},
    storage::view::DeleteUnit,
    sync::view::NetworkState,
};
use carrel_model::{ProfileId, content::Quality, download::DownloadState, lease::Role};
use carrel_service::{
    Service, accounts::Passwords, clock::system_clock, config::Config, publish::publish_folder, start, store::Account,
};
use carrel_testbed::relay::Relay;

const PATIENCE: Duration = Duration::from_secs(60);

async fn open(folder: &Path) -> Engine {
    let began = Instant::now();
    loop {
        let ports = Ports {
            clock: Arc::new(SystemClock::default()),
            network: Arc::new(UnknownLink::default()),
            power: Arc::new(Observed::new(Power::Unknown)),
            secrets: Arc::new(FileSecrets::new(folder)),
            http: http_client().unwrap(),
        };
        let config = EngineConfig { data_dir: folder.to_owned(), device_name: "a test".to_owned() };
        match Engine::open(config, ports).await {
            Ok(engine) => return engine,
            // The engine before is still letting go.
            Err(OpenError::StoreInUse(_)) if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn until(engine: &Engine, profile: ProfileId, wish: impl Fn(&DownloadView) -> bool) -> DownloadView {
    let began = Instant::now();
    loop {
        let view = engine.downloads().list(profile).await.unwrap().downloads.remove(0);
        if wish(&view) {
            return view;
        }
        assert!(began.elapsed() < PATIENCE, "still {view:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// All files of the store and their bytes.
fn stored(folder: &Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![folder.join("blobs"), folder.join("partial")];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() { folders.push(entry.path()) } else { bytes += metadata.len() }
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_survives_a_kill_in_mid_download_and_plays_without_a_service() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        Config { data: folder.path().join("service"), listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    let running = start(config.clone()).await.unwrap();
    let service = Service::open(config, system_clock()).await.unwrap();
    let course = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/courses/rivers");
    publish_folder(service.store.as_ref(), &service.objects, &course, &system_clock()).await.unwrap();
    let learner = "01900000-0000-7000-8000-000000000001".parse().unwrap();
    let account = Account {
        learner,
        name: "amina".to_owned(),
        display_name: "Amina".to_owned(),
        password_hash: Passwords::default().hash("amina's password".to_owned()).await.unwrap(),
        quota_bytes: None,
        created_at: system_clock()(),
    };
    service.store.add_account(&account).await.unwrap();
    service.store.enrol(learner, "rivers", Role::Learner, None, system_clock()()).await.unwrap();
    let mut relay = Relay::start(running.address).await.unwrap();

    let device = folder.path().join("device");
    let engine = open(&device).await;
    let sign_in =
        SignIn { service_url: relay.url(), name: "amina".to_owned(), password: "amina's password".to_owned() };
    let profile = engine.access().sign_in(sign_in).await.unwrap().id;
    let library = engine.catalogue().library(profile).await.unwrap();
    let unit = library.courses[0].units[0].clone();
    let cover = unit.cover_asset_id.unwrap();
    let shown = engine.playback().content(profile, cover, None).await.unwrap();
    assert!(matches!(shown, MediaContent::File { .. }), "a cover shows before anything is downloaded: {shown:?}");

    relay.limit(Some(3 << 20));
    let wish = StartDownload { unit_id: unit.id, lesson_id: None, quality: Some(Quality::High) };
    let started = engine.downloads().start(profile, wish).await.unwrap();
    until(&engine, profile, |view| view.bytes_done > started.bytes_total / 2).await;
    drop(engine);

    let engine = open(&device).await;
    relay.limit(None);
    let done = until(&engine, profile, |view| view.state == DownloadState::Completed).await;
    assert_eq!((done.id, done.bytes_done), (started.id, started.bytes_total));
    // What the sockets held when it was killed is lost; every verified piece is not.
    let fetched = relay.bytes_of(|passed| passed.target.contains("/blobs/"));
    let most = started.bytes_total + (5 << 20);
    assert!(fetched <= most, "{fetched} bytes were fetched of {}", started.bytes_total);

    relay.go_down().await;
    let began = Instant::now();
    while engine.sync().status(None).await.unwrap().network == NetworkState::Online {
        assert!(began.elapsed() < PATIENCE, "the badge doesn't turn");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let view = engine.catalogue().unit(profile, unit.id).await.unwrap();
    assert_eq!(view.unit.state.availability, Availability::ReadyOffline);
    for lesson in &view.lessons {
        assert!(lesson.offline, "{} is here", lesson.title);
        let playback = engine.playback().open(profile, lesson.id).await.unwrap();
        assert_eq!(playback.source, PlaybackSource::Local, "{} plays", lesson.title);
        for media in playback.main.iter().chain(&playback.captions).chain(&playback.images) {
            let content = engine.playback().content(profile, media.asset_id, None).await.unwrap();
            let MediaContent::File { path, size, .. } = content else { panic!("{content:?}") };
            assert_eq!(std::fs::metadata(path).unwrap().len(), size, "{}", media.title);
        }
    }

    let usage = engine.storage().usage(profile).await.unwrap();
    assert_eq!(usage.used_bytes, stored(&device), "usage is what the disk says");
    let deleted = engine.storage().delete_unit(profile, DeleteUnit { unit_id: unit.id }).await.unwrap();
    assert_eq!(deleted.frees_bytes, usage.units[0].frees_bytes);
    let began = Instant::now();
    while stored(&device) != usage.used_bytes - deleted.frees_bytes {
        assert!(began.elapsed() < PATIENCE, "{} bytes are left", stored(&device));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let shown = engine.playback().content(profile, cover, None).await.unwrap();
    assert!(matches!(shown, MediaContent::File { .. }), "the library looks the same");
    engine.close().await;
}
