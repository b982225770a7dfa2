//! Several lanes, several sources, limits of speed: what is gained, and what is never paid for it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't be set up is to fail")]

mod rig;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_testbed::{
    http_origin::{Act, Meeting, Origin, sent_twice},
    relay::{Network, Outages, Relay, Weather},
};
use carrel_transfer::{
    Clock as _, Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FixedSources, HttpClient,
    HttpOptions, NoJournal, ResolveReason, Source, SystemClock, Urgency,
};
use rig::{MIB, Rig, ScriptedSources, content, manifest_of};
use tokio::time::timeout;

/// As an app has it: nothing is shortened.
fn fetcher(connections: usize) -> Fetcher {
    let mut config = FetcherConfig::default();
    config.connections = connections;
    Fetcher::new(HttpClient::new(&HttpOptions::default()).unwrap(), config)
}

async fn fetch(fetcher: &Fetcher, rig: &Rig, urls: &[String]) -> Result<Fetched, FetchError> {
    let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
    let sources = FixedSources(urls.iter().map(|url| url.parse().unwrap()).collect());
    let fetching = fetcher.fetch(request, Arc::new(sources), Arc::new(rig.journal()), rig.control.clone());
    let fetched = timeout(Duration::from_secs(60), fetching).await.expect("a fetch must end");
    if fetched.is_ok() {
        rig.assert_file();
    }
    fetched
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_lanes_where_each_connection_is_limited() {
    let rig = Rig::new(64 * MIB + 5).await;
    rig.origin.throttle(8 * MIB);
    let fetched = fetch(&fetcher(4), &rig, &[rig.origin.url("/blob")]).await.unwrap();
    assert_eq!(fetched.retries, 0, "nothing went wrong");
    let connections = rig.origin.connections();
    assert!((2..=8).contains(&connections), "{connections} connections");
    let twice = sent_twice(&rig.origin.served());
    assert!(twice <= MIB, "{twice} bytes twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lane_is_enough_where_the_line_is_the_limit() {
    let rig = Rig::new(24 * MIB).await;
    let relay = Relay::start(rig.origin.address()).await.unwrap();
    relay.limit(Some(4 * MIB));
    fetch(&fetcher(4), &rig, &[relay.url()]).await.unwrap();
    let connections = relay.tally().connections;
    assert!(connections <= 4, "one, one that was tried, and what both had before them: {connections}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_second_connection_costs_nothing() {
    for refuse in [true, false] {
        let rig = Rig::new(40 * MIB).await;
        rig.origin.throttle(10 * MIB);
        rig.origin.meet([Meeting::Welcome]);
        rig.origin.meet_always(Meeting::Reset);
        let mut progress = rig.control.progress();
        let close = async {
            progress.wait_for(|progress| progress.bytes_verified >= MIB).await.unwrap();
            if refuse {
                rig.origin.refuse_connections(true);
            }
        };
        let urls = [rig.origin.url("/blob")];
        let fetcher = fetcher(4);
        let (fetched, ()) = tokio::join!(fetch(&fetcher, &rig, &urls), close);
        assert_eq!(fetched.unwrap().bytes_fetched, 40 * MIB);
        assert_eq!(rig.ranges(), [(0, 40 * MIB - 1)], "one request brought it all");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_hangs_holds_nothing_up() {
    let rig = Rig::new(24 * MIB).await;
    // The first connection dies silently in the middle; others are well.
    rig.origin.meet([Meeting::Scripted(vec![Act::StallAfter(5 * MIB + 77)])]);
    let begun = Instant::now();
    let fetched = fetch(&fetcher(4), &rig, &[rig.origin.url("/blob")]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "before anybody calls it a stall");
    assert!(fetched.bytes_fetched <= 25 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_that_is_never_answered_holds_nothing_up() {
    let rig = Rig::new(48 * MIB).await;
    rig.origin.throttle(8 * MIB);
    rig.origin.meet([Meeting::Welcome]);
    rig.origin.meet_always(Meeting::Mute);
    let begun = Instant::now();
    fetch(&fetcher(4), &rig, &[rig.origin.url("/blob")]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(25), "before anybody calls it a stall");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_source_whose_address_has_ended_is_asked_with_a_new_one() {
    let rig = Rig::new(MIB).await;
    let honest = Origin::start(rig.content.clone()).await.unwrap();
    // The first is slow to give what is wrong; by then the address of the other one has ended.
    rig.origin.throttle(MIB / 2);
    rig.origin.always(Act::Changed(vec![0]));
    let other = Source::new(honest.url("/blob").parse().unwrap());
    let ending = Source { expires_at: Some(SystemClock::default().now().plus_ms(1000)), ..other.clone() };
    let sources =
        ScriptedSources::new(vec![Ok(vec![rig.source("/blob"), ending]), Ok(vec![rig.source("/blob"), other])]);
    let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
    let fetcher = fetcher(4);
    let fetching = fetcher.fetch(request, Arc::clone(&sources) as _, Arc::new(NoJournal), Control::new());
    let fetched = timeout(Duration::from_secs(20), fetching).await.expect("a fetch must end").unwrap();
    rig.assert_file();
    assert_eq!(*sources.reasons.lock().unwrap(), [ResolveReason::First, ResolveReason::Expired]);
    assert_eq!(fetched.bytes_fetched, 2 * MIB, "once from each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_network_is_used_at_once_by_all_fetches() {
    let fetcher = fetcher(4);
    let mut rigs = Vec::new();
    for size in [MIB / 3, 5 * MIB] {
        let rig = Rig::new(size).await;
        rig.origin.script([Act::StallAfter(1000)]);
        rigs.push(rig);
    }
    let [small, big] = rigs.as_slice() else { panic!("two") };
    let (small_url, big_url) = ([small.origin.url("/")], [big.origin.url("/")]);
    let nudge = async {
        let mut waited = 0;
        while small.origin.body_bytes() < 1000 || big.origin.body_bytes() < 1000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 4000);
        }
        let begun = Instant::now();
        fetcher.reconnect();
        begun
    };
    let (one, other, begun) = tokio::join!(fetch(&fetcher, small, &small_url), fetch(&fetcher, big, &big_url), nudge);
    assert!(begun.elapsed() < Duration::from_secs(15), "nobody waited for a stall to be noticed");
    one.unwrap();
    other.unwrap();
}

#[tokio::test]
async fn a_liar_spoils_nothing_that_others_gave() {
    let rig = Rig::new(24 * MIB).await;
    let honest = Origin::start(rig.content.clone()).await.unwrap();
    rig.origin.always(Act::Changed((3..24).map(|piece| piece * MIB + 9).collect()));
    let fetched = fetch(&fetcher(4), &rig, &[rig.origin.url("/blob"), honest.url("/blob")]).await.unwrap();
    let asked_again: u64 = honest.served().iter().map(|served| served.end - served.first).sum();
    assert!(asked_again <= 21 * MIB, "what the liar gave right stays: {asked_again}");
    assert!(rig.origin.seen().len() <= 2, "it isn't asked for long");
    assert!(fetched.retries >= 2);
}

#[tokio::test]
async fn two_liars_together_have_a_right_blob() {
    let rig = Rig::new(6 * MIB).await;
    let other = Origin::start(rig.content.clone()).await.unwrap();
    rig.origin.always(Act::Changed(vec![MIB, 2 * MIB, 3 * MIB]));
    other.always(Act::Changed(vec![0, 4 * MIB, 5 * MIB]));
    fetch(&fetcher(4), &rig, &[rig.origin.url("/blob"), other.url("/blob")]).await.unwrap();
}

#[tokio::test]
async fn an_altered_byte_in_the_only_source_is_told_after_few_tries() {
    for size in [MIB / 2, 40 * MIB] {
        let rig = Rig::new(size).await;
        rig.origin.always(Act::Changed(vec![size - 5]));
        let fetched = fetch(&fetcher(4), &rig, &[rig.origin.url("/blob")]).await;
        let last = size.div_ceil(MIB) - 1;
        assert!(matches!(fetched, Err(FetchError::Corrupt { piece }) if piece == last), "{fetched:?}");
        let last_again = rig.ranges().iter().filter(|(_, to)| *to == size - 1).count();
        assert!(last_again <= 4, "{last_again} times");
        assert!(rig.origin.body_bytes() <= size + 4 * MIB);
    }
}

/// Bytes per second over everything after the first half second.
async fn speed_under(set: impl FnOnce(&Fetcher, &Control)) -> f64 {
    let rig = Rig::new(12 * MIB).await;
    let fetcher = fetcher(4);
    set(&fetcher, &rig.control);
    let begun = Instant::now();
    fetch(&fetcher, &rig, &[rig.origin.url("/blob")]).await.unwrap();
    12.0 * 1_048_576.0 / begun.elapsed().as_secs_f64()
}

#[tokio::test]
async fn limits_of_speed_are_kept() {
    let limit = 4_000_000;
    for speed in [
        speed_under(|fetcher, _| fetcher.set_rate(Some(limit))).await,
        speed_under(|_, control| control.set_rate(Some(limit))).await,
    ] {
        assert!(speed <= 4_000_000.0 * 1.1, "{speed}");
        assert!(speed >= 4_000_000.0 * 0.6, "{speed}");
    }
}

#[tokio::test]
async fn a_limit_may_change_while_bytes_flow() {
    let rig = Rig::new(12 * MIB).await;
    let fetcher = fetcher(4);
    rig.control.set_rate(Some(1000));
    let mut progress = rig.control.progress();
    let lift = async {
        progress.wait_for(|progress| progress.bytes_fetched > 0).await.unwrap();
        rig.control.set_rate(None);
    };
    let urls = [rig.origin.url("/blob")];
    let (fetched, ()) = tokio::join!(fetch(&fetcher, &rig, &urls), lift);
    fetched.unwrap();
}

#[tokio::test]
async fn fetches_share_the_places_at_a_host_and_the_urgent_come_first() {
    let rig = Rig::new(1).await;
    let fetcher = fetcher(1);
    let folder = tempfile::tempdir().unwrap();
    let blob = content(6 * MIB, 3);
    let manifest = Arc::new(manifest_of(&blob));
    let origin = Origin::start(blob).await.unwrap();
    origin.throttle(8 * MIB);
    let ends = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (name, urgency) in [("asked", Urgency::Asked), ("refresh", Urgency::Refresh), ("playing", Urgency::Playing)] {
        let mut request = FetchRequest::new(Arc::clone(&manifest), folder.path().join(name));
        request.urgency = urgency;
        let (fetcher, ends) = (fetcher.clone(), Arc::clone(&ends));
        let sources = Arc::new(FixedSources(vec![origin.url(&format!("/{name}")).parse().unwrap()]));
        tasks.push(tokio::spawn(async move {
            fetcher.fetch(request, sources, Arc::new(NoJournal), Control::new()).await.unwrap();
            ends.lock().unwrap().push(name);
        }));
        // The first has its place before the others come.
        let mut waited = 0;
        while origin.seen().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            waited += 1;
            assert!(waited < 4000);
        }
    }
    for task in tasks {
        timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    }
    assert_eq!(*ends.lock().unwrap(), ["playing", "asked", "refresh"], "the one under way makes room as well");
    drop(rig);
}

/// Must-show 8 in small: the time is that of the bytes and the outages, and little more.
async fn survives_weather(size: u64, rate: u64, seed: u64) -> f64 {
    let rig = Rig::new(size).await;
    let outages =
        Outages { every: Duration::from_secs(8), shortest: Duration::from_secs(1), longest: Duration::from_secs(3) };
    let weather = Weather { seed, loss: 0.2, loss_per_second: 0.2, outages: Some(outages) };
    let network = Network {
        round_trip: Duration::from_millis(50),
        rate: Some(rate),
        weather: Some(weather),
        ..Network::default()
    };
    let relay = Relay::through(rig.origin.address(), network).await.unwrap();
    let request = FetchRequest::new(Arc::clone(&rig.manifest), rig.path());
    let sources = Arc::new(FixedSources(vec![relay.url().parse().unwrap()]));
    let begun = Instant::now();
    let fetched = fetcher(4).fetch(request, sources, Arc::new(rig.journal()), rig.control.clone()).await.unwrap();
    let took = begun.elapsed();
    rig.assert_file();
    let out: Duration = relay
        .outages()
        .iter()
        .filter(|outage| outage.at < took)
        .map(|outage| outage.length.min(took - outage.at))
        .sum();
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let ideal = size as f64 / rate as f64 + out.as_secs_f64();
    let ratio = took.as_secs_f64() / ideal;
    eprintln!(
        "seed {seed}: {took:?}, {out:?} of it without a line; {ratio:.3} of the ideal; {} retries, {} bytes extra, {:?}",
        fetched.retries,
        fetched.bytes_fetched - size,
        relay.tally()
    );
    ratio
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_weather_is_survived() {
    // How well is measured on a quiet machine, by the test below.
    survives_weather(3 * MIB, 625_000, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and wants a machine of its own: 20 MiB at 5 Mbit/s, five times"]
async fn bad_weather_costs_little_more_than_itself() {
    for seed in 1..=5 {
        let ratio = survives_weather(20 * MIB, 625_000, seed).await;
        assert!(ratio <= 1.15, "seed {seed}: {ratio}");
    }
}
