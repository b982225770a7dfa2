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
    Broker, Control, FetchRequest, Fetcher, FetcherConfig, FileJournal, HttpClient, HttpOptions, ResolveReason, Signed,
    Signer, Source, SourceError, SystemClock,
};
use rig::{MIB, content, manifest_of};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The service's clock is ahead by this.
const AHEAD_MS: i64 = 86_400_000;
const PORTION: usize = 64 << 10;

/// The service: signs addresses and serves what they lead to.
struct Service {
    content: Vec<u8>,
    start: Instant,
    life: Duration,
    /// Where clients find it.
    base: Mutex<String>,
    signed_at: Mutex<Vec<Duration>>,
    refused: AtomicU64,
    cut: AtomicU64,
}

impl Service {
    async fn start(content: Vec<u8>, life: Duration) -> io::Result<(Arc<Self>, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Self {
            content,
            start: Instant::now(),
            life,
            base: Mutex::default(),
            signed_at: Mutex::default(),
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
            let size = self.content.len();
            let (first, last) =
                between(&head, "range: bytes=", "\r\n").and_then(|range| range.split_once('-')).unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse::<usize>().unwrap().min(size - 1));
            let answer = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n",
                last + 1 - first
            );
            stream.write_all(answer.as_bytes()).await?;
            for portion in self.content[first..=last].chunks(PORTION) {
                if self.elapsed() >= end {
                    self.cut.fetch_add(1, Ordering::SeqCst);
                    return stream.shutdown().await;
                }
                stream.write_all(portion).await?;
            }
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split(after).next()
}

#[async_trait::async_trait]
impl Signer for Service {
    async fn sign(&self, wanted: Vec<BlobHash>, _: ResolveReason) -> Result<Signed, SourceError> {
        let now = self.elapsed();
        self.signed_at.lock().unwrap().push(now);
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

async fn outlives_its_addresses(size: u64, rate: u64, life: Duration) {
    let content = content(size, 7);
    let manifest = manifest_of(&content);
    let (service, address) = Service::start(content.clone(), life).await.unwrap();
    // Small buffers, so that what is on its way when a connection ends is little.
    let network = Network { rate: Some(rate), socket_buffer: Some(64 << 10), ..Network::default() };
    let relay = Relay::through(address, network).await.unwrap();
    *service.base.lock().unwrap() = relay.url();

    let folder = tempfile::tempdir().unwrap();
    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
    let signer: Arc<Service> = Arc::clone(&service);
    let broker = Broker::new(signer, Arc::new(SystemClock::default()));
    let request = FetchRequest::new(manifest, folder.path().join("blob.part"));
    let journal = Arc::new(FileJournal::new(folder.path().join("journal")));
    let fetching = fetcher.fetch(request, Arc::new(broker), journal, Control::new());
    let fetched = tokio::time::timeout(Duration::from_secs(180), fetching).await.expect("it must end").unwrap();
    let took = service.elapsed();

    assert!(std::fs::read(&fetched.path).unwrap() == content, "the right bytes");
    let signed_at = service.signed_at.lock().unwrap().clone();
    assert!(took < life || signed_at.len() > 1, "addresses had to be renewed: {signed_at:?} in {took:?}");
    for pair in signed_at.windows(2) {
        // The margin is a twentieth; a millisecond is what rounding takes.
        let apart = pair[1] - pair[0] + Duration::from_millis(1);
        assert!(apart >= life * 19 / 20, "one renewal for each end of an address, not {apart:?} apart");
    }
    let expiries = signed_at.len() as u64;
    let twice = fetched.bytes_fetched - size;
    assert!(twice <= expiries * MIB, "{twice} bytes came twice in {expiries} lives: at most the piece in the air each");
    let refused = service.refused.load(Ordering::SeqCst);
    assert!(refused <= expiries, "{refused} requests with an expired address in {expiries} lives");
    eprintln!(
        "{size} bytes in {took:?}: {expiries} addresses, {refused} refusals, {} bodies cut, {twice} bytes twice",
        service.cut.load(Ordering::SeqCst)
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
