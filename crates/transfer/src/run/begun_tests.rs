//! What an earlier run kept of a piece isn't asked for again; and where it is wrong, nobody else is blamed for it.

use std::sync::Arc;

use carrel_model::pieces::ManifestBuilder;
use carrel_testbed::http_origin::Origin;
use tokio::sync::oneshot;

use crate::{
    Control, FetchRequest, Fetcher, FetcherConfig, FixedSources, HttpClient, HttpOptions, NoJournal, disk::Beginning,
};

const PIECE: usize = 1 << 20;
const ARRIVED: usize = 600_000;
/// What of that is kept: whole steps.
const KEPT: u64 = 4 * (128 << 10);

/// Fetches three pieces, of which the second was begun with these changes; the ranges asked for.
async fn ranges(spoil: impl Fn(&mut Vec<u8>)) -> Vec<(u64, u64)> {
    let content: Vec<u8> = (0..3 * PIECE).map(|at| u8::try_from((at * 131 + at / 4093) % 251).unwrap()).collect();
    let mut builder = ManifestBuilder::new();
    builder.update(&content);
    let manifest = Arc::new(builder.finish());
    let origin = Origin::start(content.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blob.part");
    let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), FetcherConfig::default());
    {
        let opened = fetcher.disk().open(Arc::clone(&manifest), path.clone(), Arc::new(NoJournal)).await.unwrap();
        let mut buffer = fetcher.disk().buffer(PIECE).await;
        buffer.extend_from_slice(&content[..PIECE]);
        opened.part.submit(0, buffer, |_| {});
        let mut begun = content[PIECE..PIECE + ARRIVED].to_vec();
        spoil(&mut begun);
        let (told, kept) = oneshot::channel();
        let step = Beginning::new(&manifest, 1).step(&begun, PIECE).unwrap();
        opened.part.keep(step, move || told.send(()).unwrap());
        kept.await.unwrap();
        opened.part.finish(false).await.unwrap();
    }
    let sources = Arc::new(FixedSources(vec![origin.url("/blob").parse().unwrap()]));
    let request = FetchRequest::new(manifest, &path);
    let fetched = fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new()).await.unwrap();
    assert!(std::fs::read(path).unwrap() == content, "the file must hold exactly the blob");
    assert_eq!(fetched.retries, 0, "the server did nothing wrong");
    origin.seen().iter().filter_map(|seen| seen.range).map(|(from, to)| (from, to.unwrap() + 1)).collect()
}

#[tokio::test]
async fn a_piece_that_was_begun_is_gone_on_with() {
    let (begun, end) = (PIECE as u64 + KEPT, 3 * PIECE as u64);
    assert_eq!(ranges(|_| {}).await, [(begun, end)]);
}

#[tokio::test]
async fn a_wrong_beginning_costs_its_piece_alone() {
    let (begun, end) = (PIECE as u64 + KEPT, 3 * PIECE as u64);
    assert_eq!(ranges(|begun| begun[77] ^= 1).await, [(begun, end), (PIECE as u64, 2 * PIECE as u64)]);
}
