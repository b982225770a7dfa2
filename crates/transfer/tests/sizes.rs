//! Sizes at the edges (faults 11 and 25): manifests nobody should read, offsets behind 4 GiB, a second connection refused.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{fs, sync::Arc, time::Duration};

use carrel_model::{
    BlobHash,
    pieces::{MAX_PIECES, Manifest, ManifestError, PIECE_BYTES, fold, piece_count, piece_value},
};
use carrel_testbed::http_origin::{Content, Meeting, Origin, Setup};
use carrel_transfer::{
    Checkpoint, Control, FetchRequest, Fetcher, FetcherConfig, FileJournal, FixedSources, HttpClient, HttpOptions,
    Journal as _, PieceSet,
};
use rig::{MIB, content, manifest_of};

#[test]
fn a_manifest_that_cannot_be_is_refused_before_anything_is_fetched() {
    let manifest = manifest_of(&content(3 * MIB + 1, 25));
    let pieces: Vec<[u8; 32]> = manifest.to_binary().as_chunks::<32>().0.to_vec();
    let of = |size: u64, pieces: &[[u8; 32]]| Manifest::new(manifest.hash(), size, pieces.to_vec());
    assert!(of(manifest.size(), &pieces).is_ok());
    for size in [0, 1, 3 * MIB, 4 * MIB + 1, u64::from(u32::MAX), (1 << 53) + 1] {
        assert!(of(size, &pieces).is_err(), "another length: {size}");
    }
    assert!(matches!(of(u64::MAX, &pieces), Err(ManifestError::TooLarge { .. })));
    let mut folded_otherwise = pieces.clone();
    folded_otherwise.swap(0, 1);
    assert!(matches!(of(manifest.size(), &folded_otherwise), Err(ManifestError::WrongFold { .. })));
    // A million pieces are the most there may be; a list longer than its size says is no list.
    let many = vec![[7; 32]; usize::try_from(MAX_PIECES).unwrap() + 1];
    assert!(matches!(of(MAX_PIECES * PIECE_BYTES + 1, &many), Err(ManifestError::TooLarge { .. })));
    assert!(matches!(of(5, &many), Err(ManifestError::WrongCount { .. })));
}

#[test]
fn a_manifest_that_is_a_bomb_is_refused_as_text() {
    let bombs = [
        format!(r#"{{"hash":"{0}","size":5,"pieces":[{1}]}}"#, "0".repeat(64), vec![r#""00""#; 100_000].join(",")),
        format!(r#"{{"hash":"{0}","size":5,"pieces":{1}{2}}}"#, "0".repeat(64), "[".repeat(50_000), "]".repeat(50_000)),
        format!(r#"{{"hash":"{0}","size":99999999999999999999,"pieces":[]}}"#, "0".repeat(64)),
        format!(r#"{{"hash":"{0}","size":-1,"pieces":[]}}"#, "0".repeat(64)),
        format!(r#"{{"hash":"{}","size":0,"pieces":[]}}"#, "g".repeat(64)),
    ];
    for bomb in bombs {
        assert!(serde_json::from_str::<Manifest>(&bomb).is_err(), "{}", bomb.get(..90).unwrap_or(&bomb));
    }
}

/// Reads 4 GiB, so it is asked for: `CARREL_LARGE=1`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_file_behind_4_gib_is_fetched_alone() {
    if std::env::var_os("CARREL_LARGE").is_none() {
        return;
    }
    let size = (4 << 30) + 2 * MIB + 17;
    let count = piece_count(size);
    let zeros = vec![0; usize::try_from(MIB).unwrap()];
    let value = |piece: u64| {
        let length = usize::try_from(MIB.min(size - piece * MIB)).unwrap();
        piece_value(piece * MIB, &zeros[..length], size)
    };
    let pieces: Vec<_> = (0..count).map(value).collect();
    let hash: BlobHash = fold(&pieces).unwrap();
    let manifest = Arc::new(Manifest::new(hash, size, pieces).unwrap());
    let origin = Setup::new(Content::Zeros(size)).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, journal) = (folder.path().join("blob.part"), FileJournal::new(folder.path().join("journal")));
    // All but the last two pieces are there: zeros that take no room.
    fs::File::create(&path).unwrap().set_len(size).unwrap();
    let mut known = PieceSet::new(count);
    (0..count - 2).for_each(|piece| assert!(known.insert(piece)));
    journal.store(&[Checkpoint { blob: hash, verified: known }]).await.unwrap();

    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
    let sources = Arc::new(FixedSources(vec![origin.url("/blob").parse().unwrap()]));
    let request = FetchRequest::new(manifest, &path);
    let fetched = fetcher.fetch(request, sources, Arc::new(journal), Control::new()).await.unwrap();
    assert_eq!(fetched.bytes, size);
    assert!(fetched.bytes_fetched <= MIB + 17, "{}", fetched.bytes_fetched);
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
}

/// Goes on with one connection when no second one is to be had (fault 23).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_does_it_when_the_others_are_turned_away() {
    one_connection_does_it([Some(Meeting::Reset), Some(Meeting::Close), None]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a lane that gave half its work to a mute one closes its own connection, and its next one may be mute as well"]
async fn one_connection_does_it_when_the_others_are_never_answered() {
    one_connection_does_it([Some(Meeting::Mute)]).await;
}

/// `None`: refused, as nobody listens any more.
async fn one_connection_does_it(ways: impl IntoIterator<Item = Option<Meeting>>) {
    for turned_away in ways {
        let content = content(24 * MIB, 23);
        let origin = Origin::start(content.clone()).await.unwrap();
        origin.throttle(6 * MIB);
        let folder = tempfile::tempdir().unwrap();
        let (path, journal) = (folder.path().join("blob.part"), FileJournal::new(folder.path().join("journal")));
        let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
        let sources = Arc::new(FixedSources(vec![origin.url("/blob").parse().unwrap()]));
        let request = FetchRequest::new(manifest_of(&content), &path);
        if let Some(meeting) = turned_away.clone() {
            origin.serve_at_most(1, meeting);
        }
        let control = Control::new();
        let mut progress = control.progress();
        let refuse = async {
            progress.wait_for(|progress| progress.bytes_fetched > 0).await.unwrap();
            origin.refuse_connections(turned_away.is_none());
            std::future::pending::<()>().await;
        };
        let fetching = fetcher.fetch(request, sources, Arc::new(journal), control.clone());
        let fetched = tokio::select! {
            fetched = tokio::time::timeout(Duration::from_secs(25), fetching) => {
                fetched.unwrap_or_else(|_| panic!("{turned_away:?}: it waits for a connection it doesn't need")).unwrap()
            }
            () = refuse => unreachable!("it waits for ever"),
        };
        assert!(fs::read(&path).unwrap() == content, "{turned_away:?}");
        assert_eq!(fetched.bytes_fetched, 24 * MIB, "{turned_away:?}: nothing is fetched twice");
        assert!(origin.knocks() > 1 || turned_away.is_none(), "{turned_away:?}: it never tried another");
    }
}
