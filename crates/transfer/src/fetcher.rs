//! The door: one blob into one file.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use carrel_model::pieces::Manifest;

use crate::{Clock, Control, FetchError, HttpClient, Journal, Sources, SystemClock, rules::patience::Limits, run::Run};

/// What to fetch and where to put it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchRequest {
    /// Size, hash and pieces of the blob.
    pub manifest: Arc<Manifest>,
    /// The part file: made when it isn't there, continued when it is. Its folder must exist.
    pub path: PathBuf,
}

impl FetchRequest {
    /// Fetches this blob into this file.
    #[must_use]
    pub fn new(manifest: impl Into<Arc<Manifest>>, path: impl Into<PathBuf>) -> Self {
        Self { manifest: manifest.into(), path: path.into() }
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
    /// Pieces held in memory between network and disk, 1 MiB each.
    pub buffers: usize,
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
            buffers: 8,
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Fetches blobs; clones share connections. One is enough for a process.
#[derive(Clone)]
pub struct Fetcher {
    pub(crate) client: HttpClient,
    pub(crate) config: FetcherConfig,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher on this client.
    #[must_use]
    pub const fn new(client: HttpClient, config: FetcherConfig) -> Self {
        Self { client, config }
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

    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            attempts: self.config.attempts,
            backoff_base: self.config.backoff_base,
            backoff_cap: self.config.backoff_cap,
            longest_wait: self.config.longest_wait,
        }
    }
}
