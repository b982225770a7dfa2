//! A walk through every screen, with a picture of each: what `cargo xtask demo` shows where there is no display.

use std::path::PathBuf;

use crate::{
    desk::{Desk, test_results},
    screens,
    window::{Window, hook},
};

#[tokio::test]
async fn every_screen_shows() {
    let desk = Desk::new("tour").await;
    let pictures = Pictures::new();
    let window = desk.open_app().await;
    window.see(&hook("sign-in-form")).await;
    pictures.take(&window, "sign-in").await;
    drop(window);

    let window = desk.open_signed_in().await;
    window.until("the covers to be painted", "[...document.images].every(image => image.complete)").await;
    pictures.take(&window, "library").await;
    let unit = screens::open_unit_with_every_kind(&window).await;
    pictures.take(&window, "unit").await;
    desk.relay.limit(Some(1_000_000));
    screens::download(&window, "high").await;
    window.click(&hook("nav-downloads")).await;
    window.see(&hook("row-progress")).await;
    pictures.take(&window, "downloads").await;
    desk.relay.limit(None);
    screens::ready_offline(&window, &unit).await;
    pictures.take(&window, "unit-ready").await;

    for (kind, element) in [("video", "lesson-video"), ("audio", "audio-element")] {
        screens::open_lesson(&window, &unit, kind).await;
        screens::plays(&window, element).await;
        screens::seek(&window, element, 30_000).await;
        screens::pause(&window).await;
        pictures.take(&window, kind).await;
    }
    screens::open_lesson(&window, &unit, "page").await;
    window.attribute(&hook("lesson-page"), "data-loaded", |loaded| loaded == "true").await;
    pictures.take(&window, "page").await;
    screens::open_lesson(&window, &unit, "document").await;
    window.attribute(&hook("pdf-page"), "data-rendered", |page| page == "1").await;
    pictures.take(&window, "document").await;
    screens::open_lesson(&window, &unit, "quiz").await;
    screens::answer_quiz(&window).await;
    pictures.take(&window, "quiz").await;
    screens::finish_quiz(&window).await;
    window.see(&hook("quiz-receipt")).await;
    pictures.take(&window, "quiz-finished").await;

    for (button, screen) in [("nav-sync", "sync-screen"), ("nav-settings", "settings-screen")] {
        window.click(&hook(button)).await;
        window.see(&hook(screen)).await;
        pictures.take(&window, screen.trim_end_matches("-screen")).await;
    }
    assert!(!window.log().contains("panicked"), "{}", window.log());
}

/// Numbered pictures in one folder.
struct Pictures {
    folder: PathBuf,
    taken: std::cell::Cell<u32>,
}

impl Pictures {
    fn new() -> Self {
        let folder = std::env::var_os("CARREL_PICTURES").map_or_else(|| test_results().join("screens"), PathBuf::from);
        Self { folder, taken: std::cell::Cell::new(0) }
    }

    async fn take(&self, window: &Window, name: &str) {
        self.taken.set(self.taken.get() + 1);
        window.picture(&self.folder.join(format!("{:02}-{name}.png", self.taken.get()))).await;
    }
}
