//! SIGKILL at random moments: no verified piece is lost, and a kill costs at most a piece – of what was in the air the
//! beginning is found as well.
//!
//! The killed process is this test program itself, started again with the address in its environment.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{
    env,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_model::pieces::Manifest;
use carrel_testbed::http_origin::{Origin, sent_twice};
use carrel_transfer::{
    Control, FetchRequest, Fetcher, FetcherConfig, FileJournal, FixedSources, HttpClient, HttpOptions,
};
use rig::{MIB, content, manifest_of};

const FOLDER: &str = "CARREL_KILL_FOLDER";
const ADDRESS: &str = "CARREL_KILL_URL";

/// Does nothing in an ordinary run; in a process started by the test below it is the fetch to be killed.
#[tokio::test]
async fn victim() {
    let (Ok(folder), Ok(url)) = (env::var(FOLDER), env::var(ADDRESS)) else { return };
    let folder = std::path::PathBuf::from(folder);
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(folder.join("manifest")).unwrap()).unwrap();
    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
    let request = FetchRequest::new(manifest, folder.join("blob.part"));
    let sources = Arc::new(FixedSources(vec![url.parse().unwrap()]));
    let journal = Arc::new(FileJournal::new(folder.join("journal")));
    fetcher.fetch(request, sources, journal, Control::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_cost_at_most_a_piece_each() {
    kills_cost_at_most_a_piece_each(48 * MIB + 4321, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: 512 MiB at 12 MiB/s"]
async fn two_hundred_kills_cost_at_most_a_piece_each() {
    kills_cost_at_most_a_piece_each(512 * MIB, 200).await;
}

async fn kills_cost_at_most_a_piece_each(size: u64, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let content = content(size, 26);
    let manifest = manifest_of(&content);
    std::fs::write(folder.path().join("manifest"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    let origin = Origin::start(content.clone()).await.unwrap();
    origin.throttle(12 * MIB);
    let start = || {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(ADDRESS, origin.url("/blob"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };

    let seed = 26_u64;
    let mut random = seed;
    let mut again = Vec::new();
    // Where the process before began, and what had been sent twice until then.
    let mut before: Option<(u64, u64)> = None;
    for kill in 0..=kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Over all kills about four fifths of the file get through, so that none of them comes too late.
        let after = 1 + (random >> 33) % (size * 8 / 5 / kills);
        let (requests, bytes) = (origin.seen().len(), origin.body_bytes());
        let mut victim = start();
        let begun = Instant::now();
        while origin.seen().len() == requests || origin.body_bytes() < bytes + after {
            assert!(begun.elapsed() < Duration::from_secs(20), "seed {seed}, kill {kill}: no bytes flow");
            assert!(victim.try_wait().unwrap().is_none(), "seed {seed}, kill {kill}: it ended by itself");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (from, _) = origin.seen()[requests].range.unwrap();
        if let Some((earlier, _)) = before {
            assert!(from >= earlier, "seed {seed}, kill {kill}: verified pieces were lost");
        }
        if kill == kills {
            assert!(victim.wait().unwrap().success());
        } else {
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
        let twice = sent_twice(&origin.served());
        if let Some((_, until)) = before {
            again.push(twice - until);
        }
        before = Some((from, twice));
    }
    assert!(std::fs::read(folder.path().join("blob.part")).unwrap() == content);

    println!("seed {seed}: bytes fetched again after each kill: {again:?}");
    assert_eq!(again.len() as u64, kills);
    // Counted where they leave the server, so what lay in socket buffers when the process died counts as well.
    assert!(again.iter().sum::<u64>() <= kills * MIB / 2, "seed {seed}: {again:?}");
    assert!(again.iter().all(|bytes| *bytes <= MIB), "seed {seed}: {again:?}");
}
