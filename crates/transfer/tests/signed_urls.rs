//! Signed addresses that live for moments: a fetch longer than many of their lives completes, and nothing is asked for
//! or fetched twice.
//!
//! The origin here judges addresses by the service's clock, which is a day apart from this machine's, refuses what has
//! expired and cuts bodies at the moment of expiry. The relay between makes the line slow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't be set up is to fail"
)]

mod rig;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use carrel_model::{BlobHash, TimeMs};
use carrel_testbed::relay::{Network, Relay};
use carrel_transfer::{
    Broker, Control, FetchRequest, Fetcher, FetcherConfig, FileJournal, HttpClient, HttpOptions, Job, NoJournal,
    Places, ResolveReason, Signed, Signer, Source, SourceError, Sources, SystemClock,
};
use rig::{MIB, content, manifest_of};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The service's clock is ahead by this.
const AHEAD_MS: i64 = 86_400_000;
const PORTION: usize = 64 << 10;

/// The service: signs addresses and serves what they lead to.
struct Service {
    contents: BTreeMap<String, Vec<u8>>,
    start: Instant,
    life: Duration,
    /// One portion at a time and so long: what many connections share.
    link: tokio::sync::Mutex<Duration>,
    /// Where clients find it.
    base: Mutex<String>,
    /// How many have come to the broker for an address, and how many must have before anything is signed.
    asked: watch::Sender<u64>,
    gathers: AtomicU64,
    /// When it was asked to sign, why, and how many.
    signed: Mutex<Vec<(Duration, ResolveReason, usize)>>,
    refused: AtomicU64,
    cut: AtomicU64,
}

impl Service {
    async fn start(contents: &[Vec<u8>], life: Duration) -> io::Result<(Arc<Self>, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let contents = contents.iter().map(|content| (BlobHash::of(content).to_string(), content.clone())).collect();
        let service = Arc::new(Self {
            contents,
            start: Instant::now(),
            life,
            link: tokio::sync::Mutex::default(),
            base: Mutex::default(),
            asked: watch::Sender::new(0),
            gathers: AtomicU64::new(0),
            signed: Mutex::default(),
            refused: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        });
        let serving = Arc::clone(&service);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = Arc::clone(&serving);
                tokio::spawn(async move { service.converse(stream).await });
            }
        });
        Ok((service, address))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock of the service.
    fn clock(&self, elapsed: Duration) -> TimeMs {
        rig::NOW.plus_ms(AHEAD_MS + i64::try_from(elapsed.as_millis()).unwrap())
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8_lossy(&head).to_lowercase();
            let end = between(&head, "?end=", " ").unwrap();
            let end = Duration::from_micros(end.parse().unwrap());
            if self.elapsed() >= end {
                self.refused.fetch_add(1, Ordering::SeqCst);
                let body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
                let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await?;
                continue;
            }
            let content = self.contents.get(between(&head, "get /", "?").unwrap()).unwrap();
            let size = content.len();
            let (first, last) =
                between(&head, "range: bytes=", "\r\n").and_then(|range| range.split_once('-')).unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse::<usize>().unwrap().min(size - 1));
            let answer = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n",
                last + 1 - first
            );
            stream.write_all(answer.as_bytes()).await?;
            for portion in content[first..=last].chunks(PORTION) {
                if self.elapsed() >= end {
                    self.cut.fetch_add(1, Ordering::SeqCst);
                    return stream.shutdown().await;
                }
                stream.write_all(portion).await?;
                let link = self.link.lock().await;
                if !link.is_zero() {
                    tokio::time::sleep(*link).await;
                }
            }
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split(after).next()
}

#[async_trait::async_trait]
impl Signer for Service {
    async fn sign(&self, wanted: Vec<BlobHash>, reason: ResolveReason) -> Result<Signed, SourceError> {
        let gathers = self.gathers.load(Ordering::SeqCst);
        self.asked.subscribe().wait_for(|asked| *asked >= gathers).await.unwrap();
        let now = self.elapsed();
        self.signed.lock().unwrap().push((now, reason, wanted.len()));
        let base = self.base.lock().unwrap().clone();
        let end = now + self.life;
        let sign = |blob| {
            let url = format!("{base}/{blob}?end={}", end.as_micros()).parse().unwrap();
            (blob, Source { expires_at: Some(self.clock(end)), ..Source::new(url) })
        };
        let urls = wanted.into_iter().map(sign).collect();
        Ok(Signed { urls, server_now: Some(self.clock(now)), ..Signed::default() })
    }
}

/// The broker, and a count of those who come to it.
struct Counted {
    broker: Arc<Broker>,
    service: Arc<Service>,
}

#[async_trait::async_trait]
impl Sources for Counted {
    async fn resolve(&self, blob: BlobHash, reason: ResolveReason) -> Result<Vec<Source>, SourceError> {
        self.service.asked.send_modify(|asked| *asked += 1);
        self.broker.resolve(blob, reason).await
    }

    async fn renew(&self, blob: BlobHash, reason: ResolveReason, held: &[Source]) -> Result<Vec<Source>, SourceError> {
        self.broker.renew(blob, reason, held).await
    }
}

/// A service behind a slow relay, and a fetcher with a broker.
struct Town {
    service: Arc<Service>,
    _relay: Relay,
    fetcher: Fetcher,
    broker: Arc<Broker>,
    folder: tempfile::TempDir,
}

impl Town {
    async fn new(contents: &[Vec<u8>], rate: u64, life: Duration) -> Self {
        let (service, address) = Service::start(contents, life).await.unwrap();
        // Small buffers, so that what is on its way when a connection ends is little.
        let network = Network { rate: Some(rate), socket_buffer: Some(64 << 10), ..Network::default() };
        let relay = Relay::through(address, network).await.unwrap();
        *service.base.lock().unwrap() = relay.url();
        let signer: Arc<Service> = Arc::clone(&service);
        Self {
            service,
            _relay: relay,
            fetcher: Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default()),
            broker: Arc::new(Broker::new(signer, Arc::new(SystemClock::default()))),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Each end of an address has led to one request for new ones, whoever and however many noticed it.
    fn assert_one_renewal_per_expiry(&self) -> u64 {
        let signed = self.service.signed.lock().unwrap().clone();
        let renewals: Vec<_> = signed.iter().filter(|(_, reason, _)| *reason != ResolveReason::First).collect();
        assert!(!renewals.is_empty(), "addresses had to be renewed: {signed:?}");
        for pair in renewals.windows(2) {
            // The margin is a twentieth; a millisecond is what rounding takes.
            let apart = pair[1].0 - pair[0].0 + Duration::from_millis(1);
            assert!(apart >= self.service.life * 19 / 20, "one renewal for each end, not {apart:?} apart: {signed:?}");
        }
        renewals.len() as u64
    }
}

async fn outlives_its_addresses(size: u64, rate: u64, life: Duration) {
    let content = content(size, 7);
    let town = Town::new(std::slice::from_ref(&content), rate, life).await;
    let request = FetchRequest::new(manifest_of(&content), town.folder.path().join("blob.part"));
    let journal = Arc::new(FileJournal::new(town.folder.path().join("journal")));
    let sources: Arc<Broker> = Arc::clone(&town.broker);
    let fetching = town.fetcher.fetch(request, sources, journal, Control::new());
    let fetched = tokio::time::timeout(Duration::from_secs(180), fetching).await.expect("it must end").unwrap();

    assert!(std::fs::read(&fetched.path).unwrap() == content, "the right bytes");
    let renewals = town.assert_one_renewal_per_expiry();
    let twice = fetched.bytes_fetched - size;
    assert!(twice <= renewals * MIB, "{twice} bytes came twice in {renewals} renewals: at most the piece in the air");
    let refused = town.service.refused.load(Ordering::SeqCst);
    assert!(refused <= renewals, "{refused} requests with an expired address in {renewals} renewals");
    eprintln!(
        "{size} bytes in {:?}: {renewals} renewals, {refused} refusals, {} bodies cut, {twice} bytes twice",
        town.service.elapsed(),
        town.service.cut.load(Ordering::SeqCst)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_outlives_its_addresses_many_times() {
    outlives_its_addresses(40 * MIB + 123, 20_000_000, Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes over 20 s: 200 MiB at 10 MB/s with addresses that live 2 s"]
async fn a_fetch_outlives_its_addresses_many_times_at_full_size() {
    outlives_its_addresses(200 * MIB, 10_000_000, Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dozen_fetches_share_each_renewal() {
    let contents: Vec<_> = (0..24).map(|seed| content(3 * MIB + 5 * seed, seed + 1)).collect();
    let town = Town::new(&contents, 1_000_000_000, Duration::from_millis(500)).await;
    // So many buffers between would take everything in at once: here the service itself is slow.
    *town.service.link.lock().await = Duration::from_millis(2);
    // A busy machine may let them come one by one: the first request is answered when all have come.
    town.service.gathers.store(24, Ordering::SeqCst);
    let jobs = contents.iter().map(|content| {
        let manifest = manifest_of(content);
        let path = town.folder.path().join(manifest.hash().to_string());
        Job { request: FetchRequest::new(manifest, path), journal: Arc::new(NoJournal) }
    });
    let sources = Arc::new(Counted { broker: Arc::clone(&town.broker), service: Arc::clone(&town.service) });
    let mut many = town.fetcher.fetch_many(jobs, sources, Places::default(), Control::new());
    let mut there = 0;
    while let Some((hash, result)) = tokio::time::timeout(Duration::from_secs(60), many.next()).await.expect("an end") {
        let fetched = result.unwrap();
        assert_eq!(BlobHash::of(&std::fs::read(&fetched.path).unwrap()), hash, "the right bytes");
        town.broker.forget(hash);
        there += 1;
    }
    assert_eq!(there, 24, "all of them");
    town.assert_one_renewal_per_expiry();
    let signed = town.service.signed.lock().unwrap().clone();
    let firsts = signed.iter().filter(|(_, reason, _)| *reason == ResolveReason::First).count();
    assert!(firsts <= 3, "those that came together were signed together: {signed:?}");
    eprintln!("{signed:?}");
}
