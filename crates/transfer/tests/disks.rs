//! Disks that are full, fill up, fail or go away: a typed error, nothing verified lost, and the next run goes on.
//!
//! The full ones are real: a small tmpfs in a mount namespace of its own, in which this program is started once more.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected has failed")]

mod rig;

use std::{
    env,
    fs::File,
    io,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use carrel_testbed::http_origin::Origin;
use carrel_transfer::{
    Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FileId, FileJournal, FileLayer, FileStat,
    FixedSources, HttpClient, HttpOptions, OpenFile, SystemFiles,
};
use rig::{MIB, content, manifest_of};

const SMALL_DISK: &str = "CARREL_SMALL_DISK";

/// A blob, a server that has it, and what is to be known to fetch it into a folder.
struct Errand {
    content: Vec<u8>,
    origin: Origin,
    config: FetcherConfig,
    folder: PathBuf,
    /// On the disk of the test itself: the journal isn't the subject.
    journal: tempfile::TempDir,
    control: Control,
}

impl Errand {
    async fn new(bytes: u64, folder: &Path) -> Self {
        let content = content(bytes, bytes);
        let origin = Origin::start(content.clone()).await.unwrap();
        Self {
            content,
            origin,
            config: FetcherConfig::default(),
            folder: folder.to_owned(),
            journal: tempfile::tempdir().unwrap(),
            control: Control::new(),
        }
    }

    fn part(&self) -> PathBuf {
        self.folder.join("blob.part")
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), self.config.clone());
        let sources = Arc::new(FixedSources(vec![self.origin.url("/blob").parse().unwrap()]));
        let journal = Arc::new(FileJournal::new(self.journal.path().join("journal")));
        let request = FetchRequest::new(manifest_of(&self.content), self.part());
        let fetching = fetcher.fetch(request, sources, journal, self.control.clone());
        tokio::time::timeout(Duration::from_secs(60), fetching).await.expect("a fetch must end")
    }

    async fn completes(&self) -> Fetched {
        let fetched = self.fetch().await.expect("a verified file");
        assert!(std::fs::read(self.part()).unwrap() == self.content, "the right bytes");
        fetched
    }
}

/// Writes until nothing more fits.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = File::create(&path).unwrap();
    for portion in [1 << 20, 64 << 10, 4 << 10] {
        while file.write_all(&vec![1; portion]).is_ok() {}
    }
    path
}

/// Does nothing in an ordinary run; inside of the small disk it is the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_small_disk() {
    let Ok(folder) = env::var(SMALL_DISK) else { return };
    let folder = PathBuf::from(folder);

    // Too big: said at once, with numbers, and nothing is taken.
    let big = Errand::new(9 * MIB, &folder).await;
    let outcome = big.fetch().await;
    assert!(
        matches!(outcome, Err(FetchError::DiskFull { needed_bytes, free_bytes }) if needed_bytes == 9 * MIB && free_bytes <= 6 * MIB),
        "{outcome:?}"
    );
    assert_eq!(std::fs::metadata(big.part()).unwrap().len(), 0, "no room is kept by a fetch that didn't begin");
    assert!(big.origin.seen().is_empty(), "and nothing was asked for");

    // It fits, but not above the floor.
    let mut careful = Errand::new(3 * MIB, &folder).await;
    careful.config.floor_bytes = 4 * MIB;
    let outcome = careful.fetch().await;
    assert!(
        matches!(outcome, Err(FetchError::DiskFull { needed_bytes, .. }) if needed_bytes == 3 * MIB),
        "{outcome:?}"
    );

    // Somebody else fills the disk meanwhile.
    let mut surprised = Errand::new(3 * MIB, &folder).await;
    surprised.config.floor_bytes = MIB / 2;
    surprised.origin.throttle(2 * MIB);
    let mut progress = surprised.control.progress();
    let filling = async {
        progress.wait_for(|now| now.bytes_verified >= MIB).await.unwrap();
        fill(&folder)
    };
    let (outcome, filler) = tokio::join!(surprised.fetch(), filling);
    assert!(matches!(outcome, Err(FetchError::DiskFull { free_bytes: 0, .. })), "{outcome:?}");
    std::fs::remove_file(filler).unwrap();
    surprised.origin.throttle(0);
    let fetched = surprised.completes().await;
    assert!(fetched.bytes_fetched <= 2 * MIB, "what was verified is not fetched again: {}", fetched.bytes_fetched);
    std::fs::remove_file(surprised.part()).unwrap();

    // Who has got his room isn't surprised.
    let calm = Errand::new(4 * MIB + 5, &folder).await;
    calm.origin.throttle(2 * MIB);
    let mut progress = calm.control.progress();
    let filling = async {
        progress.wait_for(|now| now.bytes_verified >= MIB).await.unwrap();
        fill(&folder)
    };
    let (fetched, _) = tokio::join!(calm.completes(), filling);
    assert_eq!(fetched.bytes, 4 * MIB + 5);
}

#[test]
fn a_full_disk_is_an_error_with_numbers_and_costs_nothing_verified() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c"])
        .arg(r#"mount -t tmpfs -o size=6m,mode=0777 tmpfs "$CARREL_SMALL_DISK" && exec "$0" --exact on_a_small_disk --nocapture"#)
        .arg(env::current_exe().unwrap())
        .env(SMALL_DISK, folder.path())
        .output()
        .expect("unshare, of util-linux, and the right to make namespaces");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The files of the system, until a byte at or after this place is written.
#[derive(Debug, Clone)]
struct Failing {
    from: Arc<AtomicU64>,
    errno: i32,
    /// Writing works, and making it durable doesn't.
    in_sync: bool,
}

#[derive(Debug)]
struct FailingFile {
    rules: Failing,
    file: Arc<dyn OpenFile>,
}

impl FileLayer for Failing {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(FailingFile { rules: self.clone(), file: SystemFiles.open(path)? }))
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        SystemFiles.id(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.sync_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        SystemFiles.free_bytes(folder)
    }
}

impl OpenFile for FailingFile {
    fn stat(&self) -> io::Result<FileStat> {
        self.file.stat()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.rules.in_sync && offset + bytes.len() as u64 > self.rules.from.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(self.rules.errno));
        }
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.file.set_length(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.rules.in_sync && self.rules.from.load(Ordering::SeqCst) < u64::MAX {
            return Err(io::Error::from_raw_os_error(self.rules.errno));
        }
        self.file.sync_data()
    }

    fn sync_volume(&self) -> io::Result<bool> {
        Ok(false)
    }
}

const EIO: i32 = 5;
const ENODEV: i32 = 19;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_at_any_piece_ends_the_fetch_with_its_error_and_the_next_goes_on() {
    for errno in [EIO, ENODEV, ENOSPC, EDQUOT] {
        for piece in 0..6 {
            let what = format!("error {errno} at piece {piece}");
            let folder = tempfile::tempdir().unwrap();
            let mut errand = Errand::new(5 * MIB + 9, folder.path()).await;
            // One after the other, so that it is known what was verified before.
            errand.config.connections = 1;
            let from = Arc::new(AtomicU64::new(piece * MIB));
            errand.config.files = Arc::new(Failing { from: Arc::clone(&from), errno, in_sync: false });
            match (errno, errand.fetch().await) {
                (ENOSPC | EDQUOT, Err(FetchError::DiskFull { .. })) => {}
                (EIO | ENODEV, Err(FetchError::Io(error))) if error.raw_os_error() == Some(errno) => {}
                (_, other) => panic!("{what}: {other:?}"),
            }
            from.store(u64::MAX, Ordering::SeqCst);
            let fetched = errand.completes().await;
            let left = 5 * MIB + 9 - piece * MIB;
            assert!(fetched.bytes_fetched <= left, "{what}: {} fetched, {left} were missing", fetched.bytes_fetched);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_made_durable_is_never_called_complete() {
    for bytes in [5 * MIB + 9, 30_000] {
        let folder = tempfile::tempdir().unwrap();
        let mut errand = Errand::new(bytes, folder.path()).await;
        let from = Arc::new(AtomicU64::new(0));
        errand.config.files = Arc::new(Failing { from: Arc::clone(&from), errno: EIO, in_sync: true });
        let outcome = errand.fetch().await;
        assert!(matches!(&outcome, Err(FetchError::Io(error)) if error.raw_os_error() == Some(EIO)), "{outcome:?}");
        from.store(u64::MAX, Ordering::SeqCst);
        errand.completes().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_taken_away_is_an_error_and_when_it_is_back_the_fetch_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("stick");
    std::fs::create_dir(&place).unwrap();
    let errand = Errand::new(3 * MIB, &place).await;
    errand.origin.throttle(2 * MIB);
    let mut progress = errand.control.progress();
    let pulling = async {
        progress.wait_for(|now| now.bytes_verified >= MIB).await.unwrap();
        std::fs::rename(&place, folder.path().join("elsewhere")).unwrap();
    };
    let (outcome, ()) = tokio::join!(errand.fetch(), pulling);
    assert!(matches!(&outcome, Err(FetchError::Io(error)) if error.kind() == io::ErrorKind::NotFound), "{outcome:?}");
    std::fs::rename(folder.path().join("elsewhere"), &place).unwrap();
    errand.origin.throttle(0);
    let fetched = errand.completes().await;
    assert!(fetched.bytes_fetched <= 2 * MIB, "{} fetched again", fetched.bytes_fetched);
}
