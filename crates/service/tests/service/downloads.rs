//! From an authorisation to verified bytes.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use carrel_model::{
    lease::Role,
    op::{DownloadReported, Op},
    pieces::Manifest,
    wire::downloads::Authorized,
};
use carrel_service::config::Config;
use serde_json::{Value, json};

use crate::site::{DAY, MINUTE, On, PNG, Site, id, wav};

async fn with_recording(site: &Site) -> Value {
    let course = site.course("rivers");
    course.recording("01-land/03-listen.md", 300);
    course.write("01-land/unit.toml", "title = \"Land\"\ncover = \"cover.png\"");
    course.write("01-land/cover.png", PNG);
    site.publish(&course).await;
    Value::Null
}

async fn first_unit(site: &Site, who: &crate::site::SignedIn) -> Value {
    site.get("/content/units", Some(who)).await.ok()["units"][0].clone()
}

async fn an_authorised_download_is_fetched_in_ranges_and_verifies(on: On) {
    let site = Site::new(on).await;
    with_recording(&site).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let unit = first_unit(&site, &amina).await;
    let answer = site.post("/downloads/authorize", Some(&amina), &json!({ "unit_id": unit["id"] })).await.ok();
    let granted: Authorized = serde_json::from_value(answer).unwrap();
    assert_eq!(granted.blobs.len(), 3, "the cover, the page and the recording");
    assert_eq!(granted.expires_at, None);
    let recording = granted.blobs.iter().find(|blob| blob.mime == "audio/wav").unwrap();
    let manifest: &Manifest = &recording.manifest;
    assert_eq!(manifest.piece_count(), 3, "over 2 MiB, so that there is more than one piece");
    let mut fetched = Vec::new();
    for index in 0..manifest.piece_count() {
        let (start, length) = manifest.piece_range(index);
        let range = format!("bytes={start}-{}", start + length - 1);
        let part = site.get_with(&recording.url, None, &[("range", &range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers["content-range"], format!("bytes {start}-{}/{}", start + length - 1, manifest.size()));
        assert!(manifest.verifies(index, &part.bytes), "piece {index} verifies");
        fetched.extend(part.bytes);
    }
    assert_eq!(fetched, wav(300), "what was published, byte by byte");

    let whole = site.get(&recording.url, None).await;
    assert_eq!((whole.status, whole.bytes.len()), (StatusCode::OK, fetched.len()));
    assert_eq!(whole.headers["etag"], format!("\"{}\"", manifest.hash()));
    assert!(whole.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let head = site.send(Request::head(&recording.url).body(Body::empty()).unwrap()).await;
    assert_eq!(
        (head.headers["content-length"].to_str().unwrap(), head.bytes.len()),
        (&*manifest.size().to_string(), 0)
    );
    let outside = site.get_with(&recording.url, None, &[("range", "bytes=99999999-")]).await;
    assert_eq!(outside.problem().0, 416);
    assert_eq!(outside.headers["content-range"], format!("bytes */{}", manifest.size()));
    let tag = format!("\"{}\"", manifest.hash());
    assert_eq!(site.get_with(&recording.url, None, &[("if-none-match", &tag)]).await.status, 304);
    let other = [("range", "bytes=0-9"), ("if-range", "\"other\"")];
    assert_eq!(site.get_with(&recording.url, None, &other).await.status, 200, "another version: all of it");
    let same = [("range", "bytes=0-9"), ("if-range", &*tag)];
    assert_eq!(site.get_with(&recording.url, None, &same).await.bytes.len(), 10);

    let by_token = site.get(&format!("/blobs/{}/pieces", manifest.hash()), Some(&amina)).await;
    assert_eq!(Manifest::from_binary(manifest.hash(), manifest.size(), &by_token.bytes).as_ref(), Ok(manifest));
    let signed = recording.url.replace('?', "/pieces?");
    assert_eq!(site.get(&signed, None).await.bytes, by_token.bytes, "the same for whoever has the address");
}

async fn an_address_opens_its_own_blob_for_its_own_time(on: On) {
    let site = Site::new(on).await;
    with_recording(&site).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let unit = first_unit(&site, &amina).await;
    let items: Vec<Value> = unit["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| json!({ "asset_id": asset["id"], "quality": "high" }))
        .collect();
    let urls = site.post("/content/assets/urls", Some(&amina), &json!({ "items": items })).await.ok();
    let urls = urls["urls"].as_array().unwrap();
    assert_eq!(urls.len(), items.len());
    let (a, b) = (urls[0]["url"].as_str().unwrap(), urls[1]["url"].as_str().unwrap());
    assert_eq!(site.get(a, None).await.status, 200);
    let query = |url: &str| url.split_once('?').unwrap().1.to_owned();
    let path = |url: &str| url.split_once('?').unwrap().0.to_owned();
    let forged = [
        format!("{}?{}", path(b), query(a)),
        path(a),
        a.replace("exp=1", "exp=2"),
        a.replace("sig=", "sig=0"),
        format!("{}?exp=99999999999999&sig={}", path(a), "0".repeat(64)),
        format!("{}?exp=-1&sig=", path(a)),
    ];
    for url in forged {
        assert_eq!(site.get(&url, None).await.problem(), (403, "forbidden".to_owned()), "{url}");
    }
    site.pass(14 * MINUTE);
    assert_eq!(site.get(a, None).await.status, 200, "for 15 minutes");
    site.pass(MINUTE);
    let late = site.get(a, None).await;
    assert_eq!(late.problem().0, 403, "and not longer");
    let hash = path(a).rsplit('/').next().unwrap().to_owned();
    assert_eq!(site.get(&format!("/blobs/{hash}/pieces"), None).await.problem().0, 401, "the pieces need either");
}

async fn downloads_are_refused_with_their_reason(on: On) {
    let site = Site::new(on).await;
    with_recording(&site).await;
    let premium = site.course("premium");
    premium.write("course.toml", "title = \"Premium\"\npremium = true");
    site.publish(&premium).await;
    let amina = site.learner(1, "amina").await;
    let badr = site.learner(2, "badr").await;
    site.enrol(&amina, "rivers").await;
    let unit = first_unit(&site, &amina).await;
    let ask = async |who, body: Value| site.post("/downloads/authorize", Some(who), &body).await;
    let wanted = json!({ "unit_id": unit["id"] });
    assert_eq!(ask(&badr, wanted.clone()).await.problem(), (403, "not_enrolled".to_owned()));
    for body in [json!({}), json!({ "unit_id": unit["id"], "course_id": unit["course_id"] })] {
        assert_eq!(ask(&amina, body).await.problem(), (400, "invalid_request".to_owned()));
    }
    let unknown = json!({ "lesson_id": id::<carrel_model::LessonId>(9) });
    assert_eq!(ask(&amina, unknown).await.problem(), (404, "not_found".to_owned()));
    let lesson = unit["lessons"].as_array().unwrap().iter().find(|l| l["kind"] == "audio").unwrap();
    assert_eq!(ask(&amina, json!({ "lesson_id": lesson["id"] })).await.ok()["blobs"].as_array().unwrap().len(), 1);
    let course = ask(&amina, json!({ "course_id": unit["course_id"] })).await.ok();
    assert_eq!(course["blobs"].as_array().unwrap().len(), 3);

    let end = site.now().plus_ms(DAY / 48);
    site.service.store.enrol(amina.learner, "rivers", Role::Learner, Some(end), site.now()).await.unwrap();
    let granted: Authorized = serde_json::from_value(ask(&amina, wanted.clone()).await.ok()).unwrap();
    assert_eq!(granted.expires_at, Some(end), "the download ends with the enrolment");
    site.pass(DAY / 48);
    assert_eq!(ask(&amina, wanted.clone()).await.problem(), (403, "enrolment_expired".to_owned()));
    let items: Vec<Value> = unit["assets"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&unit["cover"]])
        .map(|asset| json!({ "asset_id": asset["id"], "quality": "low" }))
        .collect();
    let urls = site.post("/content/assets/urls", Some(&amina), &json!({ "items": items })).await.ok();
    assert_eq!(urls["urls"].as_array().unwrap().len(), 1, "the cover is still to be seen");
    assert_eq!(urls["urls"][0]["asset_id"], unit["cover"]["id"]);

    site.enrol(&badr, "premium").await;
    let premium_unit = first_unit(&site, &badr).await;
    let wanted = json!({ "unit_id": premium_unit["id"] });
    assert_eq!(ask(&badr, wanted.clone()).await.problem(), (403, "premium_required".to_owned()));
    site.service.store.enrol(badr.learner, "premium", Role::Premium, None, site.now()).await.unwrap();
    ask(&badr, wanted.clone()).await.ok();
    premium.remove("01-land");
    site.publish(&premium).await;
    assert_eq!(ask(&badr, wanted).await.problem(), (410, "gone".to_owned()));
}

async fn what_devices_report_counts_against_the_quota(on: On) {
    let site = Site::with(on, Config { quota_bytes: Some(3_000_000), ..Config::default() }).await;
    with_recording(&site).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let unit = first_unit(&site, &amina).await;
    let wanted = json!({ "unit_id": unit["id"] });
    let ask = async || site.post("/downloads/authorize", Some(&amina), &wanted).await;
    assert_eq!(ask().await.ok()["quota_used"], 0);
    let report = |seq, deleted, bytes| {
        let reported = DownloadReported {
            unit_id: serde_json::from_value(unit["id"].clone()).unwrap(),
            state: carrel_model::download::DownloadState::Completed,
            quality: carrel_model::content::Quality::High,
            bytes,
            deleted,
        };
        Op::Download(id(50), reported).encode(seq, site.now()).unwrap()
    };
    site.push(&amina, &[report(1, false, 2_000_000)]).await;
    assert_eq!(ask().await.problem(), (403, "quota_exceeded".to_owned()));
    site.push(&amina, &[report(2, true, 2_000_000)]).await;
    assert_eq!(ask().await.ok()["quota_used"], 0, "deleted on the device, so it no longer counts");
    let late = site.push(&amina, &[report(3, false, 2_000_000), report(3, false, 1)]).await;
    assert_eq!(crate::site::outcomes(&late), ["applied", "key_reused"]);
    assert_eq!(site.count("SELECT COUNT(*) FROM downloads").await, 1, "one record of one download");
}

crate::on_both_stores! {
    an_authorised_download_is_fetched_in_ranges_and_verifies,
    an_address_opens_its_own_blob_for_its_own_time,
    downloads_are_refused_with_their_reason,
    what_devices_report_counts_against_the_quota,
}
