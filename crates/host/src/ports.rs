//! The machine an engine really runs on: its clock, its randomness, its network, its secrets.
//!
//! The one place of the product where the wall clock is read for the engine.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use carrel_engine::ports::{Clock, Link, NetworkObserver, Ports, Secrets};
use carrel_model::{TimeMs, trusted_time::Reading};
use rand::RngCore as _;
use tokio::sync::watch;

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be set up: {0}")]
pub struct PortsError(#[from] reqwest::Error);

/// The ports of this machine, for a store in `data_dir`.
pub fn system(data_dir: &Path) -> Result<Ports, PortsError> {
    // Fails when another is installed already, and any provider will do.
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = reqwest::Client::builder()
        .user_agent(concat!("carrel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    Ok(Ports {
        clock: Arc::new(SystemClock::default()),
        network: Arc::new(UnknownLink::default()),
        secrets: Arc::new(SecretsFile { path: data_dir.join("secrets.json"), writing: tokio::sync::Mutex::default() }),
        http,
    })
}

/// What this device is called.
#[must_use]
pub fn device_name() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    // Android calls every device the same.
    if name.is_empty() || name == "localhost" { format!("{} device", std::env::consts::OS) } else { name }
}

#[derive(Debug)]
struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let whole = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Reading { wall: TimeMs::from_ms(whole(wall)), monotonic_ms: whole(self.start.elapsed()) }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Says nothing about the link, so that the engine asks the service itself.
#[derive(Debug)]
struct UnknownLink(watch::Sender<Link>);

impl Default for UnknownLink {
    fn default() -> Self {
        Self(watch::Sender::new(Link::Unknown))
    }
}

impl NetworkObserver for UnknownLink {
    fn link(&self) -> watch::Receiver<Link> {
        self.0.subscribe()
    }
}

/// Secrets in a file that only this user can read, written anew and renamed into place.
#[derive(Debug)]
struct SecretsFile {
    path: PathBuf,
    writing: tokio::sync::Mutex<()>,
}

impl SecretsFile {
    fn read(&self) -> io::Result<BTreeMap<String, String>> {
        match std::fs::read(&self.path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }

    fn write(&self, secrets: &BTreeMap<String, String>) -> io::Result<()> {
        use std::io::Write as _;
        let new = self.path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(&serde_json::to_vec(secrets)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)
    }
}

#[async_trait::async_trait]
impl Secrets for SecretsFile {
    async fn get(&self, name: &str) -> io::Result<Option<String>> {
        Ok(self.read()?.remove(name))
    }

    async fn set(&self, name: &str, secret: &str) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        let mut secrets = self.read()?;
        secrets.insert(name.to_owned(), secret.to_owned());
        self.write(&secrets)
    }

    async fn delete(&self, name: &str) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().await;
        let mut secrets = self.read()?;
        if secrets.remove(name).is_none() {
            return Ok(());
        }
        self.write(&secrets)
    }

    fn is_fallback(&self) -> bool {
        true
    }
}
