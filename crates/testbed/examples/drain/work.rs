//! What the learner does until enough writes wait.

use carrel_testbed::browser::Browser;
use serde_json::{Value, json};

use super::Failure;
use crate::site::QUESTION;

/// Calls a command that must succeed.
pub(crate) async fn ask(browser: &Browser, command: &str, request: &Value) -> Result<Value, Failure> {
    let (status, answer) = browser.call(command, request).await?;
    if status == 200 { Ok(answer) } else { Err(format!("{command}: {status} {answer}").into()) }
}

/// Works through the course from its beginning; gives the number of writes that wait in the end.
pub(crate) async fn work(browser: &Browser, writes: u64) -> Result<u64, Failure> {
    let library = ask(browser, "catalogue_library", &Value::Null).await?;
    let units = library.pointer("/courses/0/units").and_then(Value::as_array).ok_or("the course has no units")?;
    for unit in units {
        let view = ask(browser, "catalogue_unit", &json!({ "unit_id": unit.get("id") })).await?;
        for lesson in view.get("lessons").and_then(Value::as_array).into_iter().flatten() {
            let id = lesson.get("id").cloned().unwrap_or_default();
            if lesson.get("kind").is_some_and(|kind| kind == "quiz") {
                quiz(browser, &id).await?;
            } else {
                ask(browser, "learning_complete", &json!({ "lesson_id": id })).await?;
            }
        }
        let waiting = waiting(browser).await?;
        if waiting >= writes {
            return Ok(waiting);
        }
    }
    waiting(browser).await
}

async fn quiz(browser: &Browser, lesson: &Value) -> Result<(), Failure> {
    let view = ask(browser, "learning_start_quiz", &json!({ "lesson_id": lesson, "again": false })).await?;
    let session = view.pointer("/session/id").cloned().ok_or("no session")?;
    let questions = view.pointer("/quiz/questions").and_then(Value::as_array).map_or(0, Vec::len);
    for question in 0..questions {
        let text = format!("what river number {question} carries is {session}");
        let answer = json!({
            "session_id": session, "question_id": format!("{QUESTION}{question}"),
            "response": { "kind": "short_text", "text": text },
        });
        ask(browser, "learning_answer", &answer).await?;
    }
    ask(browser, "learning_finish", &json!({ "session_id": session })).await?;
    Ok(())
}

async fn waiting(browser: &Browser) -> Result<u64, Failure> {
    let status = ask(browser, "sync_status", &Value::Null).await?;
    Ok(status.get("waiting").and_then(Value::as_u64).unwrap_or(0))
}
