//! Many small blobs at once over what they share: HTTP/2 streams that are refused, cut and starved, or a few kept-alive
//! connections. What hits one of them must not take the others along.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use carrel_model::pieces::Manifest;
use carrel_testbed::http_origin::{Act, Content, Flaw, Identity, Library, Meeting, Origin, Setup, sent_twice};
use carrel_transfer::{
    Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FixedSources, HttpClient, HttpOptions,
    NoJournal,
};
use rig::{MIB, QuickClock, content, manifest_of};

const BLOBS: u64 = 60;
const LIMIT: Duration = Duration::from_secs(60);

/// A folder of blobs at an origin, and a fetcher for it.
struct Shelf {
    blobs: Vec<(String, Vec<u8>, Arc<Manifest>)>,
    origin: Origin,
    fetcher: Fetcher,
    folder: tempfile::TempDir,
}

impl Shelf {
    async fn new(http2: bool, streams: u32) -> Self {
        // Most of one piece, some of two.
        let sizes = (0..BLOBS).map(|index| if index % 10 == 9 { MIB + 1000 * index } else { 30_000 + index });
        Self::with(sizes, http2, streams, |config| config.stall_after = Duration::from_millis(1500)).await
    }

    async fn with(
        sizes: impl Iterator<Item = u64>,
        http2: bool,
        streams: u32,
        configure: impl FnOnce(&mut FetcherConfig),
    ) -> Self {
        let blobs: Vec<_> = sizes
            .enumerate()
            .map(|(index, size)| {
                let content = content(size, size + 1);
                let manifest = Arc::new(manifest_of(&content));
                (format!("b{index}"), content, manifest)
            })
            .collect();
        let files = blobs.iter().map(|(name, content, _)| (name.clone(), Content::Memory(content.clone().into())));
        let library = Library::Folder(files.collect::<BTreeMap<_, _>>());
        let identity = Arc::new(Identity::new(Flaw::None).unwrap());
        let mut options = HttpOptions::default();
        options.extra_roots_pem.push(identity.authority_pem().as_bytes().to_vec());
        let origin = Setup::new(library).tls(identity).http2(http2).streams(streams).start().await.unwrap();
        let mut config = FetcherConfig::default();
        configure(&mut config);
        let clock: Arc<QuickClock> = Arc::default();
        config.clock = clock;
        let fetcher = Fetcher::new(HttpClient::new(&options).unwrap(), config);
        Self { blobs, origin, fetcher, folder: tempfile::tempdir().unwrap() }
    }

    /// All at once; what came of each, in their order. Whatever went well is right.
    async fn fetch(&self) -> Vec<Result<Fetched, FetchError>> {
        let fetches = self.blobs.iter().map(|(name, content, manifest)| async move {
            let path = self.folder.path().join(name);
            let request = FetchRequest::new(Arc::clone(manifest), &path);
            let sources = Arc::new(FixedSources(vec![self.origin.url(&format!("/{name}")).parse().unwrap()]));
            let fetching = self.fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new());
            let fetched = tokio::time::timeout(LIMIT, fetching).await.expect("a fetch must end");
            if fetched.is_ok() {
                assert!(std::fs::read(path).unwrap() == *content, "{name} must hold exactly the blob");
            }
            fetched
        });
        futures_util::future::join_all(fetches).await
    }

    async fn all_arrive(&self) -> Vec<Fetched> {
        self.fetch().await.into_iter().map(|fetched| fetched.expect("a verified file")).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_go_over_one_connection_where_there_is_http2() {
    let shelf = Shelf::new(true, 256).await;
    let fetched = shelf.all_arrive().await;
    assert!(shelf.origin.seen().iter().all(|seen| seen.http2));
    assert_eq!(shelf.origin.knocks(), 1);
    assert_eq!(shelf.origin.seen().len() as u64, BLOBS);
    assert_eq!(sent_twice(&shelf.origin.served()), 0);
    assert!(fetched.iter().all(|fetched| fetched.retries == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_memory_for_many_streams_is_no_standstill() {
    // Each has more to come than it holds, and together more than their connection takes unread.
    let shelf = Shelf::with((0..24).map(|index| 3 * MIB + index), true, 256, |config| {
        config.buffer_bytes = 2 << 20;
        config.stall_after = Duration::from_secs(10);
    });
    let fetched = shelf.await.all_arrive().await;
    assert_eq!(fetched.iter().map(|fetched| fetched.retries).sum::<u32>(), 0, "nobody waited until he was given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_connections_are_kept_alive_where_there_is_none() {
    let shelf = Shelf::new(false, 256).await;
    shelf.all_arrive().await;
    assert!(shelf.origin.seen().iter().all(|seen| !seen.http2));
    assert!(shelf.origin.knocks() <= 8, "{} connections", shelf.origin.knocks());
    assert_eq!(sent_twice(&shelf.origin.served()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_one_stream_at_a_time_serves_all() {
    let shelf = Shelf::new(true, 1).await;
    shelf.all_arrive().await;
    assert_eq!(sent_twice(&shelf.origin.served()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_streams_are_asked_for_again() {
    let shelf = Shelf::new(true, 256).await;
    shelf.origin.script((0..20).map(|_| Act::RefuseStream));
    shelf.all_arrive().await;
    assert_eq!(sent_twice(&shelf.origin.served()), 0, "of a refused stream nothing had been sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_leave_is_followed_by_another() {
    let shelf = Shelf::new(true, 256).await;
    shelf.origin.script((0..30).map(|index| if index % 10 == 5 { Act::GoAwayAfter(1000) } else { Act::Serve }));
    shelf.all_arrive().await;
    assert_eq!(sent_twice(&shelf.origin.served()), 0, "what was begun is served to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_under_all_of_them_loses_nobody() {
    for act in [Act::BreakAfter(1000), Act::CutAfter(1000), Act::Calm] {
        let shelf = Shelf::new(true, 256).await;
        shelf.origin.script((0..30).map(|index| if index % 10 == 5 { act.clone() } else { Act::Serve }));
        shelf.all_arrive().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_starves_holds_up_nobody_else() {
    let shelf = Shelf::new(true, 256).await;
    shelf.origin.script_at("/b3", [Act::StallAfter(5000)]);
    let fetched = shelf.all_arrive().await;
    let tried_again: Vec<_> =
        (0..).zip(&fetched).filter(|(_, fetched)| fetched.retries > 0).map(|(at, _)| at).collect();
    assert_eq!(tried_again, [3]);
    assert_eq!(shelf.origin.seen().len() as u64, BLOBS + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_gone_or_wrong_fails_alone() {
    let shelf = Shelf::new(true, 256).await;
    shelf.origin.script_at("/b7", (0..50).map(|_| Act::status(404)));
    shelf.origin.script_at("/b8", (0..50).map(|_| Act::Swapped));
    shelf.origin.script_at("/b9", (0..50).map(|_| Act::ResetAfter(0)));
    let fetched = shelf.fetch().await;
    assert!(matches!(fetched[7], Err(FetchError::Gone)), "{:?}", fetched[7]);
    assert!(matches!(fetched[8], Err(FetchError::Corrupt { piece: 0 })), "{:?}", fetched[8]);
    assert!(matches!(fetched[9], Err(FetchError::Unreachable(_))), "{:?}", fetched[9]);
    assert_eq!(fetched.iter().filter(|fetched| fetched.is_err()).count(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_told_when_nobody_is_there() {
    for meeting in [Meeting::Reset, Meeting::Close] {
        let shelf = Shelf::new(true, 256).await;
        shelf.origin.meet_always(meeting);
        for fetched in shelf.fetch().await {
            assert!(matches!(fetched, Err(FetchError::Unreachable(_))), "{fetched:?}");
        }
        shelf.origin.recover();
        shelf.all_arrive().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_http1_after_all_gets_it() {
    let shelf = Shelf::new(true, 256).await;
    shelf.origin.always(Act::NeedHttp1);
    for fetched in shelf.all_arrive().await {
        assert_eq!(fetched.retries, 0);
    }
    assert!(shelf.origin.seen().iter().any(|seen| seen.http2), "it was asked the other way first");
    assert!(shelf.origin.connections() <= 40, "{} connections", shelf.origin.connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_turn_elsewhere_holds_no_buffer() {
    // Half of them are asked for at a host that sends on to the other one, where one request is served at a time: who
    // waited there with a buffer would wait for those who wait for a buffer.
    let content = content(MIB, 77);
    let manifest = Arc::new(manifest_of(&content));
    let (first, second) =
        (Origin::start(content.clone()).await.unwrap(), Origin::start(content.clone()).await.unwrap());
    first.always(Act::redirect(&second.url("/blob")));
    let mut options = HttpOptions::default();
    options.connections = 1;
    let mut config = FetcherConfig::default();
    config.buffer_bytes = usize::try_from(2 * MIB).unwrap();
    config.stall_after = Duration::from_secs(45);
    let fetcher = Fetcher::new(HttpClient::new(&options).unwrap(), config);
    let folder = tempfile::tempdir().unwrap();
    let fetches = (0..40).map(|index: u32| {
        let origin = if index.is_multiple_of(2) { &first } else { &second };
        let request = FetchRequest::new(Arc::clone(&manifest), folder.path().join(index.to_string()));
        let sources = Arc::new(FixedSources(vec![origin.url("/blob").parse().unwrap()]));
        fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new())
    });
    let all = tokio::time::timeout(LIMIT, futures_util::future::join_all(fetches)).await.expect("all must end");
    for fetched in all {
        assert_eq!(fetched.expect("a verified file").retries, 0);
    }
}
