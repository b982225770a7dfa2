//! The one window that may speak SQL: it can look, and it can't touch.

use serde_json::{Value, json};

use crate::{
    desk::Desk,
    window::{Window, hook},
};

#[tokio::test]
async fn the_diagnostics_window_selects_and_can_not_write_and_the_main_window_can_do_neither() {
    let desk = Desk::new("diagnostics").await;
    let window = desk.open_signed_in().await;
    let refused = sql(&window, "select", "SELECT 1").await;
    assert!(refused.get("error").is_some(), "the main window has no SQL: {refused}");

    window.click(&hook("nav-settings")).await;
    window.click(&hook("diagnostics-link")).await;
    window.switch_to_other_window().await;
    window.see(&hook("diagnostics-screen")).await;
    let version = window.see(&hook("diagnostics-sqlite")).await.text().await.unwrap();
    assert!(at_least(&version, [3, 51, 3]), "SQLite is {version}");

    query(&window, "SELECT count(*) AS n FROM profiles").await;
    window.see(&hook("diagnostics-rows")).await;
    for write in [
        "DELETE FROM profiles",
        "INSERT INTO metadata (key, value) VALUES ('a', 'b')",
        "PRAGMA query_only = OFF; DELETE FROM profiles",
    ] {
        query(&window, write).await;
        window.see(&hook("diagnostics-error")).await;
    }
    for command in ["execute", "load", "close"] {
        let refused = sql(&window, command, "DELETE FROM profiles").await;
        assert!(refused.get("error").is_some(), "{command} is refused: {refused}");
    }
    query(&window, "SELECT name FROM profiles").await;
    let rows = window.see(&hook("diagnostics-rows")).await.text().await.unwrap();
    assert!(rows.contains("amina"), "the learner is still there: {rows}");
}

async fn query(window: &Window, sql: &str) {
    window.fill(&hook("diagnostics-query"), sql).await;
    window.click(&hook("diagnostics-run")).await;
}

async fn sql(window: &Window, command: &str, query: &str) -> Value {
    let request = json!({ "db": "sqlite:carrel.db", "query": query, "values": [] });
    window.invoke(&format!("plugin:sql|{command}"), request).await
}

fn at_least(version: &str, least: [u32; 3]) -> bool {
    let numbers: Vec<u32> = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect();
    numbers.get(..3).is_some_and(|found| found >= least.as_slice())
}
