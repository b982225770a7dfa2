//! Graded quizzes: their solutions stay with the service, and their grades come from it.

use carrel_model::{
    LessonId, TimeMs,
    op::{Op, RawOp},
    quiz::{Grade, Response},
    session::{AnswerRecorded, Session, SessionKind, SessionMoved, SessionStatus, Statistics},
    wire::sync::PullPage,
};
use serde_json::Value;

use crate::site::{On, START, SignedIn, Site, id, lesson};

const QUIZ: &str = r#"+++
kind = "quiz"
title = "Check"
passing_percent = 60
practice = false
questions = [
  { id = "q1", kind = "single", prompt = "?", options = [{ id = "a", text = "A" }, { id = "b", text = "B" }], correct = "a", explanation = "secret one" },
  { id = "q2", kind = "multiple", prompt = "?", options = [{ id = "a", text = "A" }, { id = "b", text = "B" }, { id = "c", text = "C" }], correct = ["a", "c"], points = 2 },
  { id = "q3", kind = "order", prompt = "?", options = [{ id = "x", text = "X" }, { id = "y", text = "Y" }, { id = "z", text = "Z" }], correct = ["x", "y", "z"], points = 3 },
  { id = "q4", kind = "match", prompt = "?", left = [{ id = "l", text = "L" }, { id = "m", text = "M" }], right = [{ id = "r", text = "R" }, { id = "s", text = "S" }], correct = { l = "s", m = "r" }, points = 4 },
  { id = "q5", kind = "short_text", prompt = "?", accept = ["secret silt"], points = 5 },
  { id = "q6", kind = "numeric", prompt = "?", value = 41.75, tolerance = 0.25, unit = "m", points = 6 },
]
+++
"#;

async fn a_quiz(on: On, text: &str) -> (Site, SignedIn, LessonId) {
    let site = Site::new(on).await;
    let course = site.course("rivers");
    course.write("01-land/02-check.md", text);
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    site.enrol(&amina, "rivers").await;
    let quiz = lesson(&site, &amina, "Check").await;
    (site, amina, quiz)
}

fn answer(seq: u64, quiz: LessonId, at: TimeMs, question: &str, response: Value) -> RawOp {
    let response: Response = serde_json::from_value(response).unwrap();
    let recorded = AnswerRecorded { lesson_id: quiz, question_id: question.to_owned(), response };
    Op::Answer(id(500), recorded).encode(seq, at).unwrap()
}

fn moved(seq: u64, quiz: LessonId, at: TimeMs, status: SessionStatus) -> RawOp {
    // A device that claims to know better is not believed.
    let statistics = Statistics { answered: 6, correct: 6, points: 21, max_points: 21, duration_ms: 1 };
    let started_at = TimeMs::from_ms(START);
    let moved = SessionMoved { lesson_id: quiz, attempt: 1, kind: SessionKind::Quiz, started_at, statistics };
    Op::Session(id(500), status, moved).encode(seq, at).unwrap()
}

/// Five right ones of six, worth 15 of 21 points.
fn answers(quiz: LessonId, now: TimeMs) -> Vec<RawOp> {
    let at = |ms: i64| now.plus_ms(ms - 60_000);
    vec![
        moved(1, quiz, at(0), SessionStatus::Running),
        answer(2, quiz, at(1), "q1", serde_json::json!({ "kind": "single", "option": "b" })),
        answer(3, quiz, at(2), "q2", serde_json::json!({ "kind": "multiple", "options": ["c", "a"] })),
        answer(4, quiz, at(3), "q3", serde_json::json!({ "kind": "order", "options": ["x", "y", "z"] })),
        answer(5, quiz, at(4), "q4", serde_json::json!({ "kind": "match", "pairs": { "l": "s", "m": "r" } })),
        answer(6, quiz, at(5), "q5", serde_json::json!({ "kind": "short_text", "text": " Secret  SILT" })),
        answer(7, quiz, at(6), "q6", serde_json::json!({ "kind": "numeric", "value": "43" })),
        // Thought better of.
        answer(8, quiz, at(7), "q1", serde_json::json!({ "kind": "single", "option": "a" })),
        moved(9, quiz, at(8), SessionStatus::Finished),
        // After it was handed in.
        answer(10, quiz, at(9), "q6", serde_json::json!({ "kind": "numeric", "value": "41.75" })),
    ]
}

const GRADE: Grade = Grade { answered: 6, correct: 5, points: 15, max_points: 21, passed: true };

async fn session(site: &Site, who: &SignedIn) -> Session {
    let mut page: PullPage = serde_json::from_value(site.pull(who, "").await).unwrap();
    assert_eq!(page.sessions.len(), 1);
    page.sessions.remove(0)
}

async fn every_kind_of_question_is_graded_once_the_quiz_is_handed_in(on: On) {
    let (site, amina, quiz) = a_quiz(on, QUIZ).await;
    let ops = answers(quiz, site.now());
    site.push(&amina, &ops[..8]).await;
    assert_eq!(session(&site, &amina).await.grade, None, "not before it is handed in");
    site.push(&amina, &ops[8..]).await;
    assert_eq!(session(&site, &amina).await.grade, Some(GRADE));
}

async fn a_grade_is_the_same_in_whatever_order_and_pieces_the_answers_come(on: On) {
    let orders: [&[usize]; 5] = [
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
        &[8, 0, 2, 4, 6, 1, 3, 5, 7, 9],
        &[5, 8, 3, 9, 0, 7, 1, 6, 2, 4],
        &[2, 8, 8, 4, 6, 9, 1, 3, 5, 7, 0, 4],
    ];
    for (order, piece) in orders.into_iter().zip([1, 2, 3, 4, 5]) {
        let (site, amina, quiz) = a_quiz(on, QUIZ).await;
        let ops = answers(quiz, site.now());
        let mut cursor = String::new();
        let mut seen = None;
        for some in order.chunks(piece) {
            site.push(&amina, &some.iter().map(|place| ops[*place].clone()).collect::<Vec<_>>()).await;
            // A reader that follows step by step, one row at a time, sees every change of the grade.
            loop {
                let page = site.get(&format!("/sync/pull?limit=1&cursor={cursor}"), Some(&amina)).await.ok();
                let page: PullPage = serde_json::from_value(page).unwrap();
                cursor = page.cursor;
                seen = page.sessions.into_iter().next().or(seen);
                if !page.has_more {
                    break;
                }
            }
        }
        assert_eq!(session(&site, &amina).await.grade, Some(GRADE), "{order:?}");
        assert_eq!(seen.unwrap().grade, Some(GRADE), "and whoever followed has it: {order:?}");
    }
}

async fn solutions_of_graded_quizzes_never_leave_the_service(on: On) {
    let (site, amina, quiz) = a_quiz(on, QUIZ).await;
    let units = site.get("/content/units?scope=mine", Some(&amina)).await;
    let unit = units.json()["units"][0]["id"].as_str().unwrap().to_owned();
    let answers = [
        units,
        site.get(&format!("/content/units/{unit}"), Some(&amina)).await,
        site.get("/content/units/sync", Some(&amina)).await,
        site.post("/downloads/authorize", Some(&amina), &serde_json::json!({ "unit_id": unit, "quality": "low" }))
            .await,
    ];
    for answer in answers {
        let text = String::from_utf8(answer.bytes).unwrap();
        for secret in ["correct", "accept", "secret", "41.75", "tolerance", "[\"x\",\"y\",\"z\"]"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let (_, cursor) = site.units_sync(&amina, "", 100).await;
    let course = site.course("rivers");
    course.write("01-land/02-check.md", QUIZ);
    let again = site.publish(&course).await;
    assert_eq!(again.units_unchanged, 1, "what is kept is whole, so nothing seems to have changed: {again:?}");
    assert!(site.units_sync(&amina, &cursor, 100).await.0["units"].as_array().unwrap().is_empty());
    assert_eq!(lesson(&site, &amina, "Check").await, quiz);
}

async fn practice_comes_with_its_solutions_and_is_graded_by_the_service_too(on: On) {
    let (site, amina, quiz) = a_quiz(on, &QUIZ.replace("practice = false\n", "")).await;
    let text = String::from_utf8(site.get("/content/units?scope=mine", Some(&amina)).await.bytes).unwrap();
    assert!(text.contains("secret silt") && text.contains("41.75"), "{text}");
    site.push(&amina, &answers(quiz, site.now())).await;
    assert_eq!(session(&site, &amina).await.grade, Some(GRADE));
}

async fn a_quiz_withdrawn_meanwhile_is_graded_all_the_same(on: On) {
    let (site, amina, quiz) = a_quiz(on, QUIZ).await;
    let course = site.course("rivers");
    course.remove("01-land/02-check.md");
    site.publish(&course).await;
    site.push(&amina, &answers(quiz, site.now())).await;
    assert_eq!(session(&site, &amina).await.grade, Some(GRADE));
}

crate::on_both_stores! {
    every_kind_of_question_is_graded_once_the_quiz_is_handed_in,
    a_grade_is_the_same_in_whatever_order_and_pieces_the_answers_come,
    solutions_of_graded_quizzes_never_leave_the_service,
    practice_comes_with_its_solutions_and_is_graded_by_the_service_too,
    a_quiz_withdrawn_meanwhile_is_graded_all_the_same,
}
