//! What learners did arrives once, whatever the network does with it.

use carrel_model::{
    DeviceId, LessonId, TimeMs,
    bookmark::Bookmark,
    op::{BookmarkDeleted, BookmarkPut, Op, RawOp},
    progress::Progress,
    quiz::Response,
    session::{AnswerRecorded, Session, SessionKind, SessionMoved, SessionStatus, Statistics},
    wire::sync::PullPage,
};
use serde_json::{Value, json};

use crate::site::{DAY, MINUTE, On, START, SignedIn, Site, completed, id, lesson, outcomes, position};

async fn enrolled(on: On) -> (Site, SignedIn, LessonId, LessonId) {
    let site = Site::new(on).await;
    site.publish(&site.course("rivers")).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let page = lesson(&site, &amina, "What a river carries").await;
    let quiz = lesson(&site, &amina, "Check").await;
    (site, amina, page, quiz)
}

fn answer(seq: u64, quiz: LessonId, at: TimeMs) -> RawOp {
    let recorded =
        AnswerRecorded { lesson_id: quiz, question_id: "q1".into(), response: Response::Single { option: "a".into() } };
    Op::Answer(id(500), recorded).encode(seq, at).unwrap()
}

fn session(seq: u64, quiz: LessonId, at: TimeMs, status: SessionStatus, answered: u32) -> RawOp {
    let moved = SessionMoved {
        lesson_id: quiz,
        attempt: 1,
        kind: SessionKind::Quiz,
        started_at: TimeMs::from_ms(START),
        statistics: Statistics { answered, ..Statistics::default() },
    };
    Op::Session(id(500), status, moved).encode(seq, at).unwrap()
}

async fn a_batch_sent_twice_has_its_effect_once(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let now = site.now();
    let batch = [
        position(1, page, now.plus_ms(-9000), 40),
        completed(2, page, now.plus_ms(-8000)),
        position(3, page, now.plus_ms(-7000), 20),
        session(4, quiz, now.plus_ms(-6000), SessionStatus::Running, 0),
        answer(5, quiz, now.plus_ms(-5000)),
        session(6, quiz, now.plus_ms(-4000), SessionStatus::Finished, 1),
        session(7, quiz, now.plus_ms(-3000), SessionStatus::Paused, 0),
    ];
    let first = site.push(&amina, &batch).await;
    let applied = ["applied"; 6];
    assert_eq!(outcomes(&first)[..6], applied, "{first:?}");
    assert_eq!(outcomes(&first)[6], "superseded", "a pause does not undo an end");
    let page_of = |pulled: Value| -> PullPage { serde_json::from_value(pulled).unwrap() };
    let before = page_of(site.pull(&amina, "").await);
    let again = site.push(&amina, &batch).await;
    assert_eq!(outcomes(&again), ["duplicate"; 7]);
    let after = page_of(site.pull(&amina, "").await);
    assert_eq!(
        (&after.progress, &after.sessions, &after.answers),
        (&before.progress, &before.sessions, &before.answers)
    );

    let [progress]: [Progress; 1] = after.progress.try_into().unwrap();
    assert_eq!((progress.percent, progress.completed_at), (100, Some(now.plus_ms(-8000))), "completed stays completed");
    assert_eq!(progress.position.map(|p| (p.value, p.stamp.seq)), Some((200, 3)), "the last place is the last write's");
    let [kept]: [Session; 1] = after.sessions.try_into().unwrap();
    assert_eq!((kept.status, kept.statistics.answered), (SessionStatus::Finished, 1));
    assert_eq!(after.answers.len(), 1);
    assert_eq!(site.count("SELECT COUNT(*) FROM sync_log").await, 7, "the audit has each op once");
    assert_eq!(site.count("SELECT COUNT(*) FROM op_log").await, 7);
}

async fn one_bad_op_is_refused_alone_and_may_come_again(on: On) {
    let (site, amina, page, _) = enrolled(on).await;
    let now = site.now();
    let raw = |seq, kind: &str, entity: &str, payload: Value| RawOp {
        seq,
        kind: kind.into(),
        entity_id: entity.into(),
        at: now,
        payload,
    };
    let unknown_lesson = position(7, id(99), now, 1);
    let ops = [
        position(1, page, now, 10),
        raw(2, "progress.teleported", &page.to_string(), json!({})),
        raw(3, "progress.position", &page.to_string(), json!({ "position": "far" })),
        raw(4, "progress.position", "not an id\0\u{202e}", json!({ "position": 1, "percent": 1 })),
        raw(5, "progress.position", &page.to_string(), json!({ "position": 1, "percent": 101 })),
        raw(6, "progress.position", &page.to_string(), json!({ "position": 99_000_000, "percent": 1 })),
        unknown_lesson.clone(),
        position(8, page, now, 20),
    ];
    let results = site.push(&amina, &ops).await;
    assert_eq!(
        outcomes(&results),
        [
            "applied",
            "unsupported",
            "malformed",
            "malformed",
            "out_of_range",
            "out_of_range",
            "unknown_entity",
            "applied"
        ]
    );
    let again = site.push(&amina, std::slice::from_ref(&unknown_lesson)).await;
    assert_eq!(outcomes(&again), ["unknown_entity"], "a refusal is judged anew");
    assert_eq!(
        outcomes(&site.push(&amina, &[position(2, page, now, 30)]).await),
        ["applied"],
        "its key was not used up"
    );
    let twice = [position(9, page, now, 21), position(9, page, now, 99)];
    assert_eq!(outcomes(&site.push(&amina, &twice).await), ["applied", "key_reused"], "one key, two contents");
    let pulled = site.pull(&amina, "").await;
    assert_eq!(pulled["progress"][0]["percent"], 30, "the reused key changed nothing");
}

async fn a_restored_device_is_told_so_before_anything_of_it_is_taken(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let now = site.now();
    site.push(&amina, &[answer(1, quiz, now), position(2, page, now, 10), position(3, page, now, 20)]).await;
    // The image of the device is of a moment when op 2 was written and op 3 was not; op 4 is of before, or of after.
    let batch = [position(2, page, now, 10), completed(3, page, now), answer(4, quiz, now)];
    let request = json!({ "device_id": amina.device, "client_now": now, "ops": batch });
    let reply = site.post("/sync/push", Some(&amina), &request).await;
    assert_eq!(reply.problem(), (409, "device_seq_regressed".to_owned()));
    assert_eq!(reply.json()["known_seqs"], json!([2]), "what is here already need not come again under a new id");
    assert_eq!(reply.json()["conflicting_seqs"], json!([3]), "what can never come under its key has to");
    let pulled: PullPage = serde_json::from_value(site.pull(&amina, "").await).unwrap();
    assert_eq!((pulled.progress[0].percent, pulled.answers.len()), (20, 1), "nothing of the batch was taken");
    // What is named nowhere was not judged: it comes under its old key, and not once more from a twin of the device.
    assert_eq!(outcomes(&site.push(&amina, &[answer(4, quiz, now)]).await), ["applied"]);
    let again = site.sign_in("amina", 1900).await;
    let rekeyed = [completed(3, page, now)];
    assert_eq!(outcomes(&site.push(&again, &rekeyed).await), ["applied"], "and the other is under a new id");
    let pulled: PullPage = serde_json::from_value(site.pull(&again, "").await).unwrap();
    assert_eq!((pulled.progress[0].percent, pulled.answers.len()), (100, 2), "each once");
}

/// What a device wrote under an id that it has left behind comes under that id, whoever of the learner's devices brings it.
async fn a_device_speaks_for_its_former_id_but_for_nobody_elses(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let badr = site.learner(2, "badr").await;
    site.enrol(&badr, "rivers").await;
    let now = site.now();
    let ops = [answer(1, quiz, now), completed(2, page, now)];
    assert_eq!(outcomes(&site.push(&amina, &ops).await), ["applied"; 2]);
    let renewed = site.sign_in("amina", 1900).await;
    let former = json!({ "device_id": amina.device, "client_now": now, "ops": [ops[0], ops[1], answer(3, quiz, now)] });
    let reply = site.post("/sync/push", Some(&renewed), &former).await.ok();
    let outcome = |index: usize| reply["results"][index]["outcome"].as_str().unwrap().to_owned();
    assert_eq!(
        [outcome(0), outcome(1), outcome(2)],
        ["duplicate", "duplicate", "applied"],
        "the keys are the old ones"
    );
    // One of which the service knows nothing, since it was put back to a backup.
    let forgotten = json!({ "device_id": id::<DeviceId>(7777), "client_now": now, "ops": [answer(1, quiz, now)] });
    let reply = site.post("/sync/push", Some(&renewed), &forgotten).await.ok();
    assert_eq!(reply["results"][0]["outcome"], json!("applied"));
    for request in [&former, &forgotten] {
        assert_eq!(site.post("/sync/push", Some(&badr), request).await.problem(), (403, "forbidden".to_owned()));
    }
    let pulled: PullPage = serde_json::from_value(site.pull(&renewed, "").await).unwrap();
    assert_eq!(pulled.answers.len(), 3);
}

async fn times_of_a_wrong_clock_are_corrected_and_both_are_kept(on: On) {
    let (site, amina, page, _) = enrolled(on).await;
    let device_now = site.now().plus_ms(-3650 * DAY);
    let at = device_now.plus_ms(-5 * MINUTE);
    let request = json!({ "device_id": amina.device, "client_now": device_now, "ops": [completed(1, page, at)] });
    let reply = site.post("/sync/push", Some(&amina), &request).await.ok();
    assert_eq!((&reply["acked_through"], &reply["results"][0]["outcome"]), (&json!(1), &json!("applied")));
    let pulled: PullPage = serde_json::from_value(site.pull(&amina, "").await).unwrap();
    assert_eq!(pulled.progress[0].completed_at, Some(site.now().plus_ms(-5 * MINUTE)), "five minutes ago, here");
    assert_eq!(site.count("SELECT effective_at - device_at FROM sync_log").await, 3650 * DAY);
}

async fn work_done_while_enrolled_counts_after_the_enrolment_has_ended(on: On) {
    let (site, amina, page, _) = enrolled(on).await;
    let during = site.now().plus_ms(30 * MINUTE);
    site.pass(60 * MINUTE - 1);
    site.unenrol(&amina, "rivers").await;
    let end = site.now();
    site.pass(DAY);
    let amina = site.sign_in("amina", 1001).await;
    let late = end.plus_ms(5 * MINUTE);
    let results = site.push(&amina, &[completed(1, page, during), position(2, page, late, 50)]).await;
    assert_eq!(outcomes(&results), ["applied", "not_enrolled"]);

    let badr = site.learner(2, "badr").await;
    assert_eq!(outcomes(&site.push(&badr, &[completed(1, page, site.now())]).await), ["not_enrolled"], "never was");
}

async fn work_on_a_unit_withdrawn_meanwhile_is_not_lost(on: On) {
    let (site, amina, page, _) = enrolled(on).await;
    let course = site.course("rivers");
    course.remove("01-land");
    site.publish(&course).await;
    assert_eq!(outcomes(&site.push(&amina, &[completed(1, page, site.now())]).await), ["applied"]);
}

async fn work_on_a_lesson_removed_from_its_unit_is_not_lost(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let course = site.course("rivers");
    course.remove("01-land/01-carry.md");
    site.publish(&course).await;
    let now = site.now();
    let ops = [position(1, page, now, 40), completed(2, page, now), position(3, quiz, now, 1)];
    assert_eq!(outcomes(&site.push(&amina, &ops).await), ["applied"; 3]);
}

async fn nobody_reaches_the_rows_of_another_learner(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let badr = site.learner(2, "badr").await;
    site.enrol(&badr, "rivers").await;
    let now = site.now();
    let mark = BookmarkPut { lesson_id: page, position: 1, note: "mine".into() };
    let mine = [
        session(1, quiz, now, SessionStatus::Running, 0),
        answer(2, quiz, now),
        completed(3, page, now),
        Op::BookmarkPut(id(600), mark).encode(4, now).unwrap(),
    ];
    assert_eq!(outcomes(&site.push(&amina, &mine).await), ["applied"; 4]);
    let delete = Op::BookmarkDeleted(id(600), BookmarkDeleted { lesson_id: page }).encode(3, now).unwrap();
    let theirs = [session(1, quiz, now, SessionStatus::Abandoned, 9), answer(2, quiz, now), delete];
    assert_eq!(outcomes(&site.push(&badr, &theirs).await), ["wrong_state"; 3], "guessed ids");
    let request = json!({ "device_id": amina.device, "client_now": now, "ops": [] });
    assert_eq!(site.post("/sync/push", Some(&badr), &request).await.problem(), (403, "forbidden".to_owned()));
    let pulled: PullPage = serde_json::from_value(site.pull(&badr, "").await).unwrap();
    assert!(pulled.progress.is_empty() && pulled.sessions.is_empty() && pulled.answers.is_empty(), "{pulled:?}");
    let pulled: PullPage = serde_json::from_value(site.pull(&amina, "").await).unwrap();
    let [kept]: [Bookmark; 1] = pulled.bookmarks.try_into().unwrap();
    assert!(!kept.deleted, "amina's is as it was");
    let cursor = site.pull(&amina, "").await["cursor"].as_str().unwrap().to_owned();
    let strange = site.get(&format!("/sync/pull?cursor={cursor}"), Some(&badr)).await;
    assert_eq!(strange.problem(), (410, "cursor_expired".to_owned()), "another learner's cursor");
}

async fn pages_of_the_pull_add_up_and_only_changes_follow(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let now = site.now();
    let mut ops = vec![completed(1, page, now), session(2, quiz, now, SessionStatus::Running, 0)];
    ops.extend((3..20).map(|seq| answer(seq, quiz, now)));
    site.push(&amina, &ops).await;
    let (mut cursor, mut answers, mut pages) = (String::new(), 0, 0);
    loop {
        let page = site.get(&format!("/sync/pull?cursor={cursor}&limit=5"), Some(&amina)).await.ok();
        answers += page["answers"].as_array().unwrap().len();
        pages += 1;
        cursor = page["cursor"].as_str().unwrap().to_owned();
        if !page["has_more"].as_bool().unwrap() {
            break;
        }
    }
    assert_eq!((answers, pages), (17, 4), "19 rows, five at a time");
    let nothing = site.pull(&amina, &cursor).await;
    assert_eq!(
        (&nothing["answers"], &nothing["enrolments"], &nothing["lease"]),
        (&json!([]), &Value::Null, &Value::Null)
    );
    site.push(&amina, &[position(30, page, now, 5)]).await;
    let change = site.pull(&amina, &cursor).await;
    assert_eq!(change["progress"].as_array().unwrap().len(), 1, "the row that changed, and no other");
    assert_eq!(change["answers"], json!([]));
    let wanted = site.get(&format!("/sync/pull?lease=1&cursor={cursor}"), Some(&amina)).await.ok();
    assert!(wanted["lease"].is_object(), "a lease comes when it is asked for");

    site.unenrol(&amina, "rivers").await;
    let lost = site.pull(&amina, change["cursor"].as_str().unwrap()).await;
    assert_eq!(lost["enrolments"], json!([]), "all enrolments, which is none");
    assert!(lost["lease"].is_object(), "and a lease that says so");
    assert_eq!(lost["tombstones"][0]["entity"], "course");
}

async fn a_reader_among_many_writers_misses_nothing(on: On) {
    let (site, amina, page, quiz) = enrolled(on).await;
    let site = std::sync::Arc::new(site);
    let devices = 6_u64;
    let batches = 8_u64;
    let mut writers = Vec::new();
    for device in 0..devices {
        let who = site.sign_in("amina", 2000 + device).await;
        let site = site.clone();
        writers.push(tokio::spawn(async move {
            for batch in 0..batches {
                let first = batch * 3 + 1;
                let ops = [
                    answer(first, quiz, site.now()),
                    position(first + 1, page, site.now(), u8::try_from(first).unwrap()),
                    answer(first + 2, quiz, site.now()),
                ];
                site.push(&who, &ops).await;
            }
        }));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let writing = writers.iter().any(|writer| !writer.is_finished());
        let page = site.get(&format!("/sync/pull?cursor={cursor}&limit=3"), Some(&amina)).await.ok();
        for answer in page["answers"].as_array().unwrap() {
            seen.insert(answer["stamp"].to_string());
        }
        cursor = page["cursor"].as_str().unwrap().to_owned();
        // What was written after the last look is still to be read, so the end is judged by the look before.
        if !writing && !page["has_more"].as_bool().unwrap() {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen.len() as u64, devices * batches * 2, "every answer came by once the writers were done");
    assert_eq!(site.count("SELECT COUNT(*) FROM op_log").await.unsigned_abs(), devices * batches * 3);
}

async fn any_order_of_the_same_ops_gives_the_same_rows(on: On) {
    let orders: [[usize; 5]; 4] = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [3, 4, 0, 2, 1]];
    let mut outcomes = Vec::new();
    for order in orders {
        let (site, amina, page, quiz) = enrolled(on).await;
        let now = site.now();
        let ops = [
            position(1, page, now.plus_ms(-5000), 80),
            completed(2, page, now.plus_ms(-4000)),
            position(3, page, now.plus_ms(-3000), 10),
            session(4, quiz, now.plus_ms(-2000), SessionStatus::Finished, 2),
            session(5, quiz, now.plus_ms(-1000), SessionStatus::Abandoned, 1),
        ];
        for index in order {
            site.push(&amina, &[ops[index].clone()]).await;
            site.push(&amina, &[ops[index].clone()]).await;
        }
        let mut pulled = site.pull(&amina, "").await;
        // Every site makes its own lesson ids.
        let lessons = [page.to_string(), quiz.to_string()];
        let text = pulled["progress"].take().to_string() + &pulled["sessions"].take().to_string();
        outcomes.push(text.replace(&lessons[0], "page").replace(&lessons[1], "quiz"));
    }
    assert!(outcomes[0].contains("completed") && outcomes[0].contains("finished"), "{}", outcomes[0]);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:#?}");
}

crate::on_both_stores! {
    a_batch_sent_twice_has_its_effect_once,
    one_bad_op_is_refused_alone_and_may_come_again,
    a_restored_device_is_told_so_before_anything_of_it_is_taken,
    a_device_speaks_for_its_former_id_but_for_nobody_elses,
    times_of_a_wrong_clock_are_corrected_and_both_are_kept,
    work_done_while_enrolled_counts_after_the_enrolment_has_ended,
    work_on_a_unit_withdrawn_meanwhile_is_not_lost,
    work_on_a_lesson_removed_from_its_unit_is_not_lost,
    nobody_reaches_the_rows_of_another_learner,
    pages_of_the_pull_add_up_and_only_changes_follow,
    a_reader_among_many_writers_misses_nothing,
    any_order_of_the_same_ops_gives_the_same_rows,
}
