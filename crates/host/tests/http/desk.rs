//! A host with a store of its own, a browser, and a service with the rivers course.

use std::{path::Path, sync::Arc};

use carrel_engine::model::{LearnerId, lease::Role};
use carrel_engine::ports::{FileSecrets, Link, Observed, Power, SystemClock, http_client};
use carrel_host::{EngineConfig, Host, HostConfig, Ports, http::HttpHost, media::MediaAddresses};
use carrel_service::{
    RunningService, Service, accounts::Passwords, clock::system_clock, config::Config, publish::publish_folder,
    store::Account,
};
use http::{StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A host, served.
pub(crate) struct Desk {
    pub(crate) origin: String,
    pub(crate) link: String,
    pub(crate) http: reqwest::Client,
    pub(crate) folder: tempfile::TempDir,
    /// What the platform says, said by the test.
    pub(crate) network: Arc<Observed<Link>>,
    pub(crate) power: Arc<Observed<Power>>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Desk {
    pub(crate) async fn open() -> Self {
        Self::open_over(|_| {}).await
    }

    /// With something done to its data folder before it opens.
    pub(crate) async fn open_over(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, ui) = (folder.path().join("data"), folder.path().join("ui"));
        std::fs::create_dir_all(ui.join("assets")).unwrap();
        std::fs::write(ui.join("index.html"), "<!doctype html><title>Carrel</title>").unwrap();
        std::fs::write(ui.join("assets/app.js"), "export {};").unwrap();
        std::fs::write(folder.path().join("outside.txt"), "not for the web").unwrap();
        prepare(&data);
        let network = Arc::new(Observed::new(Link::Unknown));
        let power = Arc::new(Observed::new(Power::Unknown));
        let ports = Ports {
            clock: Arc::new(SystemClock::default()),
            network: Arc::clone(&network) as _,
            power: Arc::clone(&power) as _,
            secrets: Arc::new(FileSecrets::new(&data)),
            http: http_client().unwrap(),
        };
        let http = HttpHost::bind("127.0.0.1:0".parse().unwrap(), &*ports.clock).await.unwrap();
        let media = MediaAddresses::new(http.media_route(), ports.clock.clone());
        let engine = EngineConfig { data_dir: data, device_name: "test".to_owned() };
        let host = Host::open(HostConfig { engine, suggested_service: None }, ports, media).await;
        let (origin, link, stop) = (format!("http://{}", http.address()), http.link(), CancellationToken::new());
        let stopping = stop.clone();
        let served = tokio::spawn(async move {
            http.serve(host.clone(), ui, stopping).await.unwrap();
            host.close().await;
        });
        Self { origin, link, http: browser(), folder, network, power, stop, served }
    }

    /// Opened, the one-time link followed.
    pub(crate) async fn entered() -> Self {
        let mut desk = Self::open().await;
        desk.enter().await;
        desk
    }

    pub(crate) async fn enter(&mut self) {
        let answer = self.http.get(&self.link).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = [(header::COOKIE, cookie.parse().unwrap())].into_iter().collect();
        self.http = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
    }

    /// A command as our own page sends it.
    pub(crate) fn post(&self, command: &str, request: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/api/commands/{command}", self.origin);
        self.http.post(url).header(header::ORIGIN, &self.origin).json(request)
    }

    pub(crate) async fn call(&self, command: &str, request: Value) -> (StatusCode, Value) {
        let answer = self.post(command, &request).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// A command that must succeed.
    pub(crate) async fn ask(&self, command: &str, request: Value) -> Value {
        let (status, answer) = self.call(command, request).await;
        assert_eq!(status, StatusCode::OK, "{command}: {answer}");
        answer
    }

    pub(crate) async fn sign_in(&self, service: &RunningService, name: &str) -> Value {
        let request = json!({ "service_url": service.url(), "name": name, "password": "correct horse" });
        self.ask("access_sign_in", request).await
    }

    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

/// A browser without cookies that follows nothing by itself.
pub(crate) fn browser() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

/// A service with the rivers course; Amina takes it, Badr doesn't.
pub(crate) async fn service(folder: &Path) -> RunningService {
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), data: folder.join("service"), ..Config::default() };
    let service = Service::open(config.clone(), system_clock()).await.unwrap();
    let rivers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/courses/rivers");
    publish_folder(&*service.store, &service.objects, &rivers, &service.clock).await.unwrap();
    let now = (service.clock)();
    let password_hash = Passwords::default().hash("correct horse".to_owned()).await.unwrap();
    for (seed, name) in [(1, "amina"), (2, "badr")] {
        let learner = LearnerId::from_parts(now, [seed; 10]);
        let account = Account {
            learner,
            name: name.to_owned(),
            display_name: name.to_owned(),
            password_hash: password_hash.clone(),
            quota_bytes: None,
            created_at: now,
        };
        service.store.add_account(&account).await.unwrap();
        if name == "amina" {
            service.store.enrol(learner, "rivers", Role::Learner, None, now).await.unwrap();
        }
    }
    service.store.close().await;
    carrel_service::start(config).await.unwrap()
}
