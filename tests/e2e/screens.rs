//! What a learner does on each screen, by its test hooks (ui/README.md).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::window::{LIMIT, Window, hook};

/// Fills in the form and waits until it is gone.
pub(crate) async fn sign_in(window: &Window, service: &str, name: &str, password: &str) {
    submit_sign_in(window, service, name, password).await;
    window.until("the sign-in form to go away", "!document.querySelector('[data-testid=sign-in-form]')").await;
}

/// Fills in the form and sends it off.
pub(crate) async fn submit_sign_in(window: &Window, service: &str, name: &str, password: &str) {
    window.see(&hook("sign-in-form")).await;
    window.fill(&hook("sign-in-service"), service).await;
    window.fill(&hook("sign-in-name"), name).await;
    window.fill(&hook("sign-in-password"), password).await;
    window.click(&hook("sign-in-submit")).await;
}

/// The library with its units.
pub(crate) async fn library(window: &Window) {
    window.click(&hook("nav-library")).await;
    window.see(&hook("library-screen")).await;
    window.see(&hook("unit-card")).await;
}

/// Opens the unit whose first lessons are of all kinds: the one with a document.
pub(crate) async fn open_unit_with_every_kind(window: &Window) -> String {
    library(window).await;
    for unit in window.attributes(&hook("unit-card"), "data-unit-id").await {
        open_unit(window, &unit).await;
        window.see(&hook("lesson-row")).await;
        let kinds = window.attributes(&hook("lesson-row"), "data-kind").await;
        if ["audio", "video", "page", "document", "quiz"].iter().all(|kind| kinds.iter().any(|found| found == kind)) {
            return unit;
        }
    }
    panic!("no sample unit has lessons of every kind")
}

/// Opens a unit by its id.
pub(crate) async fn open_unit(window: &Window, unit: &str) {
    window.go(&format!("#/unit/{unit}")).await;
    window.see(&format!("[data-testid=unit-screen][data-unit-id=\"{unit}\"]")).await;
}

/// Opens the lesson of a kind on the unit's screen and returns its id.
pub(crate) async fn open_lesson(window: &Window, unit: &str, kind: &str) -> String {
    open_unit(window, unit).await;
    let row = format!("[data-testid=lesson-row][data-kind={kind}]");
    window.see(&row).await;
    let lesson = window.attribute(&row, "data-lesson-id", |_| true).await;
    window.click(&row).await;
    window.see(&format!("[data-testid=lesson-screen][data-lesson-id=\"{lesson}\"]")).await;
    lesson
}

/// Chooses a quality and starts the download of the unit that is open.
pub(crate) async fn download(window: &Window, quality: &str) {
    window.click(&format!("[data-testid=quality-choice][value={quality}]")).await;
    window.click(&hook("download-start")).await;
    window.attribute(&hook("download-panel"), "data-state", |state| state != "none").await;
}

/// Downloads a unit and waits until it is ready offline.
pub(crate) async fn take_along(window: &Window, unit: &str, quality: &str) {
    open_unit(window, unit).await;
    download(window, quality).await;
    ready_offline(window, unit).await;
}

/// Waits until a unit is ready offline.
pub(crate) async fn ready_offline(window: &Window, unit: &str) {
    open_unit(window, unit).await;
    window
        .attribute_within(LIMIT * 3, &hook("unit-state"), "data-state", |state| {
            assert_ne!(state, "failed", "the download failed");
            state == "ready_offline"
        })
        .await;
}

/// Plays what is open, by the button of the player, and waits until time passes; `element` is the media element.
pub(crate) async fn plays(window: &Window, element: &str) {
    let at = format!("document.querySelector('[data-testid={element}]').currentTime");
    window
        .until("the player to be ready", &format!("document.querySelector('[data-testid={element}]')?.readyState >= 2"))
        .await;
    let before = window.script(&format!("return {at}"), vec![]).await.as_f64().unwrap();
    window.click(&hook("player-play")).await;
    window.attribute(&hook("player-play"), "data-state", |state| state == "playing").await;
    window.until(&format!("{element} to play on from {before} s"), &format!("{at} > {before} + 0.7")).await;
}

/// Drags the scrubber to a place.
pub(crate) async fn seek(window: &Window, element: &str, ms: u32) {
    let script = "const scrubber = document.querySelector('[data-testid=player-scrubber]');
        scrubber.value = arguments[0];
        scrubber.dispatchEvent(new Event('input', { bubbles: true }));
        scrubber.dispatchEvent(new Event('change', { bubbles: true }));";
    window.script(script, vec![json!(ms)]).await;
    let at = format!("document.querySelector('[data-testid={element}]').currentTime * 1000");
    window.until(&format!("{element} to be at {ms} ms"), &format!("{at} >= {ms} - 500 && {at} < {ms} + 15000")).await;
}

/// Stops the player.
///
/// The page moves under the pointer while a transcript follows, so a press can miss; a learner presses again.
pub(crate) async fn pause(window: &Window) {
    let began = Instant::now();
    while window.attributes(&hook("player-play"), "data-state").await != ["paused"] {
        assert!(began.elapsed() < LIMIT, "the player does not stop");
        window.click(&hook("player-play")).await;
        let stopped = window.soon(Duration::from_secs(2), "[data-testid=player-play][data-state=paused]").await;
        println!("the player has stopped: {stopped}");
    }
}

/// The place the lesson screen shows for its lesson, once it is at least `least`.
pub(crate) async fn position(window: &Window, least: u64) -> u64 {
    let enough = |text: &str| text.parse::<u64>().is_ok_and(|position| position >= least);
    window.attribute(&hook("lesson-progress"), "data-position", enough).await.parse().unwrap()
}

/// Marks the lesson as completed.
pub(crate) async fn complete(window: &Window) {
    window.click(&hook("lesson-complete")).await;
    window.attribute(&hook("lesson-progress"), "data-status", |status| status == "completed").await;
}

/// Writes waiting to be sent, by the count that is always in sight.
pub(crate) async fn waiting(window: &Window, wanted: impl Fn(u32) -> bool) -> u32 {
    let right = |text: &str| text.parse().is_ok_and(&wanted);
    window.attribute(&hook("waiting-count"), "data-count", right).await.parse().unwrap()
}

/// Starts the quiz that is open, answers every question rightly, and hands it in.
pub(crate) async fn answer_quiz(window: &Window) {
    window.click(&hook("quiz-start")).await;
    window.attribute(&hook("quiz"), "data-status", |status| status == "running").await;
    let question = |id: &str| format!("[data-testid=quiz-question][data-question-id=\"{id}\"]");
    let choice = |id: &str, value: &str| format!("{} [data-testid=quiz-answer][value=\"{value}\"]", question(id));

    window.click(&choice("load", "suspended")).await;
    answered(window, &question("load")).await;
    for value in ["fast", "cliff", "erosion"] {
        window.click(&choice("outer-bank", value)).await;
    }
    answered(window, &question("outer-bank")).await;
    put_in_order(window, &question("oxbow"), &["grow", "neck", "cut", "lake"]).await;
    answered(window, &question("oxbow")).await;
    for (left, right) in [("v", "down"), ("bar", "inner"), ("delta", "sea")] {
        let select = format!("{} [data-testid=quiz-match][data-left-id=\"{left}\"]", question("shapes"));
        window.choose(&select, right).await;
    }
    answered(window, &question("shapes")).await;
    // Saved when the field is left.
    window.fill(&format!("{} [data-testid=quiz-text]", question("floodplain")), "Floodplain\u{E004}").await;
    answered(window, &question("floodplain")).await;
    window.fill(&format!("{} [data-testid=quiz-number]", question("speed")), "0.4\u{E004}").await;
    answered(window, &question("speed")).await;
}

/// Hands the quiz in.
pub(crate) async fn finish_quiz(window: &Window) {
    window.click(&hook("quiz-finish")).await;
    window.attribute(&hook("quiz"), "data-status", |status| status == "finished").await;
}

async fn answered(window: &Window, question: &str) {
    window.attribute(question, "data-answered", |answered| answered == "true").await;
}

/// Moves options up, as a keyboard would, until they stand in this order.
async fn put_in_order(window: &Window, question: &str, order: &[&str]) {
    let items = format!("{question} [data-testid=quiz-order-item]");
    for (place, option) in order.iter().enumerate() {
        loop {
            let now = window.attributes(&items, "data-option-id").await;
            let at = now.iter().position(|found| found == option).expect("the option is there");
            if at == place {
                break;
            }
            let item = format!("{items}[data-option-id=\"{option}\"]");
            window.click(&format!("{item} [data-testid=quiz-move-up]")).await;
            let moved = format!(
                "[...document.querySelectorAll('{items}')].findIndex(e => e.dataset.optionId === '{option}') === {}",
                at - 1
            );
            window.until(&format!("{option} to move up"), &moved).await;
        }
    }
}
