//! The scheduled jobs: what they forget and count, and what they never undo.

use carrel_model::{
    LessonId, TimeMs,
    content::Quality,
    download::DownloadState,
    op::{BookmarkPut, DownloadReported, Op, RawOp},
    quiz::Response,
    session::AnswerRecorded,
};
use serde_json::{Value, json};

use crate::site::{DAY, On, SignedIn, Site, completed, id, lesson, outcomes, position};

async fn enrolled(on: On) -> (Site, SignedIn, LessonId, LessonId) {
    let site = Site::new(on).await;
    site.publish(&site.course("rivers")).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let page = lesson(&site, &amina, "What a river carries").await;
    let quiz = lesson(&site, &amina, "Check").await;
    (site, amina, page, quiz)
}

fn answer(seq: u64, quiz: LessonId, at: TimeMs, option: &str) -> RawOp {
    let response = Response::Single { option: option.into() };
    Op::Answer(id(500), AnswerRecorded { lesson_id: quiz, question_id: "q1".into(), response }).encode(seq, at).unwrap()
}

async fn ops_whose_keys_are_forgotten_have_no_second_effect(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let at = site.now();
    let mark = BookmarkPut { lesson_id: page, position: 1, note: "here".into() };
    let batch = [
        answer(1, quiz, at, "a"),
        position(2, page, at, 40),
        completed(3, page, at),
        Op::BookmarkPut(id(600), mark).encode(4, at).unwrap(),
        position(5, id(99), at, 1),
    ];
    assert_eq!(
        outcomes(&site.push(&amina, &batch).await),
        ["applied", "applied", "applied", "applied", "unknown_entity"]
    );
    site.pass(399 * DAY);
    site.service.store.prune(site.now()).await.unwrap();
    assert_eq!(site.count("SELECT COUNT(*) FROM sync_log").await, 5, "not before its time");
    site.pass(2 * DAY);
    let amina = site.sign_in("amina", 1001).await;
    site.push(&amina, &[position(6, page, site.now(), 50)]).await;
    let before = site.pull(&amina, "").await;
    site.service.store.prune(site.now()).await.unwrap();
    assert_eq!(site.count("SELECT COUNT(*) FROM sync_log").await, 1, "what is younger stays");
    assert_eq!(site.count("SELECT COUNT(*) FROM op_log").await, 2, "and the key of the answer");

    let again = site.push(&amina, &batch).await;
    assert_eq!(outcomes(&again), ["duplicate", "superseded", "superseded", "superseded", "unknown_entity"]);
    let after = site.pull(&amina, "").await;
    for set in ["progress", "sessions", "answers", "bookmarks", "checksums"] {
        assert_eq!(after[set], before[set], "{set}");
    }
    let other = json!({ "device_id": amina.device, "client_now": site.now(), "ops": [answer(1, quiz, at, "b")] });
    let reply = site.post("/sync/push", Some(&amina), &other).await;
    assert_eq!(reply.problem().0, 409, "an answer's number is never used for another");
}

async fn what_lost_devices_and_ended_enrolments_keep_ceases_to_count(on: On) {
    let (site, amina, _, _) = enrolled(on).await;
    let unit = site.get("/content/units", Some(&amina)).await.ok()["units"][0].clone();
    let report = |seq, at| {
        let reported = DownloadReported {
            unit_id: serde_json::from_value(unit["id"].clone()).unwrap(),
            state: DownloadState::Completed,
            quality: Quality::High,
            bytes: 2_000_000,
            deleted: false,
        };
        Op::Download(id(50), reported).encode(seq, at).unwrap()
    };
    let used = async |who: &SignedIn| -> Value {
        let granted = site.post("/downloads/authorize", Some(who), &json!({ "unit_id": unit["id"] })).await.ok();
        granted["quota_used"].clone()
    };
    site.push(&amina, &[report(1, site.now())]).await;
    site.execute("UPDATE storage_usage SET bytes = 77").await;
    site.service.store.prune(site.now()).await.unwrap();
    assert_eq!(used(&amina).await, 2_000_000, "counted anew");

    site.unenrol(&amina, "rivers").await;
    site.pass(1);
    site.service.store.prune(site.now()).await.unwrap();
    assert_eq!(site.count("SELECT CAST(SUM(bytes) AS BIGINT) FROM storage_usage").await, 0, "nobody may open it");
    site.enrol(&amina, "rivers").await;
    site.pass(1);
    site.service.store.prune(site.now()).await.unwrap();
    assert_eq!(used(&amina).await, 2_000_000, "the files were there all the time");

    site.pass(91 * DAY);
    let tablet = site.sign_in("amina", 1900).await;
    site.service.store.prune(site.now()).await.unwrap();
    assert_eq!(used(&tablet).await, 0, "the other device was lost");
    let found = site.sign_in("amina", 1001).await;
    site.push(&found, &[report(2, site.now())]).await;
    assert_eq!(used(&tablet).await, 2_000_000, "and is found again");
}

crate::on_both_stores! {
    ops_whose_keys_are_forgotten_have_no_second_effect,
    what_lost_devices_and_ended_enrolments_keep_ceases_to_count,
}
