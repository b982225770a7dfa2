//! The service that signs addresses fails (fault 13): at the start and in the middle of a file, before and after runs that
//! failed. Each ends as it must, and what was verified stays.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{sync::Arc, time::Duration};

use carrel_model::BlobHash;
use carrel_testbed::http_origin::Act;
use carrel_transfer::{
    FetchError, FetchRequest, Fetcher, FetcherConfig, HttpClient, HttpOptions, Journal as _, ResolveReason, Source,
    SourceError, Sources,
};
use rig::{MIB, Rig, ScriptedSources};

const SIZE: u64 = 5 * MIB + 5;

type Answer = Result<Vec<Source>, SourceError>;
type Expected = fn(&FetchError) -> bool;

fn busy(seconds: Option<u64>) -> Answer {
    Err(SourceError::Unavailable { retry_after: seconds.map(Duration::from_secs), cause: "busy".to_owned() })
}

/// What the service says instead of an address, for ever, and how the fetch ends.
fn refusals() -> [(&'static str, Answer, Expected); 6] {
    [
        ("401", Err(SourceError::NotAuthorised), |error| matches!(error, FetchError::NotAuthorised)),
        ("404", Err(SourceError::Gone), |error| matches!(error, FetchError::Gone)),
        ("nothing", Ok(Vec::new()), |error| matches!(error, FetchError::Gone)),
        ("rubbish", Err(SourceError::Failed("rubbish".to_owned())), |error| {
            matches!(error, FetchError::Sources(SourceError::Failed(_)))
        }),
        ("429", busy(Some(20)), |error| error.is_retryable() && error.retry_after() == Some(Duration::from_secs(20))),
        ("500", busy(None), |error| matches!(error, FetchError::Sources(SourceError::Unavailable { .. }))),
    ]
}

/// A rig of which a run before has left some pieces, or nothing.
async fn rig(begun: bool) -> Rig {
    let rig = Rig::new(SIZE).await;
    if begun {
        rig.origin.script([Act::CutAfter(2 * MIB + 500)]);
        rig.origin.always(Act::status(404));
        assert!(matches!(rig.fetch().await, Err(FetchError::Gone)));
        rig.origin.recover();
    }
    rig
}

async fn known_bytes(rig: &Rig) -> u64 {
    let known = rig.journal().load(rig.manifest.hash(), 6).await.unwrap();
    known.map_or(0, |set| set.iter().map(|piece| rig.manifest.piece_range(piece).1).sum())
}

#[tokio::test]
async fn a_service_that_refuses_at_the_start_ends_the_fetch() {
    for begun in [false, true] {
        for (name, answer, expected) in refusals() {
            let rig = rig(begun).await;
            let known = known_bytes(&rig).await;
            let asked = rig.origin.seen().len();
            let error = rig.fetch_from(ScriptedSources::new(vec![answer])).await.unwrap_err();
            assert!(expected(&error), "{name}, begun {begun}: {error:?}");
            assert_eq!(rig.origin.seen().len(), asked, "{name}: without an address nobody is asked");
            assert_eq!(rig.survives().await.bytes_fetched, SIZE - known);
        }
    }
}

#[tokio::test]
async fn a_service_that_refuses_in_the_middle_ends_the_fetch_and_costs_nothing() {
    for begun in [false, true] {
        for (name, answer, expected) in refusals() {
            let rig = rig(begun).await;
            rig.origin.script([Act::CutAfter(2 * MIB + 77)]);
            rig.origin.always(Act::expired());
            let sources = ScriptedSources::new(vec![Ok(vec![rig.source("/signed")]), answer]);
            let error = rig.fetch_from(sources.clone()).await.unwrap_err();
            assert!(expected(&error), "{name}, begun {begun}: {error:?}");
            assert_eq!(sources.reasons.lock().unwrap()[..2], [ResolveReason::First, ResolveReason::Expired], "{name}");
            let known = known_bytes(&rig).await;
            assert!(known >= 2 * MIB, "{name}: what was verified is recorded");
            rig.origin.recover();
            assert_eq!(rig.survives().await.bytes_fetched, SIZE - known);
        }
    }
}

#[tokio::test]
async fn a_service_that_fails_in_the_middle_for_a_while_is_waited_for() {
    for begun in [false, true] {
        for answer in [busy(Some(7)), busy(None)] {
            let rig = rig(begun).await;
            let known = known_bytes(&rig).await;
            rig.origin.script([Act::CutAfter(2 * MIB + 77), Act::expired_token()]);
            let signed = || Ok(vec![rig.source("/signed")]);
            let sources = ScriptedSources::new(vec![signed(), answer.clone(), answer, signed()]);
            let fetched = rig.fetch_from(sources).await.unwrap();
            rig.assert_file();
            assert_eq!(fetched.bytes_fetched, SIZE - known, "nothing is fetched twice");
        }
    }
}

/// Never answers.
struct Mute;

#[async_trait::async_trait]
impl Sources for Mute {
    async fn resolve(&self, _: BlobHash, _: ResolveReason) -> Result<Vec<Source>, SourceError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_service_that_never_answers_is_given_up() {
    for begun in [false, true] {
        let rig = rig(begun).await;
        let known = known_bytes(&rig).await;
        let mut config = FetcherConfig::default();
        config.resolve_timeout = Duration::from_millis(50);
        config.attempts = 3;
        let clock: Arc<rig::QuickClock> = Arc::default();
        config.clock = clock;
        let fetcher = Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), config);
        let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
        let fetching = fetcher.fetch(request, Arc::new(Mute), Arc::new(rig.journal()), rig.control.clone());
        let error = tokio::time::timeout(Duration::from_secs(20), fetching).await.unwrap().unwrap_err();
        assert!(matches!(error, FetchError::Sources(SourceError::Unavailable { .. })), "{error:?}");
        assert_eq!(rig.survives().await.bytes_fetched, SIZE - known);
    }
}
