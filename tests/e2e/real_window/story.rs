//! The story the product is for: take a unit along, learn without a network, come back, and everything arrives, once.

use std::{collections::BTreeSet, time::Duration};

use carrel_testbed::relay::Passed;
use serde_json::json;

use crate::{
    desk::Desk,
    screens,
    window::{LIMIT, Window, hook},
};

const PIECE: u64 = 1 << 20;
/// What the relay has handed to the operating system and the app hasn't read yet when it is killed.
const ON_THE_WIRE: u64 = 256 * 1024;
/// Slow enough that a kill hits in the middle of a film of six pieces, fast enough for a test.
const SLOW: u64 = 1_000_000;
const SEEK_MS: u32 = 42_000;

#[tokio::test]
async fn a_unit_is_taken_along_and_everything_arrives_once() {
    let mut desk = Desk::new("story").await;
    let window = desk.open_signed_in().await;
    let unit = screens::open_unit_with_every_kind(&window).await;

    let window = download_with_a_kill_in_the_middle(&desk, window, &unit).await;

    desk.service_goes_down().await;
    window.attribute_within(LIMIT * 2, &hook("network-badge"), "data-state", is_away).await;
    let film = plays_the_film(&window, &unit).await;
    listens(&window, &unit).await;
    reads(&window, &unit).await;
    screens::open_lesson(&window, &unit, "quiz").await;
    screens::answer_quiz(&window).await;
    screens::finish_quiz(&window).await;
    window.attribute(&hook("quiz-receipt"), "data-sent", |sent| sent == "false").await;

    let waiting = waiting_writes(&window).await;
    assert!(waiting.len() >= 10, "positions, completions, six answers and a session wait: {waiting:?}");
    window.kill().await;

    let window = desk.open_app().await;
    assert!(!window.has(&hook("sign-in-form")).await, "still signed in");
    assert_eq!(waiting_writes(&window).await, waiting, "what waited before the kill waits after it");
    everything_is_still_there(&window, &unit, film).await;
    let waiting = waiting_writes(&window).await;

    desk.service_comes_back().await;
    window.attribute_within(LIMIT * 4, &hook("waiting-count"), "data-count", |count| count == "0").await;
    window.attribute(&hook("network-badge"), "data-state", |state| state == "online").await;
    the_service_has_it_once(&desk, &waiting, film).await;
}

/// Connections that one download may open.
const MOST_LANES: usize = 4;

fn is_away(state: &str) -> bool {
    matches!(state, "limited" | "offline")
}

/// Downloads the unit; kills the app when some pieces of the film are there; opens it again and lets it go on.
async fn download_with_a_kill_in_the_middle(desk: &Desk, window: Window, unit: &str) -> Window {
    let (film, film_bytes) = desk.service.film().await;
    let is_film = |passed: &Passed| passed.target.contains(&film) && !passed.target.contains("/pieces");

    screens::open_unit(&window, unit).await;
    window.attribute(&hook("download-size"), "data-bytes", |bytes| bytes != "0").await;
    desk.relay.limit(Some(SLOW));
    screens::download(&window, "high").await;
    window.click(&hook("nav-downloads")).await;
    let row = format!("[data-testid=download-row][data-unit-id=\"{unit}\"]");
    window.attribute(&row, "data-state", |state| state == "downloading").await;
    window.attribute(&hook("row-progress"), "aria-valuenow", |now| now.parse::<f64>().is_ok_and(|now| now > 0.0)).await;
    let before = bytes_reach(desk, film_bytes / 2, is_film).await;
    assert!(before < film_bytes, "the kill is in mid-download");
    // Each connection has a piece in the air.
    let lanes = desk.relay.passed().into_iter().filter(is_film).count().clamp(1, MOST_LANES) as u64;
    window.kill().await;
    // What the relay still holds for the dead app isn't handed to anybody.
    desk.relay.cut();
    desk.relay.limit(None);
    let window = desk.open_app().await;
    screens::ready_offline(&window, unit).await;
    let fetched = desk.relay.bytes_of(is_film);
    let again = fetched.saturating_sub(film_bytes);
    assert!(fetched >= film_bytes, "the film went through the relay: {fetched} of {film_bytes}");
    let asked: Vec<_> = desk.relay.passed().into_iter().filter(is_film).map(|p| (p.range, p.body_bytes)).collect();
    assert!(
        again <= lanes * (PIECE + ON_THE_WIRE),
        "{again} bytes of the film were fetched twice by {lanes} connections; {before} came before the kill: {asked:?}"
    );
    window
}

async fn bytes_reach(desk: &Desk, enough: u64, select: impl Fn(&Passed) -> bool) -> u64 {
    let wait = async {
        loop {
            let bytes = desk.relay.bytes_of(&select);
            if bytes >= enough {
                return bytes;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let got = tokio::time::timeout(LIMIT, wait).await;
    got.unwrap_or_else(|_| {
        panic!("{} of {enough} bytes came; {:#?}", desk.relay.bytes_of(&select), desk.relay.passed())
    })
}

/// Plays, seeks, and returns the place where it was stopped.
async fn plays_the_film(window: &Window, unit: &str) -> u64 {
    let lesson = screens::open_lesson(window, unit, "video").await;
    let screen = format!("[data-testid=lesson-screen][data-lesson-id=\"{lesson}\"]");
    window.attribute(&screen, "data-source", |source| source == "local").await;
    screens::plays(window, "lesson-video").await;
    screens::seek(window, "lesson-video", SEEK_MS).await;
    let video = "document.querySelector('[data-testid=lesson-video]')";
    window.until("the film to go on after seeking", &format!("{video}.currentTime > {SEEK_MS} / 1000 + 0.5")).await;
    window.until("the film to have a picture", &format!("{video}.videoWidth > 0")).await;
    screens::pause(window).await;
    let stopped = window.script(&format!("return Math.floor({video}.currentTime * 1000)"), vec![]).await;
    let position = screens::position(window, stopped.as_u64().unwrap() - 50).await;
    screens::complete(window).await;
    position
}

async fn listens(window: &Window, unit: &str) {
    screens::open_lesson(window, unit, "audio").await;
    screens::plays(window, "audio-element").await;
    screens::seek(window, "audio-element", 12_000).await;
    let cue = "[data-testid=transcript-cue][aria-current=true]";
    window.attribute(cue, "data-start", |start| start.parse::<u64>().is_ok_and(|start| start > 0)).await;
    screens::pause(window).await;
    screens::position(window, 11_500).await;
}

async fn reads(window: &Window, unit: &str) {
    screens::open_lesson(window, unit, "page").await;
    window.attribute(&hook("lesson-page"), "data-loaded", |loaded| loaded == "true").await;
    screens::complete(window).await;

    screens::open_lesson(window, unit, "document").await;
    window.attribute(&hook("lesson-document"), "data-pages", |pages| pages == "3").await;
    window.attribute(&hook("pdf-page"), "data-rendered", |page| page == "1").await;
    window.click(&hook("pdf-next")).await;
    window.attribute(&hook("pdf-page"), "data-rendered", |page| page == "2").await;
    let ink = "return (() => { const canvas = document.querySelector('[data-testid=pdf-page]');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let dark = 0; for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 0 && pixels[i] < 100) dark++;
        return dark; })()";
    assert!(window.script(ink, vec![]).await.as_u64().unwrap() > 200, "the page has ink on it");
    screens::position(window, 2).await;
}

/// Number, kind and lesson of every write that waits.
async fn waiting_writes(window: &Window) -> BTreeSet<(i64, String)> {
    screens::waiting(window, |count| count > 0).await;
    window.click(&hook("nav-sync")).await;
    let listed = "document.querySelectorAll('[data-testid=waiting-row]').length";
    let count = "Number(document.querySelector('[data-testid=waiting-count]').dataset.count)";
    window.until("every waiting write to be listed", &format!("{count} > 0 && {listed} === {count}")).await;
    let seqs = window.attributes(&hook("waiting-row"), "data-seq").await;
    let kinds = window.attributes(&hook("waiting-row"), "data-op").await;
    seqs.iter().map(|seq| seq.parse().unwrap()).zip(kinds).collect()
}

async fn everything_is_still_there(window: &Window, unit: &str, film: u64) {
    window.attribute(&hook("network-badge"), "data-state", is_away).await;
    screens::open_lesson(window, unit, "quiz").await;
    window.attribute(&hook("quiz"), "data-status", |status| status == "finished").await;
    window.attribute(&hook("quiz-receipt"), "data-sent", |sent| sent == "false").await;
    let score = window.attribute(&hook("quiz-score"), "data-points", |_| true).await;
    let best = window.attribute(&hook("quiz-score"), "data-max-points", |_| true).await;
    assert_eq!(score, best, "every answer was right and is still there");

    screens::open_lesson(window, unit, "video").await;
    window.attribute(&hook("lesson-progress"), "data-status", |status| status == "completed").await;
    assert_eq!(screens::position(window, 1).await, film, "the place in the film");
    screens::open_lesson(window, unit, "document").await;
    window.attribute(&hook("lesson-document"), "data-page", |page| page == "2").await;
}

/// Compares what the window said was waiting with what the service's database holds.
async fn the_service_has_it_once(desk: &Desk, waiting: &BTreeSet<(i64, String)>, film: u64) {
    let log = desk.service.op_log().await;
    for (seq, kind) in waiting {
        let found: Vec<_> = log.iter().filter(|op| op.seq == *seq).collect();
        assert_eq!(found.len(), 1, "op {seq} is there once: {found:?}");
        assert_eq!(&found[0].kind, kind);
    }
    let refused: Vec<_> = log.iter().filter(|op| !matches!(op.outcome.as_str(), "applied" | "superseded")).collect();
    assert!(refused.is_empty(), "nothing is refused or applied twice: {refused:?}");
    let judged = desk.service.count("SELECT count(*) FROM sync_log WHERE outcome IN ('applied', 'superseded')").await;
    assert_eq!(judged, i64::try_from(log.len()).unwrap(), "each op was judged once");

    let answers = desk.service.answers().await;
    let recorded = log.iter().filter(|op| op.kind == "answer.recorded").count();
    assert_eq!(answers.iter().map(|(_, _, times)| *times).sum::<i64>(), i64::try_from(recorded).unwrap());
    let questions: Vec<_> = answers.iter().map(|(question, ..)| question.as_str()).collect();
    assert_eq!(questions, ["floodplain", "load", "outer-bank", "oxbow", "shapes", "speed"]);
    let response = |question: &str| answers.iter().find(|(id, ..)| id == question).unwrap().1.clone();
    assert!(response("oxbow").to_string().contains(&json!(["grow", "neck", "cut", "lake"]).to_string()), "{answers:?}");
    assert!(response("load").to_string().contains("suspended"), "{answers:?}");

    assert_eq!(desk.service.count("SELECT count(*) FROM sessions").await, 1);
    assert_eq!(desk.service.count("SELECT count(*) FROM sessions WHERE status = 'finished' AND answered = 6").await, 1);
    let points = desk.service.count("SELECT max_points - points FROM sessions").await;
    assert_eq!(points, 0, "all points");

    let progress = desk.service.progress().await;
    let of = |key: &str| {
        progress.iter().find(|(found, ..)| found.ends_with(key)).unwrap_or_else(|| panic!("{key}: {progress:?}"))
    };
    assert_eq!(of("a-meander-grows").1, "completed");
    assert_eq!(of("a-meander-grows").3, i64::try_from(film).unwrap(), "the place in the film");
    assert_eq!(of("reading-the-land").1, "completed");
    assert_eq!(of("field-notes").3, 2, "the page of the document");
    assert!(of("what-a-river-carries").3 >= 11_500, "the place in the lecture");
}
