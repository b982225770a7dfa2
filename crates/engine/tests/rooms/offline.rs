//! What is done without a service is kept, shown at once, and arrives once.

use carrel_engine::{
    Engine,
    learning::view::{AnswerQuestion, CompleteLesson, FinishSession, RecordPosition, StartQuiz},
    outbox::view::OutboxState,
    sync::view::SyncNowOutcome,
};
use carrel_model::{
    LessonId, ProfileId, content::LessonKind, progress::ProgressStatus, quiz::Response, session::SessionStatus,
};

use crate::world::{World, eventually};

/// Reads a page to the end and takes the quiz, with one answer corrected.
async fn work(engine: &Engine, profile: ProfileId, page: LessonId, quiz: LessonId) {
    let learning = engine.learning();
    for (position, percent) in [(100, 10), (900, 90), (200, 20)] {
        learning.record_position(profile, RecordPosition { lesson_id: page, position, percent }).await.unwrap();
    }
    learning.complete(profile, CompleteLesson { lesson_id: page }).await.unwrap();
    let started = learning.start_quiz(profile, StartQuiz { lesson_id: quiz, again: false }).await.unwrap();
    let session_id = started.session.unwrap().id;
    let single = |option: &str| Response::Single { option: option.to_owned() };
    let text = |text: &str| Response::ShortText { text: text.to_owned() };
    for (question, response) in [("q1", single("b")), ("q1", single("a")), ("q1", single("a")), ("q2", text("sand"))] {
        let answer = AnswerQuestion { session_id, question_id: question.to_owned(), response };
        learning.answer(profile, answer).await.unwrap();
    }
    learning.finish(profile, FinishSession { session_id }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_offline_survives_a_kill_and_arrives_exactly_once() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let (page, quiz) =
        (device.lesson(amina, LessonKind::Page).await.id, device.lesson(amina, LessonKind::Quiz).await.id);
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;

    work(&device.engine, amina, page, quiz).await;
    let before = device.engine.learning().quiz(amina, quiz).await.unwrap();
    assert_eq!(before.answers["q1"].correct, Some(true), "graded at once");
    assert_eq!(before.answers["q2"].correct, Some(false));
    assert!(before.answers["q1"].unsent && !before.sent, "and said not to be sent");
    let waiting = device.engine.outbox().list(amina).await.unwrap();
    let kinds: Vec<String> = waiting.entries.iter().map(|entry| entry.op.unwrap().to_string()).collect();
    assert_eq!(
        kinds,
        [
            "progress.position",
            "progress.completed",
            "session.started",
            "answer.recorded",
            "answer.recorded",
            "answer.recorded",
            "session.finished",
            "progress.completed"
        ],
        "places coalesced, a repeated answer left out, oldest first"
    );
    assert_eq!(waiting.entries[0].position, Some(200), "the last place");

    let device = device.killed_and_started().await;
    assert_eq!(device.engine.learning().quiz(amina, quiz).await.unwrap(), before, "nothing is lost");
    let asked = device.engine.sync().now(amina).await.unwrap();
    assert_ne!(asked.outcome, SyncNowOutcome::SignInNeeded, "still signed in");
    assert_eq!(device.sync(amina).await.waiting, 8);

    world.relay.come_back().await.unwrap();
    device.everything_is_sent(amina).await;
    for (sql, expected) in [
        ("SELECT count(*) FROM op_log", 8),
        ("SELECT count(*) FROM op_log WHERE outcome = 'applied'", 8),
        ("SELECT count(*) FROM answers", 3),
        ("SELECT count(*) FROM progress WHERE status = 'completed'", 2),
    ] {
        assert_eq!(world.count(sql).await, expected, "{sql}");
    }
    let after = device.engine.learning().quiz(amina, quiz).await.unwrap();
    assert!(after.sent, "the receipt");
    assert_eq!(after.session.unwrap().status, SessionStatus::Finished);
    let card = device.lesson(amina, LessonKind::Page).await;
    assert_eq!((card.progress.status, card.progress.percent), (ProgressStatus::Completed, 100));
    assert_eq!(card.progress.position, 200, "the last place is where to go on");
    assert!(!card.progress.unsent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_after_the_service_committed_leaves_no_duplicates() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let (page, quiz) =
        (device.lesson(amina, LessonKind::Page).await.id, device.lesson(amina, LessonKind::Quiz).await.id);
    device.everything_is_sent(amina).await;

    world.swallow_answers(true);
    work(&device.engine, amina, page, quiz).await;
    eventually("the service has something", async || world.count("SELECT count(*) FROM op_log").await > 0).await;
    world.relay.go_down().await;
    assert!(device.sync(amina).await.waiting > 0, "the app doesn't know it");
    let sent = world.count("SELECT count(*) FROM op_log").await;

    let device = device.killed_and_started().await;
    assert!(
        device.engine.outbox().list(amina).await.unwrap().entries.iter().all(|e| e.state == OutboxState::Waiting),
        "nothing is under way"
    );
    world.swallow_answers(false);
    world.relay.come_back().await.unwrap();
    device.everything_is_sent(amina).await;
    let all = world.count("SELECT count(*) FROM op_log").await;
    assert!(all >= sent, "{all} of {sent}");
    assert_eq!(world.count("SELECT count(*) FROM (SELECT DISTINCT device_id, op_seq FROM op_log)").await, all);
    assert_eq!(world.count("SELECT count(*) FROM answers").await, 3, "each answer once");
    assert_eq!(world.count("SELECT count(*) FROM sync_log WHERE outcome = 'rejected'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_device_of_the_learner_sees_it_and_can_not_undo_it() {
    let world = World::new().await;
    let (tablet, laptop) = (world.device("tablet").await, world.device("laptop").await);
    let on_tablet = tablet.signed_in(&world, "amina").await.id;
    let on_laptop = laptop.signed_in(&world, "amina").await.id;
    let page = tablet.lesson(on_tablet, LessonKind::Page).await.id;
    laptop.lesson(on_laptop, LessonKind::Page).await;

    tablet.engine.learning().complete(on_tablet, CompleteLesson { lesson_id: page }).await.unwrap();
    tablet.everything_is_sent(on_tablet).await;
    let place = RecordPosition { lesson_id: page, position: 300, percent: 30 };
    laptop.engine.learning().record_position(on_laptop, place).await.unwrap();
    laptop.everything_is_sent(on_laptop).await;
    let seen = laptop.lesson(on_laptop, LessonKind::Page).await.progress;
    assert_eq!((seen.status, seen.position), (ProgressStatus::Completed, 300), "done, and the later place");

    tablet.engine.sync().now(on_tablet).await.unwrap();
    eventually("the place arrives", async || tablet.lesson(on_tablet, LessonKind::Page).await.progress.position == 300)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_learners_of_one_device_are_apart() {
    let world = World::new().await;
    world.learner("badr", 2).await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    let badr = device.signed_in(&world, "badr").await.id;
    let seen = device.lesson(badr, LessonKind::Page).await.progress;
    assert_eq!(seen.status, ProgressStatus::NotStarted, "what one did is not the other's");
    assert_eq!(device.engine.access().current().await.unwrap().unwrap().id, badr);
    device.everything_is_sent(amina).await;
    assert_eq!(world.count("SELECT count(*) FROM progress").await, 1, "sent while another one learns, as amina's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_refuses_is_kept_until_the_learner_decides() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    // The service forgets the lesson as if it had been restored from a backup without it.
    world.meddle(&format!("UPDATE lessons SET lesson_id = 'gone' WHERE lesson_id = '{page}'")).await;
    world.relay.come_back().await.unwrap();
    eventually("it is refused", async || device.sync(amina).await.refused == 1).await;
    let entry = device.engine.outbox().list(amina).await.unwrap().entries.remove(0);
    assert_eq!(entry.state, OutboxState::Refused);
    assert_eq!(entry.rejected, Some(carrel_model::op::RejectCode::UnknownEntity));
    let file = device.engine.outbox().export(amina).await.unwrap();
    assert!(file.content.contains(&page.to_string()), "it can be taken out");

    let request = carrel_engine::outbox::view::OutboxRequest { seq: entry.seq };
    device.engine.outbox().retry(amina, request.clone()).await.unwrap();
    eventually("it is refused again", async || device.sync(amina).await.refused == 1).await;
    let left = device.engine.outbox().discard(amina, request).await.unwrap();
    assert!(left.entries.is_empty(), "gone by choice");
}
