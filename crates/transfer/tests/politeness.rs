//! Many small files from hosts that are slow to serve or not there at all: all arrive at the pace the host bears, or all
//! hear soon that nobody is there. And clocks that jump meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't be set up is to fail"
)]

mod rig;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use carrel_model::{BlobHash, TimeMs};
use carrel_testbed::http_origin::Act;
use carrel_transfer::{
    Clock, Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FixedSources, HttpClient, HttpOptions,
    NoJournal, ResolveReason, Source, SourceError, Sources, SystemClock,
};
use rig::{MIB, QuickClock, Rig, content, manifest_of};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
};

const FILES: usize = 100;
const BYTES: u64 = 3000;
/// A request sooner than this after the last one that was served is turned away, as `limit_req` does it.
const GAP: Duration = Duration::from_millis(25);

/// Serves one blob at any path, at a limited rate; counts whom it has turned away.
async fn limited(content: Vec<u8>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (served, refused) = (Arc::new(Mutex::new(None::<Instant>)), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&refused);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (served, refused, content) = (Arc::clone(&served), Arc::clone(&counter), content.clone());
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let early = {
                        let mut served = served.lock().unwrap();
                        let early = served.is_some_and(|at| at.elapsed() < GAP);
                        if !early {
                            *served = Some(Instant::now());
                        }
                        early
                    };
                    let length = content.len();
                    let answer = if early {
                        refused.fetch_add(1, Ordering::Relaxed);
                        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()
                    } else {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        [head.as_bytes(), &content].concat()
                    };
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, refused)
}

async fn fetch_all(
    fetcher: &Fetcher,
    content: &[u8],
    address: SocketAddr,
    count: usize,
) -> Vec<Result<Fetched, FetchError>> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Arc::new(manifest_of(content));
    let fetches = (0..count).map(|index| {
        let request = FetchRequest::new(Arc::clone(&manifest), folder.path().join(index.to_string()));
        let sources = Arc::new(FixedSources(vec![format!("http://{address}/{index}").parse().unwrap()]));
        fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new())
    });
    let all = futures_util::future::join_all(fetches);
    tokio::time::timeout(Duration::from_secs(100), all).await.expect("all must end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_arrive_from_a_host_that_turns_away_whoever_comes_too_soon() {
    let content = content(BYTES, 3);
    let (address, refused) = limited(content.clone()).await;
    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
    for fetched in fetch_all(&fetcher, &content, address, FILES).await {
        fetched.expect("a verified file");
    }
    let refused = refused.load(Ordering::Relaxed);
    assert!(refused > 0 && refused < 4 * FILES, "{refused} were turned away");
}

/// An address that answers nothing: a listener whose queue is kept full.
async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, listener, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_files_of_a_host_that_is_not_there_end_together() {
    let content = content(BYTES, 4);
    let (hole, _listener, _waiting) = black_hole().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [nobody, hole] {
        let mut options = HttpOptions::default();
        options.connect_timeout = Duration::from_millis(300);
        let mut config = FetcherConfig::default();
        config.attempts = 2;
        let clock: Arc<QuickClock> = Arc::default();
        config.clock = clock;
        let fetcher = Fetcher::new(HttpClient::new(&options).unwrap(), config);
        // One after the other they would take 300 times as long as one does.
        for fetched in fetch_all(&fetcher, &content, address, 300).await {
            assert!(matches!(fetched, Err(FetchError::Unreachable(_))), "{fetched:?}");
        }
    }
}

/// Its wall clock is ten years off, now in this direction and now in the other.
#[derive(Debug, Default)]
struct JumpingClock {
    system: SystemClock,
    looks: AtomicUsize,
}

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3600 * 1000;

#[async_trait::async_trait]
impl Clock for JumpingClock {
    fn now(&self) -> TimeMs {
        let sign = if self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { 1 } else { -1 };
        TimeMs::from_ms(rig::NOW.as_ms() + sign * TEN_YEARS_MS)
    }

    fn elapsed(&self) -> Duration {
        self.system.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.system.sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        self.system.jitter()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_by_years_changes_nothing() {
    let rig = Rig::new(9 * MIB + 5).await;
    let mut config = FetcherConfig::default();
    let clock: Arc<JumpingClock> = Arc::default();
    config.clock = clock;
    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), config);
    let sources = Arc::new(FixedSources(vec![rig.origin.url("/blob").parse().unwrap()]));
    let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
    let fetching = fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new());
    let fetched = tokio::time::timeout(Duration::from_secs(60), fetching).await.unwrap().unwrap();
    rig.assert_file();
    assert_eq!((fetched.bytes_fetched, fetched.retries), (9 * MIB + 5, 0));
}

/// Signs for a minute of the right time, and counts how often.
struct Signed {
    url: url::Url,
    count: AtomicUsize,
}

#[async_trait::async_trait]
impl Sources for Signed {
    async fn resolve(&self, _: BlobHash, _: ResolveReason) -> Result<Vec<Source>, SourceError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut source = Source::new(self.url.clone());
        source.expires_at = Some(rig::NOW.plus_ms(60_000));
        Ok(vec![source])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_renews_at_most_once_for_each_request() {
    let rig = Rig::new(9 * MIB + 5).await;
    rig.origin.script([Act::CutAfter(2 * MIB + 5), Act::CutAfter(2 * MIB)]);
    let mut config = FetcherConfig::default();
    let clock: Arc<JumpingClock> = Arc::default();
    config.clock = clock;
    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), config);
    let url = rig.origin.url("/blob").parse().unwrap();
    let sources = Arc::new(Signed { url, count: AtomicUsize::new(0) });
    let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
    let fetching =
        fetcher.fetch(request, Arc::clone(&sources) as Arc<dyn Sources>, Arc::new(NoJournal), Control::new());
    let fetched = tokio::time::timeout(Duration::from_secs(60), fetching).await.expect("it must end").unwrap();
    rig.assert_file();
    assert_eq!(fetched.bytes_fetched, 9 * MIB + 5);
    let (signed, asked) = (sources.count.load(Ordering::Relaxed), rig.origin.seen().len());
    assert!(signed <= asked + 1, "{signed} renewals for {asked} requests");
}

/// Lets two connections in and no more: others are refused, or closed as soon as they are there.
async fn two_connections(content: Vec<u8>, refuse: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let open = Arc::new(AtomicUsize::new(0));
        while let Ok((mut stream, _)) = listener.accept().await {
            if open.load(Ordering::SeqCst) >= 2 {
                continue;
            }
            let (count, content) = (Arc::clone(&open), content.clone());
            let both = open.fetch_add(1, Ordering::SeqCst) == 1;
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        // Long enough for the others to knock.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
                        if stream.write_all(&[head.as_bytes(), &content].concat()).await.is_err() {
                            break;
                        }
                    }
                }
                count.fetch_sub(1, Ordering::SeqCst);
            });
            if both && refuse {
                return;
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_arrive_from_a_host_that_lets_only_two_connections_in() {
    let content = content(BYTES, 5);
    for refuse in [true, false] {
        let address = two_connections(content.clone(), refuse).await;
        let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
        for fetched in fetch_all(&fetcher, &content, address, FILES).await {
            fetched.unwrap_or_else(|error| panic!("refuse {refuse}: {error:?}"));
        }
    }
}
