//! Tests of the queue, playback and storage: a school with real files behind real sockets, and a device that takes them
//! along. What stands in is only what the other rooms would answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use carrel_model::{
    AssetId, BlobHash, CourseId, DownloadId, ErrorCode, LessonId, ProfileId, TimeMs, UnitId,
    content::{Asset, AssetKind, Course, Lesson, LessonKind, LessonPayload, Quality, Rendition, Unit},
    download::DownloadState,
    op::Op,
    pieces::{Manifest, ManifestBuilder},
    trusted_time::Reading,
    wire::{
        content::{SignedUrl, UrlWanted, UrlsResponse},
        downloads::{AuthorizeRequest, Authorized, AuthorizedBlob},
    },
};
use carrel_testbed::http_origin::Origin;
use carrel_transfer::{Fetcher, FetcherConfig, HttpClient, HttpOptions};
use tokio::sync::watch;

use super::{
    Downloads, DownloadsParts,
    rooms::{OwnedAsset, Rooms},
    view::{DownloadView, StartDownload},
};
use crate::{
    EngineError,
    background::Background,
    blobs::{Blobs, Disk, DiskFacts},
    events::EventBus,
    library::{Library, WriteTx},
    playback::{Playback, PlaybackParts},
    ports::Clock,
    settings::Settings,
    storage::{Storage, StorageParts},
    sync::view::NetworkState,
};

pub(crate) const MIB: usize = 1 << 20;
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An id that says what it stands for.
pub(crate) fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(n: u32) -> T {
    format!("01900000-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// Bytes that repeat nowhere.
pub(crate) fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&[seed]).finalize_xof();
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

pub(crate) fn manifest_of(content: &[u8]) -> Manifest {
    let mut builder = ManifestBuilder::new();
    builder.update(content);
    builder.finish()
}

/// A clock that stands still unless told.
#[derive(Debug)]
pub(crate) struct TestClock(Mutex<i64>);

impl TestClock {
    pub(crate) fn advance(&self, ms: i64) {
        *self.0.lock().unwrap() += ms;
    }
}

impl Clock for TestClock {
    fn read(&self) -> Reading {
        let ms = *self.0.lock().unwrap();
        Reading { wall: TimeMs::from_ms(ms), monotonic_ms: ms }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        rand::RngCore::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// A disk of any size.
#[derive(Debug)]
pub(crate) struct TestDisk(pub(crate) Mutex<DiskFacts>);

impl Disk for TestDisk {
    fn facts(&self, _: &Path) -> std::io::Result<DiskFacts> {
        Ok(*self.0.lock().unwrap())
    }
}

/// What is taught: units, their bytes, and who may see them.
#[derive(Debug)]
pub(crate) struct School {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) network: watch::Sender<(NetworkState, TimeMs)>,
    pub(crate) signed_in: Mutex<BTreeSet<ProfileId>>,
    pub(crate) enrolled: Mutex<BTreeSet<ProfileId>>,
    pub(crate) permits: Mutex<Option<ErrorCode>>,
    pub(crate) expires_at: Mutex<Option<TimeMs>>,
    pub(crate) waiting: Mutex<BTreeMap<UnitId, u32>>,
    pub(crate) reported: Mutex<Vec<Op>>,
    pub(crate) asked_for_urls: Mutex<u32>,
    pub(crate) settings: Mutex<Settings>,
    units: Mutex<BTreeMap<UnitId, Unit>>,
    origins: Mutex<BTreeMap<BlobHash, Arc<Origin>>>,
    manifests: Mutex<BTreeMap<BlobHash, Manifest>>,
}

impl School {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(TestClock(Mutex::new(1_800_000_000_000))),
            network: watch::Sender::new((NetworkState::Online, TimeMs::default())),
            signed_in: Mutex::new([id(1), id(2)].into()),
            enrolled: Mutex::new([id(1), id(2)].into()),
            permits: Mutex::default(),
            expires_at: Mutex::default(),
            waiting: Mutex::default(),
            reported: Mutex::default(),
            asked_for_urls: Mutex::default(),
            settings: Mutex::default(),
            units: Mutex::default(),
            origins: Mutex::default(),
            manifests: Mutex::default(),
        })
    }

    /// Puts content behind a socket.
    pub(crate) async fn serve(&self, content: Vec<u8>) -> (BlobHash, Arc<Origin>) {
        let manifest = manifest_of(&content);
        let hash = manifest.hash();
        let origin = Arc::new(Origin::start(content).await.unwrap());
        self.manifests.lock().unwrap().insert(hash, manifest);
        self.origins.lock().unwrap().insert(hash, Arc::clone(&origin));
        (hash, origin)
    }

    /// An asset in renditions that were put behind sockets.
    pub(crate) fn asset(&self, n: u32, kind: AssetKind, lesson: Option<LessonId>, of: &[(Quality, BlobHash)]) -> Asset {
        let manifests = self.manifests.lock().unwrap();
        let renditions = of.iter().map(|(quality, hash)| Rendition {
            quality: *quality,
            hash: *hash,
            size: manifests[hash].size(),
            mime: format!("{kind}/test"),
            width: None,
            height: None,
            bitrate: None,
        });
        Asset {
            id: id(n),
            lesson_id: lesson,
            kind,
            title: format!("asset {n}"),
            language: None,
            duration_ms: None,
            renditions: renditions.collect(),
            updated_at: TimeMs::default(),
        }
    }

    /// Publishes a unit: each asset that names a lesson makes one of it.
    pub(crate) fn publish(&self, n: u32, cover: Option<Asset>, assets: Vec<Asset>) -> UnitId {
        let unit_id = id(n);
        let lessons = assets.iter().zip(0..).filter_map(|(asset, position)| {
            Some(Lesson {
                id: asset.lesson_id?,
                unit_id,
                position,
                kind: LessonKind::Video,
                title: format!("lesson of {}", asset.title),
                summary: String::new(),
                duration_ms: None,
                primary_asset_id: Some(asset.id),
                payload: LessonPayload::default(),
                schema_version: 1,
                updated_at: TimeMs::default(),
            })
        });
        let unit = Unit {
            id: unit_id,
            course_id: id(900),
            position: 0,
            title: format!("unit {n}"),
            summary: String::new(),
            language: "en".to_owned(),
            cover,
            schema_version: 1,
            lessons: lessons.collect(),
            assets,
            updated_at: TimeMs::default(),
        };
        self.units.lock().unwrap().insert(unit_id, unit);
        unit_id
    }

    /// A unit of one video lesson in one quality, with its origin.
    pub(crate) async fn one_video(&self, n: u32, content: Vec<u8>) -> (UnitId, BlobHash, Arc<Origin>) {
        let (hash, origin) = self.serve(content).await;
        let asset = self.asset(n * 10 + 1, AssetKind::Video, Some(id(n * 10 + 2)), &[(Quality::Medium, hash)]);
        (self.publish(n, None, vec![asset]), hash, origin)
    }

    pub(crate) fn go(&self, state: NetworkState) {
        self.network.send_replace((state, TimeMs::default()));
    }

    fn visible(&self, profile: ProfileId) -> Vec<Unit> {
        if !self.enrolled.lock().unwrap().contains(&profile) {
            return Vec::new();
        }
        self.units.lock().unwrap().values().cloned().collect()
    }
}

fn course() -> Course {
    Course {
        id: id(900),
        title: "Course".to_owned(),
        summary: String::new(),
        subject: String::new(),
        level: String::new(),
        language: "en".to_owned(),
        accent: "#336699".to_owned(),
        cover: None,
        open: false,
        premium: false,
        position: 0,
        updated_at: TimeMs::default(),
    }
}

#[async_trait]
impl Rooms for School {
    fn network(&self) -> watch::Receiver<(NetworkState, TimeMs)> {
        self.network.subscribe()
    }

    fn trusted_now(&self) -> TimeMs {
        self.clock.now()
    }

    async fn signed_in(&self) -> Result<Vec<ProfileId>, EngineError> {
        Ok(self.signed_in.lock().unwrap().iter().copied().collect())
    }

    async fn permits(
        &self,
        _: ProfileId,
        _: CourseId,
        _: bool,
        download_expires_at: Option<TimeMs>,
    ) -> Result<(), EngineError> {
        if let Some(code) = *self.permits.lock().unwrap() {
            return Err(EngineError::Refused(code));
        }
        match download_expires_at.is_some_and(|end| end <= self.clock.now()) {
            true => Err(EngineError::Refused(ErrorCode::Expired)),
            false => Ok(()),
        }
    }

    async fn authorize(&self, profile: ProfileId, request: AuthorizeRequest) -> Result<Authorized, EngineError> {
        let wish = request.quality.unwrap_or(Quality::Medium);
        let units = self.visible(profile);
        let unit = units
            .iter()
            .find(|unit| {
                request.unit_id == Some(unit.id)
                    || unit.lessons.iter().any(|lesson| request.lesson_id == Some(lesson.id))
            })
            .ok_or(EngineError::Refused(ErrorCode::NotEnrolled))?;
        let (origins, manifests) = (self.origins.lock().unwrap(), self.manifests.lock().unwrap());
        let now = self.clock.now();
        let assets = unit.cover.iter().chain(&unit.assets);
        let mut seen = BTreeSet::new();
        let blobs = assets
            .filter(|asset| request.lesson_id.is_none() || asset.lesson_id == request.lesson_id)
            .filter_map(|asset| Some((asset, asset.rendition_for(wish)?)))
            .filter(|(_, rendition)| seen.insert(rendition.hash))
            .map(|(asset, rendition)| AuthorizedBlob {
                asset_id: asset.id,
                lesson_id: asset.lesson_id,
                unit_id: Some(unit.id),
                kind: asset.kind,
                quality: rendition.quality,
                mime: rendition.mime.clone(),
                manifest: manifests[&rendition.hash].clone(),
                url: origins[&rendition.hash].url("/blob"),
                url_expires_at: now.plus_ms(900_000),
            })
            .collect();
        let expires_at = *self.expires_at.lock().unwrap();
        Ok(Authorized { blobs, expires_at, quota_used: 0, quota_limit: None, server_time: now })
    }

    async fn urls(&self, profile: ProfileId, items: Vec<UrlWanted>) -> Result<UrlsResponse, EngineError> {
        *self.asked_for_urls.lock().unwrap() += 1;
        let now = self.clock.now();
        let units = self.visible(profile);
        let urls = items.into_iter().filter_map(|item| {
            let mut assets = units.iter().flat_map(|unit| unit.cover.iter().chain(&unit.assets));
            let asset = assets.find(|asset| asset.id == item.asset_id)?;
            let rendition = asset.renditions.iter().find(|rendition| rendition.quality == item.quality)?;
            Some(SignedUrl {
                asset_id: item.asset_id,
                quality: item.quality,
                hash: rendition.hash,
                size: rendition.size,
                url: self.origins.lock().unwrap()[&rendition.hash].url("/blob"),
                expires_at: now.plus_ms(900_000),
            })
        });
        Ok(UrlsResponse { urls: urls.collect(), server_time: now })
    }

    async fn unit(&self, profile: ProfileId, unit: UnitId) -> Result<Option<(Course, Unit)>, EngineError> {
        Ok(self.visible(profile).into_iter().find(|known| known.id == unit).map(|unit| (course(), unit)))
    }

    async fn lesson(&self, profile: ProfileId, lesson: LessonId) -> Result<Option<(Course, Unit)>, EngineError> {
        let unit = self.visible(profile).into_iter().find(|unit| unit.lessons.iter().any(|known| known.id == lesson));
        Ok(unit.map(|unit| (course(), unit)))
    }

    async fn asset(&self, profile: ProfileId, asset: AssetId) -> Result<Option<OwnedAsset>, EngineError> {
        let owned = self.visible(profile).into_iter().find_map(|unit| {
            let asset = unit.cover.iter().chain(&unit.assets).find(|known| known.id == asset)?.clone();
            Some(OwnedAsset { asset, course_id: id(900), course_is_open: false, unit_id: Some(unit.id) })
        });
        Ok(owned)
    }

    async fn settings(&self, _: ProfileId) -> Result<Settings, EngineError> {
        Ok(self.settings.lock().unwrap().clone())
    }

    async fn resume_position(&self, _: ProfileId, _: LessonId) -> Result<u64, EngineError> {
        Ok(0)
    }

    async fn waiting(&self, _: ProfileId) -> Result<BTreeMap<UnitId, u32>, EngineError> {
        Ok(self.waiting.lock().unwrap().clone())
    }

    async fn enqueue(&self, _: &mut WriteTx, _: ProfileId, op: &Op) -> Result<(), EngineError> {
        self.reported.lock().unwrap().push(op.clone());
        Ok(())
    }
}

/// A device with learners 1 and 2.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) library: Library,
    pub(crate) blobs: Blobs,
    pub(crate) downloads: Downloads,
    pub(crate) playback: Playback,
    pub(crate) storage: Storage,
    pub(crate) events: EventBus,
    background: Background,
}

pub(crate) fn roomy() -> Arc<TestDisk> {
    Arc::new(TestDisk(Mutex::new(DiskFacts { total_bytes: 100_000_000_000, free_bytes: 50_000_000_000 })))
}

impl Device {
    pub(crate) async fn open(folder: &Path, school: &Arc<School>) -> Self {
        Self::open_with(folder, school, roomy()).await
    }

    pub(crate) async fn open_with(folder: &Path, school: &Arc<School>, disk: Arc<TestDisk>) -> Self {
        let clock: Arc<dyn Clock> = Arc::clone(&school.clock) as _;
        let (library, _) = Library::open(folder, clock.as_ref()).await.unwrap();
        let mut tx = library.write().await.unwrap();
        for n in [1, 2] {
            sqlx::query(
                "INSERT INTO profiles (id, learner_id, service_url, name, display_name, device_id, used_at, created_at)
                 VALUES (?1, ?1, 'http://localhost', 'name', 'Name', ?1, 0, 0) ON CONFLICT DO NOTHING",
            )
            .bind(id::<ProfileId>(n).to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        let blobs = Blobs::open(library.clone(), folder, disk, Arc::clone(&clock)).await.unwrap();
        let events = EventBus::default();
        let background = Background::default();
        let rooms: Arc<dyn Rooms> = Arc::clone(school) as _;
        let mut config = FetcherConfig::default();
        (config.backoff_base, config.attempts) = (Duration::from_millis(5), 2);
        let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), config);
        let parts = DownloadsParts {
            library: library.clone(),
            blobs: blobs.clone(),
            rooms: Arc::clone(&rooms),
            events: events.clone(),
            clock: Arc::clone(&clock),
            fetcher,
        };
        let downloads = Downloads::open(parts, &background).await.unwrap();
        let playback = Playback::new(PlaybackParts {
            library: library.clone(),
            blobs: blobs.clone(),
            rooms: Arc::clone(&rooms),
            downloads: downloads.clone(),
            clock: Arc::clone(&clock),
            http: reqwest::Client::new(),
        });
        let storage = Storage::open(StorageParts {
            library: library.clone(),
            blobs: blobs.clone(),
            rooms,
            downloads: downloads.clone(),
            events: events.clone(),
            clock,
            background: background.clone(),
        })
        .await
        .unwrap();
        Self { library, blobs, downloads, playback, storage, events, background }
    }

    /// Ends everything where it stands, as a kill would: nothing is asked to finish.
    pub(crate) async fn kill(self) {
        self.background.stop().await;
        self.library.close().await;
    }

    pub(crate) async fn start(&self, profile: u32, unit: UnitId) -> Result<DownloadView, EngineError> {
        self.start_as(profile, unit, None).await
    }

    pub(crate) async fn start_as(
        &self,
        profile: u32,
        unit_id: UnitId,
        quality: Option<Quality>,
    ) -> Result<DownloadView, EngineError> {
        self.downloads.start(id(profile), StartDownload { unit_id, lesson_id: None, quality }).await
    }

    pub(crate) async fn view(&self, profile: u32, download: DownloadId) -> DownloadView {
        let all = self.downloads.list(id(profile)).await.unwrap().downloads;
        all.into_iter().find(|view| view.id == download).unwrap()
    }

    /// Waits until a download is as wished.
    pub(crate) async fn until(
        &self,
        profile: u32,
        download: DownloadId,
        wish: impl Fn(&DownloadView) -> bool,
    ) -> DownloadView {
        eventually(async || {
            let view = self.view(profile, download).await;
            if wish(&view) { Ok(view) } else { Err(format!("{view:?}")) }
        })
        .await
    }

    pub(crate) async fn until_complete(&self, profile: u32, download: DownloadId) -> DownloadView {
        self.until(profile, download, |view| view.state == DownloadState::Completed).await
    }
}

/// Waits for a condition, not for a time; says what was there instead when it doesn't come.
pub(crate) async fn eventually<T>(look: impl AsyncFn() -> Result<T, String>) -> T {
    let begun = std::time::Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(instead) => assert!(begun.elapsed() < PATIENCE, "still {instead}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All files of a store with their lengths.
pub(crate) fn files(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.join("blobs"), folder.join("partial")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => folders.push(entry.path()),
                metadata => {
                    found.insert(entry.file_name().into_string().unwrap(), metadata.len());
                }
            }
        }
    }
    found
}
