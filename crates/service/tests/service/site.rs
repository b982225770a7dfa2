//! A service over a temporary folder, learners on devices, and a course that is written as a test needs it.

use std::path::{Path, PathBuf};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use carrel_model::{
    DeviceId, LearnerId, LessonId, TimeMs,
    lease::Role,
    op::{Op, RawOp},
    progress::{LessonCompleted, PositionReached},
};
use carrel_service::{
    Service,
    accounts::Passwords,
    config::Config,
    publish::{PublishError, publish_folder},
    store::{Account, Published},
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tower::ServiceExt as _;

use crate::postgres;

/// 2026-11-20T10:00:00Z
pub(crate) const START: i64 = 1_795_168_800_000;
pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

/// An id with a number in it.
pub(crate) fn id<T: std::str::FromStr>(n: u64) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("01900000-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The status and code of a problem; panics if it is none.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "the body repeats the status");
        (self.status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    }

    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

/// What the service keeps its rows in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// Each of these holds for both stores.
#[macro_export]
macro_rules! on_both_stores {
    ($($holds:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $holds() {
                    super::$holds($crate::site::On::Sqlite).await;
                }
            )+
        }

        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $holds() {
                    super::$holds($crate::site::On::Postgres).await;
                }
            )+
        }
    };
}

/// A service and its data.
pub(crate) struct Site {
    pub(crate) service: Service,
    pub(crate) router: Router,
    pub(crate) folder: tempfile::TempDir,
    /// The address of its database, where that is no file.
    pub(crate) database: Option<String>,
    config: Config,
    time: Arc<AtomicI64>,
}

/// A learner signed in on a device.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) learner: LearnerId,
    pub(crate) device: DeviceId,
    pub(crate) token: String,
    pub(crate) refresh: String,
}

impl Site {
    pub(crate) async fn new(on: On) -> Self {
        Self::with(on, Config::default()).await
    }

    pub(crate) async fn with(on: On, config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = match on {
            On::Sqlite => None,
            On::Postgres => Some(postgres::fresh_database(None).await),
        };
        let config = Config { data: folder.path().join("data"), database: database.clone().map(Into::into), ..config };
        Self::over(folder, database, config, Arc::new(AtomicI64::new(START))).await
    }

    async fn over(folder: tempfile::TempDir, database: Option<String>, config: Config, time: Arc<AtomicI64>) -> Self {
        let clock_time = time.clone();
        let clock = Arc::new(move || TimeMs::from_ms(clock_time.load(Ordering::SeqCst)));
        let service = Service::open(config.clone(), clock).await.unwrap();
        let router = service.router().unwrap();
        Self { service, router, folder, database, config, time }
    }

    /// The service ends and starts again.
    pub(crate) async fn restarted(self) -> Self {
        self.restarted_after(async |_, _| {}).await
    }

    /// The service ends, something is done to its database – a file or an address – and it starts again.
    pub(crate) async fn restarted_after(self, done: impl AsyncFnOnce(&Path, Option<&str>)) -> Self {
        let Self { service, router, folder, database, config, time } = self;
        service.store.close().await;
        drop((service, router));
        done(&folder.path().join("data/carrel-service.db"), database.as_deref()).await;
        Self::over(folder, database, config, time).await
    }

    pub(crate) fn now(&self) -> TimeMs {
        TimeMs::from_ms(self.time.load(Ordering::SeqCst))
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.time.fetch_add(ms, Ordering::SeqCst);
    }

    /// A course of one unit `land` with the page `carry` and the quiz `check`, written but not published.
    pub(crate) fn course(&self, key: &str) -> CourseFiles {
        let root = self.folder.path().join(key);
        std::fs::create_dir_all(&root).unwrap();
        let files = CourseFiles { root };
        files.write("course.toml", "title = \"Rivers\"\n");
        files.write("01-land/unit.toml", "title = \"Land\"\n");
        files.page("01-land/01-carry.md", "What a river carries", "Sand and *silt*.");
        files.write(
            "01-land/02-check.md",
            "+++\nkind = \"quiz\"\ntitle = \"Check\"\nquestions = [{ id = \"q1\", kind = \"single\", prompt = \"?\", \
             options = [{ id = \"a\", text = \"A\" }, { id = \"b\", text = \"B\" }], correct = \"a\" }]\n+++\n",
        );
        files
    }

    pub(crate) async fn publish(&self, course: &CourseFiles) -> Published {
        self.try_publish(course).await.unwrap()
    }

    pub(crate) async fn try_publish(&self, course: &CourseFiles) -> Result<Published, PublishError> {
        let store = self.service.store.as_ref();
        publish_folder(store, &self.service.objects, &course.root, &self.service.clock).await.map(|(_, done)| done)
    }

    pub(crate) async fn account(&self, n: u64, name: &str) -> LearnerId {
        let learner = id(n);
        let account = Account {
            learner,
            name: name.to_owned(),
            display_name: name.to_uppercase(),
            password_hash: Passwords::default().hash(format!("{name}'s password")).await.unwrap(),
            quota_bytes: None,
            created_at: self.now(),
        };
        self.service.store.add_account(&account).await.unwrap();
        learner
    }

    pub(crate) async fn sign_in(&self, name: &str, device: u64) -> SignedIn {
        let device: DeviceId = id(device);
        let request = json!({ "name": name, "password": format!("{name}'s password"), "device_id": device });
        let reply = self.post("/auth/sign-in", None, &request).await.ok();
        SignedIn {
            learner: serde_json::from_value(reply["learner"]["id"].clone()).unwrap(),
            device,
            token: reply["access_token"].as_str().unwrap().to_owned(),
            refresh: reply["refresh_token"].as_str().unwrap().to_owned(),
        }
    }

    /// An account and its sign-in on a device, both named by a number.
    pub(crate) async fn learner(&self, n: u64, name: &str) -> SignedIn {
        self.account(n, name).await;
        self.sign_in(name, 1000 + n).await
    }

    pub(crate) async fn enrol(&self, who: &SignedIn, course: &str) {
        self.service.store.enrol(who.learner, course, Role::Learner, None, self.now()).await.unwrap();
    }

    pub(crate) async fn unenrol(&self, who: &SignedIn, course: &str) {
        self.service.store.unenrol(who.learner, course, self.now()).await.unwrap();
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    pub(crate) async fn get(&self, path: &str, who: Option<&SignedIn>) -> Reply {
        self.get_with(path, who, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, who: Option<&SignedIn>, headers: &[(&str, &str)]) -> Reply {
        let path = if path.starts_with("/api/v1") { path.to_owned() } else { format!("/api/v1{path}") };
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(who) = who {
            request = request.header("authorization", format!("Bearer {}", who.token));
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, who: Option<&SignedIn>, body: &Value) -> Reply {
        self.post_bytes(path, who, serde_json::to_vec(body).unwrap()).await
    }

    pub(crate) async fn post_bytes(&self, path: &str, who: Option<&SignedIn>, body: Vec<u8>) -> Reply {
        let mut request = Request::post(format!("/api/v1{path}")).header("content-type", "application/json");
        if let Some(who) = who {
            request = request.header("authorization", format!("Bearer {}", who.token));
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Everything from a cursor on, page by page; the merged pages and the last cursor.
    pub(crate) async fn units_sync(&self, who: &SignedIn, cursor: &str, limit: u32) -> (Value, String) {
        let mut all = json!({ "courses": [], "units": [], "tombstones": [] });
        let mut cursor = cursor.to_owned();
        loop {
            let page = self.get(&format!("/content/units/sync?since={cursor}&limit={limit}"), Some(who)).await.ok();
            for set in ["courses", "units", "tombstones"] {
                all[set].as_array_mut().unwrap().extend(page[set].as_array().unwrap().iter().cloned());
            }
            cursor = page["cursor"].as_str().unwrap().to_owned();
            if !page["has_more"].as_bool().unwrap() {
                all["checksum"] = page["checksum"].clone();
                return (all, cursor);
            }
        }
    }

    pub(crate) async fn push(&self, who: &SignedIn, ops: &[RawOp]) -> Vec<Value> {
        let request = json!({ "device_id": who.device, "client_now": self.now(), "ops": ops });
        self.post("/sync/push", Some(who), &request).await.ok()["results"].as_array().unwrap().clone()
    }

    pub(crate) async fn pull(&self, who: &SignedIn, cursor: &str) -> Value {
        self.get(&format!("/sync/pull?cursor={cursor}"), Some(who)).await.ok()
    }

    /// A second connection to the database, to look at rows as an administrator would.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        if let Some(address) = &self.database {
            let mut connection = sqlx::PgConnection::connect(address).await.unwrap();
            return sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        }
        let path = self.folder.path().join("data/carrel-service.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }
}

impl Site {
    /// Changes rows behind the service's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if let Some(address) = &self.database {
            let mut connection = sqlx::PgConnection::connect(address).await.unwrap();
            sqlx::query(sql).execute(&mut connection).await.unwrap();
            return;
        }
        let path = self.folder.path().join("data/carrel-service.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
}

/// The outcome of each verdict.
pub(crate) fn outcomes(results: &[Value]) -> Vec<&str> {
    results
        .iter()
        .map(|result| result["code"].as_str().unwrap_or_else(|| result["outcome"].as_str().unwrap()))
        .collect()
}

pub(crate) fn position(seq: u64, lesson: LessonId, at: TimeMs, percent: u8) -> RawOp {
    let reached = PositionReached { attempt: 1, position: u64::from(percent) * 10, percent };
    Op::Position(lesson, reached).encode(seq, at).unwrap()
}

pub(crate) fn completed(seq: u64, lesson: LessonId, at: TimeMs) -> RawOp {
    Op::Completed(lesson, LessonCompleted { attempt: 1 }).encode(seq, at).unwrap()
}

/// The files of a course.
pub(crate) struct CourseFiles {
    pub(crate) root: PathBuf,
}

impl CourseFiles {
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.root.join(path);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }

    pub(crate) fn page(&self, path: &str, title: &str, text: &str) {
        self.write(path, format!("+++\nkind = \"page\"\ntitle = \"{title}\"\n+++\n{text}\n"));
    }

    /// An audio lesson `listen` with so many seconds of silence.
    pub(crate) fn recording(&self, path: &str, seconds: u32) {
        let file = self.root.join(path);
        let name = format!("{}.wav", file.file_stem().unwrap().to_str().unwrap());
        let media = PathBuf::from(path).parent().unwrap().join(&name);
        self.write(media.to_str().unwrap(), wav(seconds));
        self.write(path, format!("+++\nkind = \"audio\"\ntitle = \"Listen\"\nmedia = \"{name}\"\n+++\n"));
    }
}

/// Mono, 8 bit, 8000 Hz; each second another value, so that no two MiB are alike.
pub(crate) fn wav(seconds: u32) -> Vec<u8> {
    let length = seconds * 8000;
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&8000_u32.to_le_bytes());
    file.extend_from_slice(&8000_u32.to_le_bytes());
    file.extend_from_slice(b"\x01\0\x08\0data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend((0..length).map(|n| u8::try_from(n / 8000 % 251).unwrap()));
    file
}

/// The smallest PNG that is one.
pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x08\x02\0\0\0\x12\x16\xf1M";

/// The id of a lesson by its title, as a learner sees it.
pub(crate) async fn lesson(site: &Site, who: &SignedIn, title: &str) -> LessonId {
    for scope in ["mine", "global"] {
        let units = site.get(&format!("/content/units?scope={scope}"), Some(who)).await.ok();
        for unit in units["units"].as_array().unwrap() {
            for lesson in unit["lessons"].as_array().unwrap() {
                if lesson["title"] == title {
                    return serde_json::from_value(lesson["id"].clone()).unwrap();
                }
            }
        }
    }
    panic!("no lesson {title:?}")
}
