//! What a learner does, over HTTP.

use futures_util::StreamExt as _;
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::desk::{Desk, browser, service};

/// Units and a lesson of a kind, with what its player needs.
async fn lesson(desk: &Desk, kind: &str) -> (Value, Value) {
    let library = desk.ask("catalogue_library", Value::Null).await;
    for unit in library["courses"][0]["units"].as_array().unwrap() {
        let view = desk.ask("catalogue_unit", json!({ "unit_id": unit["id"] })).await;
        let lessons = view["lessons"].as_array().unwrap();
        if let Some(lesson) = lessons.iter().find(|lesson| lesson["kind"] == kind) {
            return (unit.clone(), desk.ask("playback_open", json!({ "lesson_id": lesson["id"] })).await);
        }
    }
    panic!("no {kind} in {library}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_signs_in_and_plays_and_takes_a_unit_along() {
    let desk = Desk::entered().await;
    let service = service(desk.folder.path()).await;
    let mut events = desk.http.get(format!("{}/api/events", desk.origin)).send().await.unwrap().bytes_stream();

    let profile = desk.sign_in(&service, "amina").await;
    let state = desk.ask("app_state", Value::Null).await;
    assert_eq!(state["current"]["id"], profile["id"]);
    let base = state["media_base"].as_str().unwrap().to_owned();
    assert!(base.starts_with("/media/"), "media are at the page's own origin: {base}");

    desk.ask("catalogue_refresh", Value::Null).await;
    let (unit, playback) = lesson(&desk, "audio").await;
    assert_eq!(playback["source"]["kind"], "remote", "{playback}");
    let main = &playback["main"];
    let url = format!("{}{}", desk.origin, main["url"].as_str().unwrap());
    assert!(main["url"].as_str().unwrap().starts_with(&base), "{main}");
    // Media need no cookie: a player of the platform would not send it.
    let part = browser().get(&url).header(header::RANGE, "bytes=100-199").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "from the service");
    let remote = part.bytes().await.unwrap();

    let started = desk.ask("downloads_start", json!({ "unit_id": unit["id"] })).await;
    let mut heard = String::new();
    // Bounded by the service's own speed on loopback; a test that hangs is killed by its runner.
    while !heard.contains("download_ended") {
        heard.push_str(&String::from_utf8_lossy(&events.next().await.unwrap().unwrap()));
    }
    for line in heard.lines().filter_map(|line| line.strip_prefix("data: ")) {
        let batch: Value = serde_json::from_str(line).unwrap();
        assert!(batch.as_array().is_some_and(|events| !events.is_empty()), "each message is an array: {line}");
    }
    let list = desk.ask("downloads_list", Value::Null).await;
    let download = list["downloads"].as_array().unwrap().iter().find(|d| d["id"] == started["id"]).unwrap();
    assert_eq!(download["state"], "completed", "{download}");

    service.shutdown().await;
    let (_, playback) = lesson(&desk, "audio").await;
    assert_eq!(playback["source"]["kind"], "local", "{playback}");
    let url = format!("{}{}", desk.origin, playback["main"]["url"].as_str().unwrap());
    let part = browser().get(&url).header(header::RANGE, "bytes=100-199").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "from the disk");
    assert_eq!(part.bytes().await.unwrap(), remote, "the same bytes");
    let whole = browser().get(&url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(Some(whole.len() as u64), playback["main"]["size"].as_u64());
    assert_eq!(whole[100..200], remote);
    drop(events);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_learners_asset_gets_nothing() {
    let desk = Desk::entered().await;
    let service = service(desk.folder.path()).await;
    desk.sign_in(&service, "amina").await;
    desk.ask("catalogue_refresh", Value::Null).await;
    let (_, playback) = lesson(&desk, "image").await;
    let asset = playback["main"]["asset_id"].as_str().unwrap().to_owned();
    let hers = desk.ask("app_state", Value::Null).await["media_base"].as_str().unwrap().to_owned();
    let right = browser().get(format!("{}{hers}{asset}", desk.origin)).send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK, "it is hers");

    desk.sign_in(&service, "badr").await;
    let his = desk.ask("app_state", Value::Null).await["media_base"].as_str().unwrap().to_owned();
    assert_ne!(hers, his, "each learner has an address of their own");
    let answer = browser().get(format!("{}{his}{asset}", desk.origin)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(answer.bytes().await.unwrap().is_empty());
    service.shutdown().await;
    desk.close().await;
}
