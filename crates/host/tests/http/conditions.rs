//! Links and power that change while a learner downloads.

use std::time::{Duration, Instant};

use carrel_engine::ports::{Link, Power};
use http::StatusCode;
use serde_json::{Value, json};

use crate::desk::{Desk, service};

/// Asks until the answer is as wished; says what it is instead when it never is.
async fn until(desk: &Desk, command: &str, wish: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = desk.ask(command, Value::Null).await;
        if wish(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{command}: still {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_download(desk: &Desk, id: &Value, wish: impl Fn(&Value) -> bool) -> Value {
    let of = |list: &Value| list["downloads"].as_array().unwrap().iter().find(|one| one["id"] == *id).unwrap().clone();
    of(&until(desk, "downloads_list", |list| wish(&of(list))).await)
}

async fn choose(desk: &Desk, name: &str, value: Value) {
    let mut settings = desk.ask("settings_get", Value::Null).await;
    settings[name] = value;
    desk.ask("settings_set", settings).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_stops_where_the_network_costs_goes_on_over_wifi_and_never_holds_back_sync() {
    let desk = Desk::entered().await;
    let service = service(desk.folder.path()).await;
    desk.sign_in(&service, "amina").await;
    desk.ask("catalogue_refresh", Value::Null).await;
    desk.network.say(Link::Unmetered);
    choose(&desk, "rate_bytes_per_second", json!(400_000)).await;
    let library = desk.ask("catalogue_library", Value::Null).await;
    let units = library["courses"][0]["units"].as_array().unwrap().clone();
    let size = |unit: &&Value| unit["size_bytes"].as_u64().unwrap_or_default();
    let unit = units.iter().max_by_key(size).unwrap();
    let started = desk.ask("downloads_start", json!({ "unit_id": unit["id"], "quality": "high" })).await;
    let id = &started["id"];
    let under_way = until_download(&desk, id, |one| one["bytes_done"].as_u64() > Some(0)).await;

    desk.network.say(Link::Metered);
    let waits = until_download(&desk, id, |one| one["wait_reason"] == "wifi").await;
    assert_eq!(waits["state"], "pending");
    assert!(waits["bytes_done"].as_u64() >= under_way["bytes_done"].as_u64(), "what is verified stays");
    let view = desk.ask("catalogue_unit", json!({ "unit_id": unit["id"] })).await;
    desk.ask("learning_complete", json!({ "lesson_id": view["lessons"][0]["id"] })).await;
    until(&desk, "sync_status", |sync| sync["waiting"] == 0 && !sync["last_success_at"].is_null()).await;
    let still = desk.ask("downloads_list", Value::Null).await;
    assert_eq!(still["downloads"][0]["wait_reason"], "wifi", "progress goes, bytes wait");

    choose(&desk, "rate_bytes_per_second", Value::Null).await;
    desk.network.say(Link::Unmetered);
    until_download(&desk, id, |one| one["state"] == "completed").await;
    service.shutdown().await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_and_power_are_shown_as_the_platform_says_and_choices_are_checked() {
    let desk = Desk::entered().await;
    let state = desk.ask("app_state", Value::Null).await;
    assert_eq!(state["device"], json!({ "link": "unknown", "power": "unknown", "asks": true, "confirmed": false }));
    let confirmed = desk.ask("device_confirm_network", Value::Null).await;
    assert_eq!((&confirmed["asks"], &confirmed["confirmed"]), (&json!(false), &json!(true)));
    desk.network.say(Link::Metered);
    desk.power.say(Power::Battery);
    let metered =
        until(&desk, "device_state", |device| device["link"] == "metered" && device["power"] == "battery").await;
    assert_eq!(metered["confirmed"], false, "it was said of another network");

    let service = service(desk.folder.path()).await;
    desk.sign_in(&service, "amina").await;
    let settings = desk.ask("settings_get", Value::Null).await;
    assert_eq!(settings["wifi_only"], true, "the default (D8)");
    for (name, value, field) in [
        ("hours", json!({ "from_minute": 60, "to_minute": 60 }), "hours"),
        ("proxy", json!({ "kind": "url", "url": "gopher://x" }), "proxy"),
        ("proxy", json!({ "kind": "url", "url": "http://me:secret@x" }), "proxy_password"),
        ("rate_bytes_per_second", json!(1), "rate_bytes_per_second"),
        ("concurrency", json!(0), "concurrency"),
    ] {
        let mut wrong = settings.clone();
        wrong[name] = value;
        let (status, answer) = desk.call("settings_set", wrong).await;
        assert_eq!((status, &answer["details"]["setting"]), (StatusCode::BAD_REQUEST, &json!(field)), "{answer}");
    }
    assert_eq!(desk.ask("settings_get", Value::Null).await, settings, "what is refused changes nothing");
    service.shutdown().await;
    desk.close().await;
}
