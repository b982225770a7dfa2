//! Many blobs under one control: bounded, in spite of failures, and stopped together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't be set up is to fail"
)]

mod rig;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use carrel_model::{BlobHash, pieces::Manifest};
use carrel_testbed::http_origin::{Act, Content, Library, Origin, Setup};
use carrel_transfer::{
    Control, FetchError, FetchRequest, Fetcher, FetcherConfig, HttpClient, HttpOptions, Job, NoJournal, Places,
    ResolveReason, Source, SourceError, Sources, State, Urgency,
};
use rig::{MIB, content, manifest_of};

/// Each blob under its hash.
struct ByHash(String);

#[async_trait::async_trait]
impl Sources for ByHash {
    async fn resolve(&self, blob: BlobHash, _: ResolveReason) -> Result<Vec<Source>, SourceError> {
        Ok(vec![Source::new(format!("{}{blob}", self.0).parse().unwrap())])
    }
}

struct Shelf {
    origin: Origin,
    blobs: Vec<(Manifest, Vec<u8>)>,
    folder: tempfile::TempDir,
}

impl Shelf {
    async fn new(sizes: impl IntoIterator<Item = u64>) -> Self {
        let content = |(seed, size)| {
            let content = content(size, seed);
            (manifest_of(&content), content)
        };
        let blobs: Vec<_> = (1..).zip(sizes).map(content).collect();
        let files = |(manifest, content): &(Manifest, Vec<u8>)| {
            (manifest.hash().to_string(), Content::Memory(content.clone().into()))
        };
        let library = Library::Folder(blobs.iter().map(files).collect());
        let origin = Setup::new(library).start().await.unwrap();
        Self { origin, blobs, folder: tempfile::tempdir().unwrap() }
    }

    fn sources(&self) -> Arc<ByHash> {
        Arc::new(ByHash(self.origin.url("/")))
    }

    fn jobs(&self) -> impl Iterator<Item = Job> + use<> {
        let folder = self.folder.path().to_owned();
        let manifests: Vec<Manifest> = self.blobs.iter().map(|(manifest, _)| manifest.clone()).collect();
        manifests.into_iter().map(move |manifest| {
            let path = folder.join(manifest.hash().to_string());
            Job { request: FetchRequest::new(manifest, path), journal: Arc::new(NoJournal) }
        })
    }

    fn holds(&self, path: &Path, hash: BlobHash) -> bool {
        let (_, content) = self.blobs.iter().find(|(manifest, _)| manifest.hash() == hash).unwrap();
        std::fs::read(path).unwrap() == *content
    }
}

fn fetcher() -> Fetcher {
    Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failure_does_not_stop_the_others() {
    let shelf = Shelf::new((0..60).map(|n| if n % 20 == 0 { 5 * MIB + n } else { 1000 * n })).await;
    let gone: Vec<_> = [3, 20, 41].iter().map(|index| shelf.blobs[*index].0.hash()).collect();
    for hash in &gone {
        shelf.origin.script_at(&format!("/{hash}"), [Act::status(404), Act::status(404), Act::status(404)]);
    }
    let control = Control::new();
    let progress = control.progress();
    let mut many = fetcher().fetch_many(shelf.jobs(), shelf.sources(), Places::default(), control);
    let mut results = BTreeMap::new();
    while let Some((hash, result)) = tokio::time::timeout(Duration::from_secs(60), many.next()).await.unwrap() {
        assert!(results.insert(hash, result).is_none(), "each blob once");
    }
    assert_eq!(results.len(), 60, "every blob has its result");
    for (hash, result) in results {
        match result {
            Ok(fetched) => assert!(shelf.holds(&fetched.path, hash), "verified means right"),
            Err(error) => {
                assert!(gone.contains(&hash) && matches!(error, FetchError::Gone), "only what is gone fails: {error}");
            }
        }
    }
    let all: u64 = shelf.blobs.iter().map(|(manifest, _)| manifest.size()).sum();
    let there = all - shelf.blobs.iter().filter(|(m, _)| gone.contains(&m.hash())).map(|(m, _)| m.size()).sum::<u64>();
    let reached = *progress.borrow();
    assert_eq!((reached.bytes_verified, reached.bytes_total, reached.state), (there, all, State::Complete), "the sums");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_taken_only_as_places_free_up() {
    let shelf = Shelf::new((0..900).map(|n| 100 + n)).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let jobs = shelf.jobs().inspect(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut many = fetcher().fetch_many(jobs, shelf.sources(), Places::default(), Control::new());
    let mut ended = 0;
    while let Some((_, result)) = many.next().await {
        result.unwrap();
        ended += 1;
        let ahead = taken.load(Ordering::SeqCst) - ended;
        assert!(ahead <= 256 + 192 + 3, "{ahead} jobs in memory after {ended}");
    }
    assert_eq!(ended, 900, "all of them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_ends_all_of_them_and_touches_no_more() {
    let shelf = Shelf::new((0..700).map(|n| if n < 2 { 16 * MIB + n } else { 100 + n })).await;
    // The big ones would take minutes.
    shelf.origin.throttle(MIB / 8);
    let control = Control::new();
    let mut many = fetcher().fetch_many(shelf.jobs(), shelf.sources(), Places::default(), control.clone());
    assert!(many.next().await.unwrap().1.is_ok(), "a small one comes first");
    control.pause();
    let (mut paused, mut there) = (0, 1);
    while let Some((_, result)) = tokio::time::timeout(Duration::from_secs(30), many.next()).await.unwrap() {
        match result {
            Ok(_) => there += 1,
            Err(FetchError::Paused) => paused += 1,
            Err(other) => panic!("a pause is a pause, not {other}"),
        }
    }
    assert!(paused >= 2, "the big ones were running: {paused} paused");
    assert!(paused + there < 700, "{paused} paused, {there} there: the rest of the list was left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_set_on_the_control_holds_for_all_together() {
    let shelf = Shelf::new((0..8).map(|n| 100_000 + n)).await;
    let control = Control::new();
    control.set_rate(Some(400_000));
    control.set_urgency(Urgency::Playing);
    let begun = Instant::now();
    let mut many = fetcher().fetch_many(shelf.jobs(), shelf.sources(), Places::default(), control);
    while let Some((_, result)) = tokio::time::timeout(Duration::from_secs(60), many.next()).await.unwrap() {
        result.unwrap();
    }
    // Two seconds' worth, less what may come at once at the start.
    assert!(begun.elapsed() >= Duration::from_millis(1200), "{:?}", begun.elapsed());
}
