//! Dead letters in the window (requirements O3, T4): what the service refuses is shown with its reason, and stays until the
//! learner sends it again or gives it up. "Sync now" answers, whatever the network.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use super::pictures;
use crate::{
    desk::{Desk, test_results},
    screens,
    window::{LIMIT, Window, hook},
};

const REFUSED: &str = "[data-testid=waiting-row][data-state=refused]";

#[tokio::test]
async fn what_the_service_refuses_stays_in_the_window_until_the_learner_decides() {
    let mut desk = Desk::new("outbox").await;
    let window = desk.open_signed_in().await;
    let unit = screens::open_unit_with_every_kind(&window).await;
    // What is not on the device can't be opened, and so not completed, while the service is away.
    screens::take_along(&window, &unit, "low").await;
    screens::waiting(&window, |count| count == 0).await;
    // The service is away, the enrolment has ended, and the learner knows nothing of either.
    desk.service_goes_down().await;
    desk.service.end_enrolment("rivers");
    window.attribute_within(LIMIT * 2, &hook("network-badge"), "data-state", |state| state != "online").await;
    for kind in ["page", "document"] {
        screens::open_lesson(&window, &unit, kind).await;
        screens::complete(&window).await;
    }
    sync_screen(&window).await;
    window.click(&hook("sync-now")).await;
    window.attribute(&hook("sync-answer"), "data-outcome", |outcome| outcome == "will_send_when_online").await;
    let waiting = window.attributes(&hook("waiting-row"), "data-op").await;
    assert!(waiting.iter().filter(|op| *op == "progress.completed").count() >= 2, "{waiting:?}");
    assert!(!window.has(REFUSED).await, "nobody has refused anything yet");

    desk.service_comes_back().await;
    window.see(REFUSED).await;
    screens::waiting(&window, |count| count == 0).await;
    window.attribute_within(LIMIT * 2, &hook("network-badge"), "data-state", |state| state == "online").await;
    let refused = refused(&window).await;
    assert!(refused.len() >= 2, "both are refused: {refused:?}");
    let said = window.script(&format!("return document.querySelector('{REFUSED}').innerText"), vec![]).await;
    let said = said.as_str().unwrap().to_owned();
    assert!(said.contains("enrol"), "the reason is said: {said}");
    take_pictures(&window).await;

    // Sent again it is refused again, and still here.
    window.click(&format!("[data-testid=waiting-row][data-seq='{}'] [data-testid=outbox-retry]", refused[0])).await;
    let asked = format!("SELECT count(*) FROM sync_log WHERE op_seq = {}", refused[0]);
    let began = Instant::now();
    while desk.service.count(&asked).await < 2 {
        assert!(began.elapsed() < LIMIT, "it is not sent again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    window.see(&format!("[data-testid=waiting-row][data-seq='{}'][data-state=refused]", refused[0])).await;
    window.kill().await;
    let window = desk.open_app().await;
    sync_screen(&window).await;
    let all = format!("document.querySelectorAll('{REFUSED}').length === {}", refused.len());
    window.until("all that was refused to be listed", &all).await;
    assert_eq!(self::refused(&window).await, refused, "a start later they are still here");

    // One is given up, and says first what that means.
    window.click(&format!("[data-testid=waiting-row][data-seq='{}'] [data-testid=outbox-discard]", refused[1])).await;
    window.click(&hook("outbox-discard-confirm")).await;
    let gone = format!("!document.querySelector(\"[data-testid=waiting-row][data-seq='{}']\")", refused[1]);
    window.until("the one that was given up to go", &gone).await;

    // Enrolled again, and sent again: it arrives.
    desk.service.enrol("rivers");
    window.click(&format!("[data-testid=waiting-row][data-seq='{}'] [data-testid=outbox-retry]", refused[0])).await;
    let gone = format!("!document.querySelector(\"[data-testid=waiting-row][data-seq='{}']\")", refused[0]);
    window.until("the one that was sent again to go", &gone).await;
    let arrived = format!("SELECT count(*) FROM op_log WHERE op_seq = {} AND outcome = 'applied'", refused[0]);
    assert_eq!(desk.service.count(&arrived).await, 1, "it is at the service");
    let given_up = format!("SELECT count(*) FROM op_log WHERE op_seq = {} AND outcome = 'applied'", refused[1]);
    assert_eq!(desk.service.count(&given_up).await, 0, "and the other is not");
    window.click(&hook("sync-now")).await;
    window.attribute(&hook("sync-answer"), "data-outcome", |outcome| outcome == "started").await;
}

async fn sync_screen(window: &Window) {
    window.click(&hook("nav-sync")).await;
    window.see(&hook("sync-screen")).await;
    window.see(&hook("waiting-row")).await;
}

async fn refused(window: &Window) -> Vec<String> {
    window.attributes(REFUSED, "data-seq").await
}

/// The list in all sizes, themes and languages, for whoever wants to look.
async fn take_pictures(window: &Window) {
    let Some(folder) = std::env::var_os("CARREL_PICTURES").map(PathBuf::from) else { return };
    let folder = if folder.is_absolute() { folder } else { test_results().join(folder) };
    for (language, theme, name) in [("en", "light", "light"), ("en", "dark", "dark"), ("ar", "light", "arabic")] {
        pictures::choose(window, language, theme).await;
        for width in [1280, 768, 360] {
            window.resize(width, 800).await;
            sync_screen(window).await;
            window
                .script(
                    "document.querySelector('[data-testid=waiting-row]').scrollIntoView({ block: 'center' })",
                    vec![],
                )
                .await;
            window.picture(&folder.join(format!("outbox-{name}-{width}.png"))).await;
        }
    }
    pictures::choose(window, "en", "light").await;
    window.resize(1280, 800).await;
    sync_screen(window).await;
}
