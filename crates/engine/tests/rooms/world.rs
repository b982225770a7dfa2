//! A service with one course behind a relay, and devices that use it.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use carrel_engine::{
    Engine, EngineConfig, OpenError, Ports,
    access::view::{ProfileView, SignIn},
    catalogue::view::LessonCard,
    ports::{FileSecrets, Observed, Power, SystemClock, UnknownLink, http_client},
    sync::view::{NetworkState, SyncView},
};
use carrel_model::{LearnerId, ProfileId, content::LessonKind, lease::Role};
use carrel_service::{
    RunningService, Service, accounts::Passwords, clock::system_clock, config::Config, publish::publish_folder, start,
    store::Account,
};
use carrel_testbed::relay::Relay;
use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) relay: Relay,
    swallow: Arc<AtomicBool>,
    pub(crate) service: Service,
    running: RunningService,
    data: PathBuf,
    folder: tempfile::TempDir,
}

impl World {
    /// A service with the course `rivers` (a page and a quiz) and the learner `amina`, who is enrolled.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config =
            Config { data: folder.path().join("service"), listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
        let running = start(config.clone()).await.unwrap();
        let service = Service::open(config, system_clock()).await.unwrap();
        let swallow = Arc::new(AtomicBool::new(false));
        let relay = Relay::start(answers_swallowed(running.address, Arc::clone(&swallow)).await).await.unwrap();
        let data = folder.path().join("service");
        let world = Self { relay, swallow, service, running, data, folder };
        let course = world.course();
        world.write(&course, "course.toml", "title = \"Rivers\"\n");
        world.write(&course, "01-land/unit.toml", "title = \"Land\"\n");
        world.write(
            &course,
            "01-land/01-carry.md",
            "+++\nkind = \"page\"\ntitle = \"What a river carries\"\n+++\nSand and *silt*.\n",
        );
        world.write(
            &course,
            "01-land/02-check.md",
            "+++\nkind = \"quiz\"\ntitle = \"Check\"\npractice = true\nquestions = [\n\
             { id = \"q1\", kind = \"single\", prompt = \"?\", options = [{ id = \"a\", text = \"A\" }, \
             { id = \"b\", text = \"B\" }], correct = \"a\" },\n\
             { id = \"q2\", kind = \"short_text\", prompt = \"?\", accept = [\"silt\"] }]\n+++\n",
        );
        world.publish().await;
        world.learner("amina", 1).await;
        world
    }

    /// The service ends and starts again as after a restore from a backup: cursors of before mean nothing to it.
    pub(crate) async fn restarted_as_another_incarnation(mut self) -> Self {
        let config =
            Config { data: self.folder.path().join("service"), listen: self.running.address, ..Config::default() };
        self.running.shutdown().await;
        let path = self.folder.path().join("service/carrel-service.db");
        let mut database = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::raw_sql("UPDATE service_state SET value = 'restored' WHERE key = 'epoch'")
            .execute(&mut database)
            .await
            .unwrap();
        self.running = start(config).await.unwrap();
        self.relay.come_back().await.unwrap();
        self
    }

    /// Keeps a copy of the service's database.
    pub(crate) async fn backup(&self) {
        let copy = self.folder.path().join("backup.db");
        self.meddle(&format!("VACUUM INTO '{}'", copy.display())).await;
    }

    /// The service ends, its database is put back to the copy, and it starts again.
    pub(crate) async fn restored_from_the_backup(mut self) -> Self {
        let listen = self.running.address;
        self.running.shutdown().await;
        // Elsewhere: whoever still has the old one open would meddle with the files of the new one.
        let restored = self.folder.path().join("restored");
        copy_folder(&self.data, &restored);
        std::fs::copy(self.folder.path().join("backup.db"), restored.join("carrel-service.db")).unwrap();
        for left in ["carrel-service.db-wal", "carrel-service.db-shm"] {
            std::fs::remove_file(restored.join(left)).ok();
        }
        self.data = restored;
        let config = Config { data: self.data.clone(), listen, ..Config::default() };
        self.running = start(config).await.unwrap();
        self.relay.come_back().await.unwrap();
        self
    }

    /// Publishes the course as its folder is now.
    pub(crate) async fn publish(&self) {
        let (store, objects) = (self.service.store.as_ref(), &self.service.objects);
        publish_folder(store, objects, &self.course(), &system_clock()).await.unwrap();
    }

    /// The folder of the course.
    pub(crate) fn course(&self) -> PathBuf {
        self.folder.path().join("rivers")
    }

    pub(crate) async fn learner(&self, name: &str, n: u64) {
        let learner: LearnerId = format!("01900000-0000-7000-8000-{n:012x}").parse().unwrap();
        let now = system_clock()();
        let account = Account {
            learner,
            name: name.to_owned(),
            display_name: name.to_uppercase(),
            password_hash: Passwords::default().hash(password(name)).await.unwrap(),
            quota_bytes: None,
            created_at: now,
        };
        self.service.store.add_account(&account).await.unwrap();
        self.service.store.enrol(learner, "rivers", Role::Learner, None, now).await.unwrap();
    }

    /// From now on requests reach the service and its answers get lost, or no longer.
    pub(crate) fn swallow_answers(&self, yes: bool) {
        self.swallow.store(yes, Ordering::SeqCst);
    }

    pub(crate) fn write(&self, root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A number out of the service's database.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let path = self.data.join("carrel-service.db");
        let mut database = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut database).await.unwrap()
    }

    /// Changes the service's database behind its back.
    pub(crate) async fn meddle(&self, sql: &str) {
        let path = self.data.join("carrel-service.db");
        let mut database = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    }

    /// A device that has never been used, if its name is new.
    pub(crate) async fn device(&self, name: &str) -> Device {
        Device::open(self.folder.path().join(name)).await
    }

    pub(crate) fn sign_in(&self, name: &str) -> SignIn {
        SignIn { service_url: self.relay.url(), name: name.to_owned(), password: password(name) }
    }
}

/// Forwards both ways, but hands on nothing of what the service says while the flag is up.
async fn answers_swallowed(service: SocketAddr, swallow: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((app, _)) = listener.accept().await {
            let swallow = Arc::clone(&swallow);
            tokio::spawn(async move {
                let service = TcpStream::connect(service).await.unwrap();
                let (mut from_app, mut to_app) = app.into_split();
                let (mut from_service, mut to_service) = service.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_app, &mut to_service).await });
                let mut buffer = [0; 16 * 1024];
                while let Ok(length @ 1..) = from_service.read(&mut buffer).await {
                    if !swallow.load(Ordering::SeqCst) && to_app.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn password(name: &str) -> String {
    format!("{name}'s password")
}

/// An engine over a folder.
pub(crate) struct Device {
    pub(crate) engine: Engine,
    folder: PathBuf,
}

impl Device {
    async fn open(folder: PathBuf) -> Self {
        let opened = Instant::now();
        loop {
            let ports = Ports {
                clock: Arc::new(SystemClock::default()),
                network: Arc::new(UnknownLink::default()),
                power: Arc::new(Observed::new(Power::Unknown)),
                secrets: Arc::new(FileSecrets::new(&folder)),
                http: http_client().unwrap(),
            };
            let config = EngineConfig { data_dir: folder.clone(), device_name: "a test".to_owned() };
            match Engine::open(config, ports).await {
                Ok(engine) => return Self { engine, folder },
                // The engine before is still letting go.
                Err(OpenError::StoreInUse(_)) if opened.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Ends without closing anything, and starts anew.
    pub(crate) async fn killed_and_started(self) -> Self {
        drop(self.engine);
        Self::open(self.folder).await
    }

    /// Where it keeps its data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes the device's database behind the engine's back.
    pub(crate) async fn meddle(&self, sql: &str) {
        let path = self.folder.join("carrel.db");
        let mut database = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::raw_sql(sql).execute(&mut database).await.unwrap();
    }

    pub(crate) async fn signed_in(&self, world: &World, name: &str) -> ProfileView {
        self.engine.access().sign_in(world.sign_in(name)).await.unwrap()
    }

    pub(crate) async fn lesson(&self, profile: ProfileId, kind: LessonKind) -> LessonCard {
        let library = self.engine.catalogue().library(profile).await.unwrap();
        let unit = self.engine.catalogue().unit(profile, library.courses[0].units[0].id).await.unwrap();
        unit.lessons.into_iter().find(|lesson| lesson.kind == kind).unwrap()
    }

    pub(crate) async fn sync(&self, profile: ProfileId) -> SyncView {
        self.engine.sync().status(Some(profile)).await.unwrap()
    }

    /// Everything is sent, and what came of it is pulled.
    pub(crate) async fn everything_is_sent(&self, profile: ProfileId) {
        eventually("everything is sent", async || {
            let sync = self.sync(profile).await;
            sync.waiting == 0 && !sync.syncing && sync.last_error.is_none() && sync.last_success_at.is_some()
        })
        .await;
    }

    pub(crate) async fn badge_is(&self, state: NetworkState) {
        eventually("the badge turns", async || self.engine.sync().status(None).await.unwrap().network == state).await;
    }
}

/// Waits, within bounds, until something holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
