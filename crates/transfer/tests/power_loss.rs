//! Power loss at every moment: nothing wrong is called complete, and the journal is never ahead of the disk.
//!
//! A run is recorded on a medium in memory – a big blob that is interrupted and goes on, several small ones at once – and
//! then cut after every single operation, with several random losses each. What is left must not contradict what had been
//! recorded or reported by then, and a new fetch on it must come to the right bytes without asking for what was recorded.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected has failed"
)]

mod rig;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use carrel_model::{BlobHash, pieces::Manifest};
use carrel_testbed::{
    http_origin::{Act, Content, Library, Origin, Setup},
    power_loss::{FileNumber, Image, Medium, Recording},
};
use carrel_transfer::{
    Checkpoint, Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FileId, FileLayer, FileStat,
    FixedSources, HttpClient, HttpOptions, Journal, JournalError, OpenFile, PieceSet,
};
use rig::{MIB, content, manifest_of};

/// Random losses tried at each moment.
const LOSSES: u64 = 4;

/// What becomes durable outside of the files, or is believed to be.
#[derive(Debug, Clone)]
enum Event {
    Recorded(Vec<Checkpoint>),
    Reported(usize),
}

/// A fault put in on purpose, to see that these tests would find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// The journal is told first, and the sync comes after it.
    JournalFirst,
    /// Files are synced, and their names are not.
    NamesForgotten,
}

/// The medium as the transfer uses it.
#[derive(Debug, Clone)]
struct Files {
    medium: Medium<Event>,
    /// Whether everything can be synced at once.
    at_once: bool,
    flaw: Flaw,
    late: Arc<Mutex<Vec<FileNumber>>>,
}

#[derive(Debug)]
struct OneFile {
    files: Files,
    number: FileNumber,
}

impl FileLayer for Files {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(OneFile { files: self.clone(), number: self.medium.open(path) }))
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        Ok(FileId { volume: 1, file: self.medium.find(path)? })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.medium.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.flaw != Flaw::NamesForgotten {
            self.medium.sync_folder(folder);
        }
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl OpenFile for OneFile {
    fn stat(&self) -> io::Result<FileStat> {
        let id = FileId { volume: 1, file: self.number };
        Ok(FileStat { id, length: self.files.medium.length(self.number), modified: None })
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.files.medium.length(self.number))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.files.medium.read_at(self.number, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.files.medium.write_at(self.number, bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if self.files.medium.length(self.number) < bytes {
            self.files.medium.set_length(self.number, bytes)?;
        }
        Ok(())
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.files.medium.set_length(self.number, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.files.flaw == Flaw::JournalFirst {
            self.files.late.lock().unwrap().push(self.number);
        } else {
            self.files.medium.sync(self.number);
        }
        Ok(())
    }

    fn sync_volume(&self) -> io::Result<bool> {
        if self.files.at_once {
            self.files.medium.sync_everything();
        }
        Ok(self.files.at_once)
    }
}

/// A journal whose commits go into the same log as the operations of the medium.
#[derive(Clone)]
struct Records {
    files: Files,
    known: Arc<Mutex<BTreeMap<String, PieceSet>>>,
}

#[async_trait::async_trait]
impl Journal for Records {
    async fn load(&self, blob: BlobHash, _: u64) -> Result<Option<PieceSet>, JournalError> {
        Ok(self.known.lock().unwrap().get(&blob.to_string()).cloned())
    }

    async fn store(&self, checkpoints: &[Checkpoint]) -> Result<(), JournalError> {
        self.files.medium.elsewhere(Event::Recorded(checkpoints.to_vec()));
        for point in checkpoints {
            self.known.lock().unwrap().insert(point.blob.to_string(), point.verified.clone());
        }
        for number in self.files.late.lock().unwrap().drain(..) {
            self.files.medium.sync(number);
        }
        Ok(())
    }
}

struct Blob {
    content: Vec<u8>,
    manifest: Arc<Manifest>,
    path: PathBuf,
}

/// The blobs, and a server that has them.
struct Course {
    blobs: Vec<Blob>,
    origin: Origin,
    client: HttpClient,
}

const VIDEO: usize = 0;

impl Course {
    async fn new() -> Self {
        let sizes = [5 * MIB + 77, 30_000, MIB + 5_000, 4_096, 29_999, 200_000, 0];
        let blobs: Vec<_> = (0..)
            .zip(sizes)
            .map(|(number, size)| {
                let content = content(size, 70 + number);
                let manifest = Arc::new(manifest_of(&content));
                Blob { content, manifest, path: PathBuf::from(format!("/partial/{number}.part")) }
            })
            .collect();
        let served = (0..)
            .zip(&blobs)
            .map(|(number, blob): (usize, &Blob)| (number.to_string(), Content::Memory(blob.content.clone().into())));
        let origin = Setup::new(Library::Folder(served.collect())).start().await.unwrap();
        Self { blobs, origin, client: HttpClient::new(&HttpOptions::default()).unwrap() }
    }

    fn fetcher(&self, files: &Files) -> Fetcher {
        let mut config = FetcherConfig::default();
        config.files = Arc::new(files.clone());
        config.backoff_base = Duration::from_millis(1);
        Fetcher::new(self.client.clone(), config)
    }

    async fn fetch(
        &self,
        fetcher: &Fetcher,
        records: &Records,
        blob: usize,
        control: Control,
    ) -> Result<Fetched, FetchError> {
        let Blob { manifest, path, .. } = &self.blobs[blob];
        let request = FetchRequest::new(Arc::clone(manifest), path.clone());
        let sources = Arc::new(FixedSources(vec![self.origin.url(&format!("/{blob}")).parse().unwrap()]));
        let fetching = fetcher.fetch(request, sources, Arc::new(records.clone()), control);
        let fetched = tokio::time::timeout(Duration::from_secs(60), fetching).await.expect("a fetch must end")?;
        records.files.medium.elsewhere(Event::Reported(blob));
        Ok(fetched)
    }

    /// A day on which much happens: the video paused, six small files at once, the video with a cut connection to its end.
    async fn record(&self, at_once: bool, flaw: Flaw) -> Recording<Event> {
        let files = Files { medium: Medium::new(&Image::default()), at_once, flaw, late: Arc::default() };
        let records = Records { files: files.clone(), known: Arc::default() };
        let fetcher = self.fetcher(&files);

        // Slow enough for checkpoints by time.
        self.origin.throttle(2 * MIB);
        let control = Control::new();
        let mut progress = control.progress();
        let pause = async {
            progress.wait_for(|now| now.bytes_verified >= 3 * MIB).await.unwrap();
            control.pause();
        };
        let (paused, ()) = tokio::join!(self.fetch(&fetcher, &records, VIDEO, control.clone()), pause);
        assert!(matches!(paused, Err(FetchError::Paused)), "{paused:?}");
        self.origin.throttle(0);

        let small = (1..self.blobs.len()).map(|blob| self.fetch(&fetcher, &records, blob, Control::new()));
        for fetched in futures_join(small).await {
            fetched.unwrap();
        }
        self.origin.script_at("/0", [Act::ResetAfter(MIB + MIB / 2)]);
        self.fetch(&fetcher, &records, VIDEO, Control::new()).await.unwrap();
        files.medium.recording()
    }

    /// Cuts the run everywhere; what contradicts what was recorded or reported.
    fn contradictions(&self, recording: &Recording<Event>) -> Contradictions {
        let mut found = Contradictions::default();
        for cut in recording.cuts() {
            found.cuts += 1;
            let events: Vec<_> = cut.events().cloned().collect();
            for seed in 0..LOSSES {
                found.images += 1;
                let image = cut.image(seed);
                for (blob, claims) in claims(&events) {
                    let blob = self.blobs.iter().find(|one| one.manifest.hash().to_string() == blob).unwrap();
                    for piece in claims.iter().filter(|piece| !holds(&image, blob, *piece)) {
                        found.recorded.push(format!("cut {}, loss {seed}: piece {piece} of {:?}", cut.at(), blob.path));
                    }
                }
                for event in &events {
                    let Event::Reported(blob) = event else { continue };
                    let Blob { path, content, .. } = &self.blobs[*blob];
                    if image.content(path) != Some(content) {
                        found.reported.push(format!("cut {}, loss {seed}: {path:?}", cut.at()));
                    }
                }
            }
        }
        found
    }

    /// Begins again on what is left; ends with everything right, and without fetching what was recorded.
    async fn start_again(&self, image: &Image, events: &[Event], at_once: bool, what: &str) {
        let files = Files { medium: Medium::new(image), at_once, flaw: Flaw::None, late: Arc::default() };
        let records = Records { files: files.clone(), known: Arc::new(Mutex::new(claims(events))) };
        let fetcher = self.fetcher(&files);
        let all = (0..self.blobs.len()).map(|blob| self.fetch(&fetcher, &records, blob, Control::new()));
        let fetched = futures_join(all).await;
        let claims = claims(events);
        for (blob, fetched) in self.blobs.iter().zip(fetched) {
            let fetched = fetched.unwrap_or_else(|error| panic!("{what}: {:?}: {error}", blob.path));
            assert!(
                files.medium.content(&blob.path).as_deref() == Some(&blob.content),
                "{what}: {:?} is wrong",
                blob.path
            );
            let recorded: u64 = claims
                .get(&blob.manifest.hash().to_string())
                .map_or(0, |set| set.iter().map(|piece| blob.manifest.piece_range(piece).1).sum());
            assert!(
                fetched.bytes_fetched <= blob.manifest.size() - recorded,
                "{what}: {:?}: {} fetched although {recorded} of {} were recorded",
                blob.path,
                fetched.bytes_fetched,
                blob.manifest.size()
            );
        }
        // The power goes once more, right after the last word.
        let recording = files.medium.recording();
        let last = recording.cuts().last().unwrap().image(1);
        for Blob { path, content, .. } in &self.blobs {
            assert!(last.content(path) == Some(content), "{what}: {path:?} was complete and is lost again");
        }
    }
}

#[derive(Debug, Default)]
struct Contradictions {
    cuts: usize,
    images: usize,
    /// Pieces the journal has and the image doesn't.
    recorded: Vec<String>,
    /// Files reported complete that aren't.
    reported: Vec<String>,
}

/// The last word of the journal on each blob.
fn claims(events: &[Event]) -> BTreeMap<String, PieceSet> {
    let recorded =
        events.iter().filter_map(|event| if let Event::Recorded(points) = event { Some(points) } else { None });
    recorded.flatten().map(|point| (point.blob.to_string(), point.verified.clone())).collect()
}

fn holds(image: &Image, blob: &Blob, piece: u64) -> bool {
    let (start, length) = blob.manifest.piece_range(piece);
    let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
    let bytes = image.content(&blob.path).and_then(|content| content.get(range));
    bytes.is_some_and(|bytes| blob.manifest.verifies(piece, bytes))
}

async fn futures_join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(futures).await
}

async fn survives(at_once: bool) {
    let course = Course::new().await;
    let recording = course.record(at_once, Flaw::None).await;
    let found = course.contradictions(&recording);
    println!("{} cut points, {} images: {found:?}", found.cuts, found.images);
    assert!(found.recorded.is_empty(), "the journal is ahead of the disk: {:#?}", found.recorded);
    assert!(found.reported.is_empty(), "complete without being so: {:#?}", found.reported);
    let records = recording.cuts().last().unwrap().events().filter(|event| matches!(event, Event::Recorded(_))).count();
    assert!(records >= 3, "a run that records something now and then: {records}");

    let mut again = 0;
    for cut in recording.cuts() {
        let events: Vec<_> = cut.events().cloned().collect();
        for seed in [cut.at() as u64, 1_000 + cut.at() as u64] {
            let what = format!("cut {}, loss {seed}", cut.at());
            course.start_again(&cut.image(seed), &events, at_once, &what).await;
            again += 1;
        }
    }
    println!("{again} runs begun again after a loss");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_loss_of_power_at_any_moment_makes_a_false_record_or_a_false_complete() {
    survives(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_where_everything_is_synced_at_once() {
    survives(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_a_journal_that_is_told_before_the_sync_is_found() {
    let course = Course::new().await;
    let recording = course.record(false, Flaw::JournalFirst).await;
    let found = course.contradictions(&recording);
    println!("{} cut points, {} false records", found.cuts, found.recorded.len());
    assert!(!found.recorded.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_names_that_are_never_synced_are_found() {
    let course = Course::new().await;
    let recording = course.record(false, Flaw::NamesForgotten).await;
    let found = course.contradictions(&recording);
    println!("{} cut points, {} false completes", found.cuts, found.reported.len());
    assert!(!found.reported.is_empty());
}
