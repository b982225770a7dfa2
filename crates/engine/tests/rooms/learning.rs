//! Quizzes, reviews, bookmarks and statistics, on two devices of one learner and the real service.

use carrel_engine::{
    EngineError,
    learning::view::{
        AnswerQuestion, DeleteBookmark, FinishSession, PutBookmark, QuizView, RateCard, RecordPosition, RecordStudy,
        ReviewView, SessionRequest, StartQuiz, StatisticsRequest,
    },
};
use carrel_model::{
    ErrorCode, LessonId, ProfileId, TimeMs,
    content::LessonKind,
    progress::ProgressStatus,
    quiz::{Grade, Rating, Response},
    session::SessionStatus,
    time::DAY_MS,
};
use carrel_service::clock::system_clock;
use serde_json::{Value, json};

use crate::world::{Device, World, eventually};

/// A quiz of all six kinds; each question is worth its number.
fn quiz_of_every_kind(practice: bool) -> String {
    format!(
        r#"+++
kind = "quiz"
title = "Check"
passing_percent = 60
practice = {practice}
questions = [
  {{ id = "q1", kind = "single", prompt = "One?", options = [{{ id = "a", text = "A" }}, {{ id = "b", text = "B" }}], correct = "a", explanation = "so" }},
  {{ id = "q2", kind = "multiple", prompt = "Two?", options = [{{ id = "a", text = "A" }}, {{ id = "b", text = "B" }}, {{ id = "c", text = "C" }}], correct = ["a", "c"], points = 2 }},
  {{ id = "q3", kind = "order", prompt = "Three?", options = [{{ id = "x", text = "X" }}, {{ id = "y", text = "Y" }}, {{ id = "z", text = "Z" }}], correct = ["z", "x", "y"], points = 3 }},
  {{ id = "q4", kind = "match", prompt = "Four?", left = [{{ id = "l", text = "L" }}, {{ id = "m", text = "M" }}], right = [{{ id = "r", text = "R" }}, {{ id = "s", text = "S" }}], correct = {{ l = "s", m = "r" }}, points = 4 }},
  {{ id = "q5", kind = "short_text", prompt = "Five?", accept = ["silt"], points = 5 }},
  {{ id = "q6", kind = "numeric", prompt = "Six?", value = 0.4, tolerance = 0.01, unit = "m/s", points = 6 }},
]
+++
"#
    )
}

/// Right, but for the second.
fn answers() -> Vec<(&'static str, Value)> {
    vec![
        ("q1", json!({ "kind": "single", "option": "a" })),
        ("q2", json!({ "kind": "multiple", "options": ["a", "b"] })),
        ("q3", json!({ "kind": "order", "options": ["z", "x", "y"] })),
        ("q4", json!({ "kind": "match", "pairs": { "l": "s", "m": "r" } })),
        ("q5", json!({ "kind": "short_text", "text": "Silt " })),
        ("q6", json!({ "kind": "numeric", "value": "0.4" })),
    ]
}

const GRADE: Grade = Grade { answered: 6, correct: 5, points: 19, max_points: 21, passed: true };

async fn world_with(quiz: &str) -> World {
    let world = World::new().await;
    world.write(&world.course(), "01-land/02-check.md", quiz);
    world.publish().await;
    world
}

async fn start(device: &Device, learner: ProfileId, lesson_id: LessonId, again: bool) -> QuizView {
    device.engine.learning().start_quiz(learner, StartQuiz { lesson_id, again }).await.unwrap()
}

async fn answer(device: &Device, learner: ProfileId, view: &QuizView, question: &str, response: &Value) -> QuizView {
    let request = AnswerQuestion {
        session_id: view.session.as_ref().unwrap().id,
        question_id: question.to_owned(),
        response: serde_json::from_value::<Response>(response.clone()).unwrap(),
    };
    device.engine.learning().answer(learner, request).await.unwrap()
}

async fn finish(device: &Device, learner: ProfileId, view: &QuizView) -> QuizView {
    let session_id = view.session.as_ref().unwrap().id;
    device.engine.learning().finish(learner, FinishSession { session_id }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_practice_quiz_of_every_kind_is_graded_on_the_device_without_a_service() {
    let mut world = world_with(&quiz_of_every_kind(true)).await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let quiz = device.lesson(amina, LessonKind::Quiz).await.id;
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;

    let mut view = start(&device, amina, quiz, false).await;
    for (question, response) in &answers() {
        view = answer(&device, amina, &view, question, response).await;
        assert!(view.answers[*question].unsent, "kept at once");
        assert_eq!(view.answers[*question].correct, Some(*question != "q2"), "and judged at once");
    }
    let device = device.killed_and_started().await;
    let kept = device.engine.learning().quiz(amina, quiz).await.unwrap();
    assert_eq!(kept.answers, view.answers, "every answer outlives a kill");
    let view = finish(&device, amina, &kept).await;
    assert_eq!((view.grade, view.sent), (Some(GRADE), false), "graded here, and not sent yet");
    assert_eq!(view.session.unwrap().statistics.correct, 5);

    world.relay.come_back().await.unwrap();
    device.engine.sync().now(amina).await.unwrap();
    device.everything_is_sent(amina).await;
    let view = device.engine.learning().quiz(amina, quiz).await.unwrap();
    assert!(view.sent);
    assert_eq!(view.session.unwrap().grade, Some(GRADE), "the service says the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graded_quiz_is_finished_and_not_sent_until_the_service_says_its_grade() {
    let mut world = world_with(&quiz_of_every_kind(false)).await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let quiz = device.lesson(amina, LessonKind::Quiz).await.id;
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;

    let mut view = start(&device, amina, quiz, false).await;
    assert!(view.quiz.questions.iter().all(|question| !question.has_solution()), "nothing to look up");
    for (question, response) in &answers() {
        view = answer(&device, amina, &view, question, response).await;
        assert_eq!(view.answers[*question].correct, None);
    }
    let view = finish(&device, amina, &view).await;
    assert_eq!((view.grade, view.sent), (None, false));

    world.relay.come_back().await.unwrap();
    device.engine.sync().now(amina).await.unwrap();
    eventually("the grade is here", async || {
        let view = device.engine.learning().quiz(amina, quiz).await.unwrap();
        view.sent && view.grade == Some(GRADE)
    })
    .await;
    let other = world.device("phone").await;
    let same = other.signed_in(&world, "amina").await.id;
    other.everything_is_sent(same).await;
    assert_eq!(other.engine.learning().quiz(same, quiz).await.unwrap().grade, Some(GRADE), "on the other device, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiz_can_be_paused_given_up_and_begun_anew_and_every_attempt_stays() {
    let world = world_with(&quiz_of_every_kind(true)).await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let quiz = device.lesson(amina, LessonKind::Quiz).await.id;
    let learning = device.engine.learning();
    let view = start(&device, amina, quiz, false).await;
    let request = || SessionRequest { session_id: view.session.as_ref().unwrap().id };
    answer(&device, amina, &view, "q1", &answers()[0].1).await;

    assert_eq!(learning.pause(amina, request()).await.unwrap().status, SessionStatus::Paused);
    assert_eq!(learning.pause(amina, request()).await.unwrap().status, SessionStatus::Paused, "twice is no mistake");
    assert_eq!(learning.resume(amina, request()).await.unwrap().status, SessionStatus::Running);
    learning.pause(amina, request()).await.unwrap();
    let on = answer(&device, amina, &view, "q5", &answers()[4].1).await;
    assert_eq!(on.session.unwrap().status, SessionStatus::Running, "whoever answers goes on");
    assert_eq!(learning.abandon(amina, request()).await.unwrap().status, SessionStatus::Abandoned);
    assert_eq!(learning.resume(amina, request()).await.unwrap_err().code(), ErrorCode::WrongState, "an end is an end");

    let again = start(&device, amina, quiz, false).await;
    assert_eq!((again.session.as_ref().unwrap().attempt, again.answers.len()), (2, 0), "a new attempt");
    let again = finish(&device, amina, &again).await;
    let third = start(&device, amina, quiz, true).await;
    assert_eq!(third.session.unwrap().attempt, 3);
    let kept: Vec<_> = third.attempts.iter().map(|attempt| (attempt.attempt, attempt.status, attempt.grade)).collect();
    let nothing = Grade { max_points: 21, ..Grade::default() };
    assert_eq!(kept, [(2, SessionStatus::Finished, Some(nothing)), (1, SessionStatus::Abandoned, None)]);
    assert_eq!(again.attempts.len(), 1);
    device.everything_is_sent(amina).await;
    assert_eq!(world.count("SELECT COUNT(*) FROM sessions").await, 3);
    assert_eq!(world.count("SELECT COUNT(*) FROM answers").await, 2, "answers of what was given up are kept");
}

async fn rate(device: &Device, learner: ProfileId, view: &ReviewView, rating: Rating) -> ReviewView {
    let request = RateCard {
        session_id: view.session.as_ref().unwrap().id,
        question_id: view.card.as_ref().unwrap().question.id.clone(),
        rating,
    };
    device.engine.learning().rate(learner, request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_goes_through_its_cards_is_paused_and_ends_with_its_numbers() {
    let world = world_with(&quiz_of_every_kind(true)).await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let quiz = device.lesson(amina, LessonKind::Quiz).await.id;
    let learning = device.engine.learning();
    let decks = learning.decks(amina).await.unwrap().decks;
    assert_eq!((decks.len(), decks[0].cards, decks[0].due, decks[0].fresh), (1, 6, 0, 6));

    let mut view = learning.start_review(amina, quiz).await.unwrap();
    assert_eq!((view.remaining, view.card.as_ref().unwrap().question.id.as_str()), (6, "q1"));
    let first = view.clone();
    view = rate(&device, amina, &view, Rating::Again).await;
    assert_eq!(view.card.as_ref().unwrap().question.id, "q2", "what was not known comes again later");
    let pressed_twice = rate(&device, amina, &first, Rating::Again).await;
    assert_eq!(
        (pressed_twice.card.unwrap().question.id.as_str(), pressed_twice.statistics.unwrap().answered),
        ("q2", 1)
    );
    let request = || SessionRequest { session_id: first.session.as_ref().unwrap().id };
    learning.pause(amina, request()).await.unwrap();
    let device = device.killed_and_started().await;
    let paused = device.engine.learning().review(amina, quiz).await.unwrap();
    assert_eq!(paused.session.as_ref().unwrap().status, SessionStatus::Paused);
    view = device.engine.learning().start_review(amina, quiz).await.unwrap();
    let mut turned = vec!["q1".to_owned()];
    for _ in 0..20 {
        let Some(card) = &view.card else { break };
        turned.push(card.question.id.clone());
        view = rate(&device, amina, &view, Rating::Easy).await;
    }
    assert_eq!(turned, ["q1", "q2", "q3", "q4", "q5", "q6", "q1"]);
    assert_eq!(view.session.as_ref().unwrap().status, SessionStatus::Finished, "by itself, after the last card");
    let numbers = view.statistics.unwrap();
    assert_eq!((numbers.answered, numbers.correct), (7, 6));
    assert!(view.next_due_at.unwrap() > system_clock()().plus_ms(DAY_MS / 2), "and nothing is due today");
    let error = device.engine.learning().start_review(amina, quiz).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::WrongState, "there is nothing to review");
    device.everything_is_sent(amina).await;
    assert_eq!(world.count("SELECT answered FROM sessions WHERE kind = 'review'").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_that_reviewed_apart_agree_on_the_schedule() {
    let mut world = world_with(&quiz_of_every_kind(true)).await;
    let (tablet, phone) = (world.device("tablet").await, world.device("phone").await);
    let on_tablet = tablet.signed_in(&world, "amina").await.id;
    let on_phone = phone.signed_in(&world, "amina").await.id;
    let quiz = tablet.lesson(on_tablet, LessonKind::Quiz).await.id;
    phone.lesson(on_phone, LessonKind::Quiz).await;
    tablet.everything_is_sent(on_tablet).await;
    phone.everything_is_sent(on_phone).await;
    world.relay.go_down().await;
    for (device, learner, ratings) in [
        (&tablet, on_tablet, [Rating::Good, Rating::Again, Rating::Easy, Rating::Good]),
        (&phone, on_phone, [Rating::Easy, Rating::Hard, Rating::Again, Rating::Good]),
    ] {
        let mut view = device.engine.learning().start_review(learner, quiz).await.unwrap();
        for rating in ratings {
            view = rate(device, learner, &view, rating).await;
        }
        let session_id = view.session.unwrap().id;
        device.engine.learning().finish_review(learner, FinishSession { session_id }).await.unwrap();
    }
    world.relay.come_back().await.unwrap();
    for (device, learner) in [(&phone, on_phone), (&tablet, on_tablet), (&phone, on_phone)] {
        device.engine.sync().now(learner).await.unwrap();
        device.everything_is_sent(learner).await;
    }
    eventually("both devices have the same", async || {
        let one = tablet.engine.learning().decks(on_tablet).await.unwrap().decks;
        let other = phone.engine.learning().decks(on_phone).await.unwrap().decks;
        let all = world.count("SELECT COUNT(*) FROM answers").await == 8;
        phone.engine.sync().now(on_phone).await.unwrap();
        all && one == other && one[0].fresh == 2
    })
    .await;
    // Only now both are asked for what to say next, at slightly different moments: the schedule before is the same.
    let one = tablet.engine.learning().review(on_tablet, quiz).await.unwrap();
    let other = phone.engine.learning().review(on_phone, quiz).await.unwrap();
    assert_eq!((one.next_due_at, one.cards), (other.next_due_at, other.cards));
}

#[tokio::test(flavor = "multi_thread")]
async fn bookmarks_with_notes_travel_and_a_removed_one_stays_away() {
    let world = World::new().await;
    let (tablet, phone) = (world.device("tablet").await, world.device("phone").await);
    let on_tablet = tablet.signed_in(&world, "amina").await.id;
    let on_phone = phone.signed_in(&world, "amina").await.id;
    let page = tablet.lesson(on_tablet, LessonKind::Page).await.id;
    let put = |bookmark_id, position, note: &str| PutBookmark {
        bookmark_id,
        lesson_id: page,
        position,
        note: note.to_owned(),
    };
    let learning = tablet.engine.learning();
    learning.put_bookmark(on_tablet, put(None, 700, "the delta")).await.unwrap();
    let made = learning.put_bookmark(on_tablet, put(None, 200, "  ")).await.unwrap().bookmarks;
    assert_eq!(
        made.iter().map(|mark| (mark.position, mark.note.as_str())).collect::<Vec<_>>(),
        [(200, ""), (700, "the delta")]
    );
    let first = made[0].id;
    learning.put_bookmark(on_tablet, put(Some(first), 200, "the spring")).await.unwrap();
    let beyond = learning.put_bookmark(on_tablet, put(None, 99_999, "end")).await.unwrap().bookmarks;
    assert_eq!(beyond[2].position, 1_000, "what lies past the end is the end");
    let strange =
        learning.put_bookmark(on_tablet, put(Some("01900000-0000-7000-8000-000000000099".parse().unwrap()), 1, ""));
    assert!(matches!(strange.await, Err(EngineError::NotFound(_))));
    tablet.everything_is_sent(on_tablet).await;
    assert!(learning.bookmarks(on_tablet, page).await.unwrap().bookmarks.iter().all(|mark| !mark.unsent));

    let notes = async |device: &Device, learner| {
        let all = device.engine.learning().bookmarks(learner, page).await.unwrap().bookmarks;
        all.into_iter().map(|mark| mark.note).collect::<Vec<_>>()
    };
    phone.engine.sync().now(on_phone).await.unwrap();
    eventually("they are on the phone", async || notes(&phone, on_phone).await == ["the spring", "the delta", "end"])
        .await;
    let removal = || DeleteBookmark { bookmark_id: first, lesson_id: page };
    phone.engine.learning().delete_bookmark(on_phone, removal()).await.unwrap();
    phone.engine.learning().delete_bookmark(on_phone, removal()).await.unwrap();
    phone.everything_is_sent(on_phone).await;
    tablet.engine.sync().now(on_tablet).await.unwrap();
    eventually("it is gone on the tablet", async || notes(&tablet, on_tablet).await == ["the delta", "end"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_reached_elsewhere_is_told_from_one_reached_here() {
    let world = World::new().await;
    let (tablet, phone) = (world.device("tablet").await, world.device("phone").await);
    let on_tablet = tablet.signed_in(&world, "amina").await.id;
    let on_phone = phone.signed_in(&world, "amina").await.id;
    let page = tablet.lesson(on_tablet, LessonKind::Page).await.id;
    phone.lesson(on_phone, LessonKind::Page).await;
    let reached = |position, percent| RecordPosition { lesson_id: page, position, percent };
    let here = tablet.engine.learning().record_position(on_tablet, reached(300, 30)).await.unwrap();
    assert!(!here.elsewhere);
    tablet.everything_is_sent(on_tablet).await;
    let seen = async |device: &Device, learner| device.engine.catalogue().lesson(learner, page).await.unwrap().progress;
    assert!(!seen(&tablet, on_tablet).await.elsewhere, "also once it is the service's word");
    phone.engine.sync().now(on_phone).await.unwrap();
    eventually("it is on the phone", async || {
        let progress = seen(&phone, on_phone).await;
        (progress.position, progress.elsewhere) == (300, true)
    })
    .await;
    let on = phone.engine.learning().record_position(on_phone, reached(450, 45)).await.unwrap();
    assert_eq!((on.position, on.elsewhere), (450, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_what_was_done_on_all_devices_once() {
    let world = world_with(&quiz_of_every_kind(false)).await;
    let (tablet, phone) = (world.device("tablet").await, world.device("phone").await);
    let on_tablet = tablet.signed_in(&world, "amina").await.id;
    let on_phone = phone.signed_in(&world, "amina").await.id;
    let (page, quiz) =
        (tablet.lesson(on_tablet, LessonKind::Page).await.id, tablet.lesson(on_tablet, LessonKind::Quiz).await.id);
    phone.lesson(on_phone, LessonKind::Page).await;
    let study = |session, active_ms| RecordStudy { lesson_id: page, session, active_ms };
    let opening = tablet.engine.learning().study(on_tablet, study(None, 60_000)).await.unwrap();
    tablet.everything_is_sent(on_tablet).await;
    // The clock goes on while a test does not: a minute has passed and no more, whatever a player says.
    tablet.engine.learning().study(on_tablet, study(Some(opening.clone()), 999_000_000)).await.unwrap();
    tablet.engine.learning().study(on_tablet, study(Some(opening), 30_000)).await.unwrap();
    phone.engine.learning().study(on_phone, study(None, 120_000)).await.unwrap();
    let mut view = start(&tablet, on_tablet, quiz, false).await;
    for (question, response) in &answers() {
        view = answer(&tablet, on_tablet, &view, question, response).await;
    }
    finish(&tablet, on_tablet, &view).await;

    let now = system_clock()();
    let edges: Vec<TimeMs> = (-3..=1).map(|day| now.plus_ms(day * DAY_MS - DAY_MS / 2)).collect();
    let counted = async |device: &Device, learner| {
        let edges = edges.clone();
        device.engine.learning().statistics(learner, StatisticsRequest { edges }).await.unwrap()
    };
    for (device, learner) in [(&tablet, on_tablet), (&phone, on_phone)] {
        device.everything_is_sent(learner).await;
        device.engine.sync().now(learner).await.unwrap();
        eventually("everything counts", async || counted(device, learner).await.total.correct == 5).await;
        eventually("the other device's time, too", async || counted(device, learner).await.total.time_ms >= 180_000)
            .await;
        let counted = counted(device, learner).await;
        let total = counted.total;
        assert_eq!((total.answered, total.correct, total.completed), (6, 5, 1), "the grade is the service's");
        assert!((180_000..240_000).contains(&total.time_ms), "a minute here and two there: {}", total.time_ms);
        assert_eq!(counted.days.len(), 4);
        assert_eq!(counted.days[3].correct, 5, "today");
        assert!(counted.days[..3].iter().all(|day| day.time_ms == 0 && day.answered == 0), "and not before");
    }
    let backwards = StatisticsRequest { edges: edges.iter().rev().copied().collect() };
    assert!(matches!(tablet.engine.learning().statistics(on_tablet, backwards).await, Err(EngineError::Invalid(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_survives_the_replacement_of_the_lessons_asset() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    let quiz = device.lesson(amina, LessonKind::Quiz).await.id;
    let learning = device.engine.learning();
    learning.record_position(amina, RecordPosition { lesson_id: page, position: 420, percent: 42 }).await.unwrap();
    let mark = PutBookmark { bookmark_id: None, lesson_id: page, position: 420, note: "here".to_owned() };
    learning.put_bookmark(amina, mark).await.unwrap();
    let view = start(&device, amina, quiz, false).await;
    finish(&device, amina, &view).await;
    device.everything_is_sent(amina).await;
    let asset = async || {
        let lesson = device.engine.catalogue().lesson(amina, page).await.unwrap().lesson;
        let unit = world.count("SELECT COUNT(*) FROM renditions").await;
        (lesson.title, unit, world.count("SELECT MAX(seq) FROM units").await)
    };
    let before = asset().await;

    world.write(
        &world.course(),
        "01-land/01-carry.md",
        "+++\nkind = \"page\"\ntitle = \"What a river carries with it\"\n+++\nAn entirely new text, and much longer than the old one.\n",
    );
    world.publish().await;
    device.engine.catalogue().refresh(amina).await.unwrap();
    assert_ne!(asset().await, before, "the asset is another one");
    let device = device.killed_and_started().await;
    let lesson = device.engine.catalogue().lesson(amina, page).await.unwrap();
    assert_eq!(lesson.lesson.title, "What a river carries with it");
    assert_eq!((lesson.progress.position, lesson.progress.percent), (420, 42));
    assert_eq!(
        device.engine.playback().open(amina, page).await.unwrap().resume_position,
        420,
        "and the player opens there"
    );
    assert_eq!(device.engine.learning().bookmarks(amina, page).await.unwrap().bookmarks.len(), 1);
    let quiz = device.engine.catalogue().lesson(amina, quiz).await.unwrap();
    assert_eq!(quiz.progress.status, ProgressStatus::Completed);
}
