//! What the tests here share: content, an origin, a folder, a clock that doesn't wait.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't be set up is to fail"
)]

pub mod trial;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use carrel_model::{
    BlobHash, TimeMs,
    pieces::{Manifest, ManifestBuilder},
};
use carrel_testbed::http_origin::Origin;
use carrel_transfer::{
    Clock, Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FileJournal, FixedSources, HttpClient,
    HttpOptions, ResolveReason, Source, SourceError, Sources,
};

pub const MIB: u64 = 1 << 20;
/// 2026-05-01T00:00:00Z.
pub const NOW: TimeMs = TimeMs::from_ms(1_777_593_600_000);

/// Bytes that look random and never repeat, the same for the same seed.
pub fn content(size: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap() + 8);
    while (bytes.len() as u64) < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(usize::try_from(size).unwrap());
    bytes
}

pub fn manifest_of(content: &[u8]) -> Manifest {
    let mut builder = ManifestBuilder::new();
    builder.update(content);
    builder.finish()
}

/// Sleeps are written down and over at once.
#[derive(Debug)]
pub struct QuickClock {
    pub slept: Mutex<Vec<Duration>>,
    start: Instant,
}

impl Default for QuickClock {
    fn default() -> Self {
        Self { slept: Mutex::default(), start: Instant::now() }
    }
}

#[async_trait::async_trait]
impl Clock for QuickClock {
    fn now(&self) -> TimeMs {
        NOW
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.slept.lock().unwrap().push(duration);
        tokio::task::yield_now().await;
    }

    fn jitter(&self) -> f64 {
        1.0
    }
}

/// Answers in turn; the last one stays.
pub struct ScriptedSources {
    answers: Mutex<Vec<Result<Vec<Source>, SourceError>>>,
    pub reasons: Mutex<Vec<ResolveReason>>,
}

impl ScriptedSources {
    pub fn new(answers: Vec<Result<Vec<Source>, SourceError>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers), reasons: Mutex::default() })
    }
}

#[async_trait::async_trait]
impl Sources for ScriptedSources {
    async fn resolve(&self, _: BlobHash, reason: ResolveReason) -> Result<Vec<Source>, SourceError> {
        self.reasons.lock().unwrap().push(reason);
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }
}

pub struct Rig {
    pub folder: tempfile::TempDir,
    pub origin: Origin,
    pub content: Vec<u8>,
    pub manifest: Arc<Manifest>,
    pub clock: Arc<QuickClock>,
    pub control: Control,
}

impl Rig {
    pub async fn new(size: u64) -> Self {
        let content = content(size, size + 7);
        Self {
            folder: tempfile::tempdir().unwrap(),
            origin: Origin::start(content.clone()).await.unwrap(),
            manifest: Arc::new(manifest_of(&content)),
            content,
            clock: Arc::default(),
            control: Control::new(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("blob.part")
    }

    pub fn journal(&self) -> FileJournal {
        FileJournal::new(self.folder.path().join("journal"))
    }

    pub fn source(&self, path: &str) -> Source {
        Source::new(self.origin.url(path).parse().unwrap())
    }

    pub fn fetcher(&self) -> Fetcher {
        let mut config = FetcherConfig::default();
        config.stall_after = Duration::from_millis(400);
        config.attempts = 4;
        let clock: Arc<QuickClock> = Arc::clone(&self.clock);
        config.clock = clock;
        Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), config)
    }

    /// Fetches from the origin; a fetch that doesn't end is a failure.
    pub async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.fetch_from(Arc::new(FixedSources(vec![self.origin.url("/blob").parse().unwrap()]))).await
    }

    pub async fn fetch_from(&self, sources: Arc<dyn Sources>) -> Result<Fetched, FetchError> {
        let request = FetchRequest::new(Arc::clone(&self.manifest), self.path());
        let fetch = self.fetcher();
        let fetching = fetch.fetch(request, sources, Arc::new(self.journal()), self.control.clone());
        tokio::time::timeout(Duration::from_secs(20), fetching).await.expect("a fetch must end")
    }

    /// Fetches, and the file must be there with the right bytes.
    pub async fn survives(&self) -> Fetched {
        let fetched = self.fetch().await.expect("a verified file");
        self.assert_file();
        fetched
    }

    pub fn assert_file(&self) {
        let there = std::fs::read(self.path()).unwrap();
        assert!(there == self.content, "the file must hold exactly the blob");
    }

    pub fn slept(&self) -> Vec<Duration> {
        self.clock.slept.lock().unwrap().clone()
    }

    /// The ranges asked for, last byte included.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        self.origin.seen().iter().filter_map(|seen| seen.range).map(|(from, to)| (from, to.unwrap())).collect()
    }
}
