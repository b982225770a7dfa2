//! Downloads by the names of older systems, as a script drives them: real HTTP, the real service, real files.

use std::{collections::BTreeMap, path::Path, time::Duration};

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::desk::{Desk, browser, service};

/// Longer than the transfer of a few small files takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Script<'a>(&'a Desk);

impl Script<'_> {
    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let request = self.0.http.request(method, format!("{}/api/downloads/{path}", self.0.origin));
        let request = request.header(header::ORIGIN, &self.0.origin);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    /// Until it is complete; progress never runs backwards and never says 100 too early.
    async fn until_complete(&self, id: &str) -> Value {
        let begun = std::time::Instant::now();
        let mut before = 0;
        loop {
            let (status, told) = self.send(Method::GET, &format!("{id}/progress"), None).await;
            assert_eq!(status, StatusCode::OK, "{told}");
            let percent = told["progress"].as_u64().unwrap();
            assert!(percent >= before && percent <= 100, "{before} then {told}");
            assert_eq!(percent == 100, told["status"] == "completed", "{told}");
            if percent == 100 {
                return told;
            }
            before = percent;
            assert!(begun.elapsed() < PATIENCE, "still {told}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The files of the store.
fn files(desk: &Desk) -> BTreeMap<String, u64> {
    fn walk(folder: &Path, into: &mut BTreeMap<String, u64>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let found = entry.metadata().unwrap();
            if found.is_dir() {
                walk(&entry.path(), into);
            } else {
                into.insert(entry.file_name().into_string().unwrap(), found.len());
            }
        }
    }
    let mut files = BTreeMap::new();
    for folder in ["blobs", "partial"] {
        walk(&desk.folder.path().join("data").join(folder), &mut files);
    }
    files
}

/// A lesson of a kind that plays from a file, with its unit.
async fn lesson(desk: &Desk, kind: &str) -> (Value, Value) {
    let library = desk.ask("catalogue_library", Value::Null).await;
    for unit in library["courses"][0]["units"].as_array().unwrap() {
        let view = desk.ask("catalogue_unit", json!({ "unit_id": unit["id"] })).await;
        let found = view["lessons"].as_array().unwrap().iter().find(|lesson| lesson["kind"] == kind).cloned();
        if let Some(found) = found {
            return (unit["id"].clone(), found["id"].clone());
        }
    }
    panic!("no {kind} in {library}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_flow_starts_plays_with_ranges_and_deletes() {
    let desk = Desk::entered().await;
    let service = service(desk.folder.path()).await;
    desk.sign_in(&service, "amina").await;
    desk.ask("catalogue_refresh", Value::Null).await;
    let (_, lesson) = lesson(&desk, "audio").await;
    let script = Script(&desk);
    let before = files(&desk);

    let (status, started) =
        script.send(Method::POST, "start", Some(json!({ "content_id": lesson, "quality": "720p" }))).await;
    assert_eq!(status, StatusCode::OK, "{started}");
    let id = started["download_id"].as_str().unwrap().to_owned();
    let told = script.until_complete(&id).await;
    let new: BTreeMap<String, u64> = files(&desk).into_iter().filter(|(name, _)| !before.contains_key(name)).collect();
    assert_eq!(new.values().sum::<u64>(), told["bytes_total"].as_u64().unwrap(), "all of it is on the disk: {new:?}");

    let play = format!("{}/api/downloads/{id}/play", desk.origin);
    let whole = desk.http.get(&play).send().await.unwrap();
    assert_eq!(whole.status(), StatusCode::OK);
    let whole = whole.bytes().await.unwrap();
    let part = desk.http.get(&play).header(header::RANGE, "bytes=100-199").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    let range = part.headers()[header::CONTENT_RANGE].to_str().unwrap().to_owned();
    assert_eq!(range, format!("bytes 100-199/{}", whole.len()));
    assert_eq!(part.bytes().await.unwrap(), whole[100..200]);
    let beyond = desk.http.get(&play).header(header::RANGE, "bytes=99999999999-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(browser().get(&play).send().await.unwrap().status(), StatusCode::UNAUTHORIZED, "not without the cookie");

    let path = format!("{id}/delete");
    let foreign = desk.http.delete(format!("{}/api/downloads/{path}", desk.origin)).send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN, "and nothing is deleted from another page");
    let (status, deleted) = script.send(Method::DELETE, &path, None).await;
    assert_eq!((status, deleted["frees_bytes"].as_u64()), (StatusCode::OK, Some(new.values().sum())), "{deleted}");
    assert_eq!(files(&desk), before, "the files are gone");
    for path in ["progress", "play"] {
        let (status, _) = script.send(Method::GET, &format!("{id}/{path}"), None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, _) = script.send(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "once");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_names_clear_all_and_are_each_learners_own() {
    let desk = Desk::entered().await;
    let service = service(desk.folder.path()).await;
    desk.sign_in(&service, "amina").await;
    desk.ask("catalogue_refresh", Value::Null).await;
    let (unit, _) = lesson(&desk, "audio").await;
    let script = Script(&desk);
    let before = files(&desk);
    let (_, started) = script.send(Method::POST, "start", Some(json!({ "unit_id": unit }))).await;
    let id = started["download_id"].as_str().unwrap().to_owned();
    script.until_complete(&id).await;

    desk.sign_in(&service, "badr").await;
    for (method, path) in [
        (Method::GET, format!("{id}/progress")),
        (Method::GET, format!("{id}/play")),
        (Method::DELETE, id.clone()),
        (Method::DELETE, format!("{id}/delete")),
    ] {
        let (status, answer) = script.send(method.clone(), &path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{method} {path}: {answer}");
        assert!(!answer.to_string().contains(unit.as_str().unwrap()), "nothing of hers is told: {answer}");
    }
    let (status, nothing) = script.send(Method::POST, "cleanup/all", None).await;
    assert_eq!((status, nothing["frees_bytes"].as_u64()), (StatusCode::OK, Some(0)), "he has nothing to clear");
    let (status, refused) = script.send(Method::POST, "start", Some(json!({ "unit_id": unit }))).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "nor can he ask for what he doesn't take: {refused}");

    desk.sign_in(&service, "amina").await;
    let (status, cleared) = script.send(Method::POST, "cleanup/all", None).await;
    assert_eq!(status, StatusCode::OK, "{cleared}");
    assert_eq!(files(&desk), before, "everything is gone");
    let (status, error) = script.send(Method::POST, "start", Some(json!({ "quality": "8k", "unit_id": unit }))).await;
    assert_eq!((status, error["code"].as_str()), (StatusCode::BAD_REQUEST, Some("invalid_request")));
    desk.close().await;
}
