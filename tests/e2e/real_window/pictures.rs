//! The pictures of the README, in the sizes, themes and languages it shows.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    desk::Desk,
    screens,
    window::{Window, hook},
};

const WIDE: (u32, u32) = (1280, 800);
const NARROW: (u32, u32) = (360, 740);

#[tokio::test]
#[ignore = "writes docs/screenshots; `cargo xtask screenshots` runs it"]
async fn of_the_readme() {
    let folder = PathBuf::from(std::env::var_os("CARREL_PICTURES").expect("CARREL_PICTURES names the folder"));
    let desk = Desk::new("pictures").await;
    let window = desk.open_signed_in().await;
    // That the machine which takes the pictures has no keyring is of no interest to anybody.
    if window.has(&hook("notice-dismiss")).await {
        window.click(&hook("notice-dismiss")).await;
    }
    let unit = screens::open_unit_with_every_kind(&window).await;
    screens::take_along(&window, &unit, "high").await;
    screens::open_lesson(&window, &unit, "video").await;
    screens::plays(&window, "lesson-video").await;
    screens::seek(&window, "lesson-video", 48_000).await;
    screens::pause(&window).await;
    screens::position(&window, 47_500).await;

    for (language, theme, name) in [("en", "light", "light"), ("en", "dark", "dark"), ("ar", "light", "arabic")] {
        choose(&window, language, theme).await;
        for (width, height) in [WIDE, NARROW] {
            window.resize(width, height).await;
            screens::library(&window).await;
            painted(&window).await;
            window.picture(&folder.join(format!("library-{name}-{width}.png"))).await;
        }
    }
    choose(&window, "en", "light").await;
    for (width, height) in [WIDE, NARROW] {
        window.resize(width, height).await;
        screens::open_lesson(&window, &unit, "video").await;
        let film = "document.querySelector('[data-testid=lesson-video]')";
        let there = format!("{film}?.readyState >= 2 && {film}.currentTime > 30 && !{film}.seeking");
        window.until("the film where it was left", &there).await;
        window.see("[data-testid=transcript-cue][aria-current=true]").await;
        painted(&window).await;
        window.picture(&folder.join(format!("video-light-{width}.png"))).await;
        window.click(&hook("nav-sync")).await;
        window.see(&hook("storage-meter")).await;
        window.picture(&folder.join(format!("sync-light-{width}.png"))).await;
    }
}

/// Chooses language and theme, and loads the page anew.
pub(super) async fn choose(window: &Window, language: &str, theme: &str) {
    let settings = window.invoke("settings_get", json!({ "request": null })).await;
    let mut settings = settings["ok"].clone();
    assert!(settings.is_object(), "the settings can be read: {settings}");
    settings["language"] = json!(language);
    settings["theme"] = json!(theme);
    let kept = window.invoke("settings_set", json!({ "request": settings })).await;
    assert!(kept.get("ok").is_some(), "{kept}");
    window.script("location.reload()", vec![]).await;
    window.see("[data-testid=app-shell][data-ready=true]").await;
    window.until("the language", &format!("document.documentElement.lang.startsWith('{language}')")).await;
}

async fn painted(window: &Window) {
    window
        .until(
            "pictures and faces",
            "document.fonts.status === 'loaded' && [...document.images].every(i => i.complete)",
        )
        .await;
}
