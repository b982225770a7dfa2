//! Whatever is sent, the answer is a problem that names it, and never a failure of the service.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::site::{On, Site, id};

async fn no_field_of_any_request_makes_the_service_fail(on: On) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    course.write("course.toml", "title = \"Rivers\"\nopen = true");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    let device = json!(amina.device);
    let lesson = json!(crate::site::lesson(&site, &amina, "Check").await);
    let now = json!(site.now());
    let op = |kind: &str, payload: Value| {
        json!({ "device_id": device, "client_now": now, "ops": [
            { "seq": 1, "kind": kind, "entity_id": lesson, "at": now, "payload": payload }] })
    };
    let moved = json!({ "lesson_id": lesson, "attempt": 1, "kind": "quiz", "started_at": now,
        "statistics": { "answered": 1, "correct": 1, "points": 1, "max_points": 1, "duration_ms": 1 } });
    let good: Vec<(&str, Value)> = vec![
        ("/auth/sign-in", json!({ "name": "x", "password": "y", "device_id": device, "device_name": "z" })),
        ("/auth/refresh", json!({ "refresh_token": "x", "device_id": device })),
        (
            "/content/assets/urls",
            json!({ "items": [{ "asset_id": id::<carrel_model::AssetId>(1), "quality": "low" }] }),
        ),
        ("/downloads/authorize", json!({ "unit_id": id::<carrel_model::UnitId>(1), "quality": "low" })),
        ("/sync/push", op("progress.position", json!({ "attempt": 1, "position": 1, "percent": 1 }))),
        ("/sync/push", op("progress.completed", json!({ "attempt": 1 }))),
        ("/sync/push", op("session.finished", moved.clone())),
        ("/sync/push", op("statistics.recorded", json!({ "session": moved }))),
        (
            "/sync/push",
            op(
                "answer.recorded",
                json!({ "lesson_id": lesson, "question_id": "q1",
                "response": { "kind": "short_text", "text": "x" } }),
            ),
        ),
        ("/sync/push", op("bookmark.put", json!({ "lesson_id": lesson, "position": 1, "note": "x" }))),
        (
            "/sync/push",
            op(
                "download.state",
                json!({ "unit_id": id::<carrel_model::UnitId>(1), "state": "completed",
                "quality": "low", "bytes": 1 }),
            ),
        ),
    ];
    let evil = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e308),
        json!(0.5),
        json!(""),
        json!("\0"),
        json!("\u{202e}\u{feff}\u{fffd}\u{10ffff}'; DROP TABLE accounts; --"),
        json!("9999-12-31T23:59:59.999999999Z"),
        json!("-009999-01-01T00:00:00Z"),
        json!("x".repeat(100_000)),
        json!([]),
        json!([[[[[]]]]]),
        json!({}),
        json!({ "": { "\0": [null] } }),
    ];
    let mut sent = 0;
    for (path, body) in good {
        for field in pointers(&body) {
            for value in &evil {
                let mut spoiled = body.clone();
                *spoiled.pointer_mut(&field).unwrap() = value.clone();
                let reply = site.post(path, Some(&amina), &spoiled).await;
                assert!(reply.status.as_u16() < 500, "{path} {field} = {value:.60}: {}", reply.status);
                if !reply.status.is_success() {
                    reply.problem();
                }
                sent += 1;
            }
        }
    }
    assert!(sent > 1000, "every field was spoiled in every way: {sent}");
    assert_eq!(site.count("SELECT COUNT(*) FROM accounts").await, 1);
}

/// A pointer to the value itself and to everything within.
fn pointers(value: &Value) -> Vec<String> {
    let mut list = vec![String::new()];
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        list.extend(pointers(child).into_iter().map(|pointer| format!("/{key}{pointer}")));
    }
    list
}

async fn bodies_that_are_no_json_are_refused(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    let deep = "[".repeat(100_000);
    let huge = format!("{{\"ops\":\"{}\"}}", "x".repeat(600_000));
    let bodies: [(&[u8], u16); 7] = [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"{\"device_id\":\"\\ud800\"}", 400),
        (b"{\"a\":1e999}", 400),
        (deep.as_bytes(), 400),
        (huge.as_bytes(), 413),
    ];
    for path in ["/auth/sign-in", "/auth/refresh", "/content/assets/urls", "/downloads/authorize", "/sync/push"] {
        for (body, status) in bodies {
            let reply = site.post_bytes(path, Some(&amina), body.to_vec()).await;
            assert_eq!(reply.problem(), (status, "invalid_request".to_owned()), "{path} {:?}", body.first_chunk::<9>());
        }
        let plain = Request::post(format!("/api/v1{path}")).header("authorization", format!("Bearer {}", amina.token));
        let reply = site.send(plain.body(Body::from("{}")).unwrap()).await;
        assert_eq!(reply.problem(), (415, "invalid_request".to_owned()), "{path} without a media type");
    }
    let many = json!({ "items": vec![json!({ "asset_id": id::<carrel_model::AssetId>(1), "quality": "low" }); 201] });
    assert_eq!(site.post("/content/assets/urls", Some(&amina), &many).await.problem().0, 400);
}

async fn queries_and_paths_that_mean_nothing_are_refused(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    let cases = [
        ("/content/units/sync?limit=0", 400),
        ("/content/units/sync?limit=501", 400),
        ("/content/units/sync?limit=-1", 400),
        ("/content/units/sync?limit=99999999999999999999", 400),
        ("/content/units/sync?since=rubbish", 400),
        ("/content/units/sync?since=12:00", 400),
        ("/content/units/sync?since=%00", 400),
        ("/content/units/sync?include_deleted=maybe", 400),
        ("/content/units?scope=everybody", 400),
        ("/content/units/%00", 404),
        ("/content/units/..%2f..%2fetc", 404),
        ("/content/units/1", 404),
        ("/sync/pull?cursor=%F0%9F%92%A9", 400),
        ("/sync/pull?limit=x", 400),
        ("/sync/pull?lease=x", 400),
        ("/blobs/../../etc/passwd", 404),
        ("/blobs/zz", 404),
        ("/blobs/zz/pieces", 404),
        ("/nowhere", 404),
        ("/sync/push", 405),
    ];
    for (path, status) in cases {
        assert_eq!(site.get(path, Some(&amina)).await.problem().0, status, "{path}");
    }
    let delete = Request::delete("/api/v1/content/courses").body(Body::empty()).unwrap();
    assert_eq!(site.send(delete).await.problem().0, 405);
    for token in ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer \u{e4}", &format!("Bearer {}", "x".repeat(5000))] {
        let request = Request::get("/api/v1/content/courses").header("authorization", token.as_bytes());
        let reply = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.problem(), (401, "sign_in_needed".to_owned()), "{token:.20?}");
    }
}

async fn zstd_bodies_are_read_within_the_same_limit(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    let push = async |body: Vec<u8>| {
        let request = Request::post("/api/v1/sync/push")
            .header("content-type", "application/json")
            .header("content-encoding", "zstd")
            .header("authorization", format!("Bearer {}", amina.token));
        site.send(request.body(Body::from(body)).unwrap()).await
    };
    let pack = |plain: &[u8]| ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest);
    let batch = json!({ "device_id": amina.device, "client_now": site.now(), "ops": [] }).to_string();
    assert_eq!(push(pack(batch.as_bytes())).await.ok()["results"], json!([]), "zstd is understood");
    let bomb = pack(" ".repeat(50_000_000).as_bytes());
    assert!(bomb.len() < 500_000, "{} bytes that become 50 MB", bomb.len());
    assert_eq!(push(bomb).await.problem(), (413, "invalid_request".to_owned()));
    // A frame that asks for a window of 1 GiB and holds one byte.
    let greedy = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA0, 0x0B, 0x00, 0x00, b'x'];
    for rubbish in [b"not zstd at all".to_vec(), Vec::new(), greedy] {
        assert_eq!(push(rubbish).await.problem(), (400, "invalid_request".to_owned()));
    }
}

async fn packed_bodies_are_read_within_the_same_limit(on: On) {
    let site = Site::new(on).await;
    let amina = site.learner(1, "amina").await;
    let push = async |body: &'static [u8]| {
        let request = Request::post("/api/v1/sync/push")
            .header("content-type", "application/json")
            .header("content-encoding", "gzip")
            .header("authorization", format!("Bearer {}", amina.token));
        site.send(request.body(Body::from(body)).unwrap()).await
    };
    let empty_batch = push(include_bytes!("push.json.gz")).await.ok();
    assert_eq!(empty_batch["results"], json!([]), "gzip is understood");
    let spaces = include_bytes!("spaces.json.gz");
    assert_eq!(push(spaces).await.problem(), (413, "invalid_request".to_owned()), "617 bytes that become 600,000");
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let bomb_parts = futures_util::stream::iter((0..500).map(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(bytes::Bytes::from_static(spaces))
    }));
    let bomb = Request::post("/api/v1/sync/push")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .header("authorization", format!("Bearer {}", amina.token));
    let bomb = bomb.body(Body::from_stream(bomb_parts)).unwrap();
    assert_eq!(site.send(bomb).await.problem(), (413, "invalid_request".to_owned()), "what would become 300 MB");
    assert!(read.load(Ordering::SeqCst) <= 2, "is not read to its end");
    assert_eq!(push(b"not gzip at all").await.problem().0, 400);
    let strange = Request::post("/api/v1/sync/push")
        .header("content-type", "application/json")
        .header("content-encoding", "rot13")
        .header("authorization", format!("Bearer {}", amina.token));
    let reply = site.send(strange.body(Body::from("{}")).unwrap()).await;
    assert_eq!(reply.problem(), (415, "invalid_request".to_owned()), "an encoding nobody reads");
}

crate::on_both_stores! {
    no_field_of_any_request_makes_the_service_fail,
    bodies_that_are_no_json_are_refused,
    queries_and_paths_that_mean_nothing_are_refused,
    packed_bodies_are_read_within_the_same_limit,
    zstd_bodies_are_read_within_the_same_limit,
}
