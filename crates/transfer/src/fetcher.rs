//! The door: one blob into one file.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use carrel_model::pieces::Manifest;
use tokio::sync::watch;

use crate::{
    ClientError, Clock, Control, FetchError, FileLayer, HttpClient, Journal, Proxy, Sources, SystemClock, SystemFiles,
    Urgency,
    disk::{Disk, DiskOptions},
    rules::patience::Limits,
    run::{Run, pace::Pace, places::Places},
};

/// Fetches that all notice a changed network close the old connections once.
const FORGET_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// What to fetch and where to put it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchRequest {
    /// Size, hash and pieces of the blob.
    pub manifest: Arc<Manifest>,
    /// The part file: made when it isn't there, continued when it is. Its folder must exist.
    pub path: PathBuf,
    /// Who comes first at a busy host; [`Control::set_urgency`] changes it while the fetch runs.
    pub urgency: Urgency,
}

impl FetchRequest {
    /// Fetches this blob into this file, because somebody asked for it.
    #[must_use]
    pub fn new(manifest: impl Into<Arc<Manifest>>, path: impl Into<PathBuf>) -> Self {
        Self { manifest: manifest.into(), path: path.into(), urgency: Urgency::default() }
    }
}

/// A verified file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where it is: the path of the request.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Bytes of bodies received in this run, those thrown away included.
    pub bytes_fetched: u64,
    /// How often something went wrong and was tried again.
    pub retries: u32,
}

/// How long to wait, how often to try.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetcherConfig {
    /// A connection that brings fewer than [`stall_bytes`](Self::stall_bytes) in this time, or no response, is given up.
    pub stall_after: Duration,
    /// See [`stall_after`](Self::stall_after).
    pub stall_bytes: u64,
    /// How long [`Sources::resolve`] may take.
    pub resolve_timeout: Duration,
    /// Attempts in a row without progress before the fetch ends with an error; the queue above tries again later.
    pub attempts: u32,
    /// The first wait is random up to this, and each next one up to twice as long.
    pub backoff_base: Duration,
    /// The longest wait the fetch chooses by itself.
    pub backoff_cap: Duration,
    /// Asked to wait longer than this, the fetch ends with [`FetchError::Busy`] instead. At most 15 minutes are believed.
    pub longest_wait: Duration,
    /// Connections to one host at once, over all fetches of big blobs; small ones share others.
    pub connections: usize,
    /// Bytes in memory between network and disk, over all fetches; 2 MiB at least.
    pub buffer_bytes: usize,
    /// Threads that hash and write.
    pub writers: usize,
    /// Bytes that stay free on the medium.
    pub floor_bytes: u64,
    /// The way to the files.
    pub files: Arc<dyn FileLayer>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        Self {
            stall_after: Duration::from_secs(30),
            stall_bytes: 1 << 10,
            resolve_timeout: Duration::from_secs(30),
            attempts: 8,
            backoff_base: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(60),
            longest_wait: Duration::from_secs(15 * 60),
            connections: 4,
            buffer_bytes: 24 << 20,
            writers: 2,
            floor_bytes: 0,
            files: Arc::new(SystemFiles),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Fetches blobs; clones share connections, memory, threads and what is known of hosts. One is enough for a process.
#[derive(Clone)]
pub struct Fetcher(Arc<Shared>);

struct Shared {
    client: HttpClient,
    config: FetcherConfig,
    disk: Disk,
    places: Places,
    pace: Pace,
    nudge: watch::Sender<u64>,
    forgot_at: Mutex<Option<Duration>>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher on this client.
    #[must_use]
    pub fn new(client: HttpClient, config: FetcherConfig) -> Self {
        let disk = Disk::new(DiskOptions {
            buffer_bytes: config.buffer_bytes,
            writers: config.writers,
            floor_bytes: config.floor_bytes,
            layer: Arc::clone(&config.files),
        });
        let places = Places::new(config.connections, Arc::clone(&config.clock));
        let (pace, nudge) = (Pace::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { client, config, disk, places, pace, nudge, forgot_at: Mutex::default() }))
    }

    /// Brings a blob into a file; returns when it is complete, verified and durable there, or can't be for now.
    ///
    /// Call it again with the same path and journal to go on. Dropping the future is safe: what is verified by then is
    /// made durable and recorded in the background. One fetch at a time per path is the caller's duty.
    pub async fn fetch(
        &self,
        request: FetchRequest,
        sources: Arc<dyn Sources>,
        journal: Arc<dyn Journal>,
        control: Control,
    ) -> Result<Fetched, FetchError> {
        Box::pin(Run::fetch(self, request, sources, journal, control)).await
    }

    /// Limits all fetches together to so many bytes per second, from now on; `None` takes the limit off.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        self.0.pace.set(bytes_per_second);
    }

    /// Sends all fetches another way, from now on: those that run begin anew over it, with what they have verified.
    pub fn set_proxy(&self, proxy: &Proxy) -> Result<(), ClientError> {
        self.0.client.set_proxy(proxy)?;
        self.reconnect();
        Ok(())
    }

    /// Says that the network has changed, or the machine was asleep: all fetches give up their connections and waits and
    /// begin anew at once.
    pub fn reconnect(&self) {
        // Always: within a second of the last time there may be connections of a network that has gone already again.
        self.0.client.forget_connections();
        *self.0.forgot_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.0.config.clock.elapsed());
        self.0.nudge.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn forget_connections(&self) {
        let now = self.0.config.clock.elapsed();
        let mut forgot_at = self.0.forgot_at.lock().unwrap_or_else(PoisonError::into_inner);
        if forgot_at.is_none_or(|at| now.saturating_sub(at) >= FORGET_AT_MOST_EVERY) {
            *forgot_at = Some(now);
            self.0.client.forget_connections();
        }
    }

    pub(crate) fn client(&self) -> &HttpClient {
        &self.0.client
    }

    pub(crate) fn config(&self) -> &FetcherConfig {
        &self.0.config
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.0.disk
    }

    pub(crate) fn places(&self) -> &Places {
        &self.0.places
    }

    /// The limit of all fetches together.
    pub(crate) fn pace(&self) -> &Pace {
        &self.0.pace
    }

    pub(crate) fn nudges(&self) -> watch::Receiver<u64> {
        self.0.nudge.subscribe()
    }

    pub(crate) fn limits(&self) -> Limits {
        let config = self.config();
        Limits {
            attempts: config.attempts,
            backoff_base: config.backoff_base,
            backoff_cap: config.backoff_cap,
            longest_wait: config.longest_wait,
        }
    }
}
