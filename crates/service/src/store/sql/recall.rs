//! Recalling all that bears on a batch: one statement for each kind of thing, whatever the number of ops.

use std::collections::{BTreeSet, HashMap};

use carrel_model::{
    CourseId, SessionId, TimeMs,
    op::LessonFacts,
    session::{Session, SessionKind, SessionStatus},
};

use super::{Spelled, Transaction, Value, learning, values};
use crate::{
    rules::{Known, Logged, Mentioned, Period, last_day},
    store::{Caller, StoreError},
};

pub(in crate::store) const LOGGED: Spelled = Spelled {
    sqlite: "SELECT op_seq, content_hash, outcome FROM op_log
             WHERE device_id = $1 AND op_seq IN (SELECT value FROM json_each($2))",
    postgres: "SELECT op_seq, content_hash, outcome FROM op_log WHERE device_id = $1 AND op_seq = ANY($2)",
};
pub(in crate::store) const LESSONS: Spelled = Spelled {
    sqlite: "SELECT l.lesson_id, l.course_id, l.max_position, c.open
             FROM lessons l JOIN courses c ON c.course_id = l.course_id
             WHERE l.lesson_id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT l.lesson_id, l.course_id, l.max_position, c.open
               FROM lessons l JOIN courses c ON c.course_id = l.course_id WHERE l.lesson_id = ANY($1)",
};
pub(in crate::store) const PERIODS: &str =
    "SELECT course_id, expires_at, ended_at FROM enrolments WHERE learner_id = $1";
pub(in crate::store) const UNITS: Spelled = Spelled {
    sqlite: "SELECT unit_id FROM units WHERE unit_id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT unit_id FROM units WHERE unit_id = ANY($1)",
};
pub(in crate::store) const SESSIONS: Spelled = Spelled {
    sqlite:
        "SELECT learner_id, session_id, lesson_id, attempt, kind, status, status_at, status_device_id, status_op_seq,
                    started_at, ended_at, answered, correct, points, max_points, duration_ms, grade
             FROM sessions WHERE session_id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT learner_id, session_id, lesson_id, attempt, kind, status, status_at, status_device_id,
                      status_op_seq, started_at, ended_at, answered, correct, points, max_points, duration_ms, grade
               FROM sessions WHERE session_id = ANY($1)",
};
/// Everything that was ever answered in these sessions.
pub(in crate::store) const ANSWERS_IN: Spelled = Spelled {
    sqlite: "SELECT device_id, op_seq, session_id, lesson_id, question_id, response, answered_at
             FROM answers WHERE session_id IN (SELECT value FROM json_each($1)) AND learner_id = $2",
    postgres: "SELECT device_id, op_seq, session_id, lesson_id, question_id, response, answered_at
               FROM answers WHERE session_id = ANY($1) AND learner_id = $2",
};
/// With their solutions. A quiz that was withdrawn can still be graded.
pub(in crate::store) const QUIZZES: Spelled = Spelled {
    sqlite: "SELECT lesson_id, quiz FROM lessons
             WHERE lesson_id IN (SELECT value FROM json_each($1)) AND quiz IS NOT NULL",
    postgres: "SELECT lesson_id, quiz FROM lessons WHERE lesson_id = ANY($1) AND quiz IS NOT NULL",
};
pub(in crate::store) const BOOKMARKS: Spelled = Spelled {
    sqlite: "SELECT learner_id, bookmark_id, lesson_id, position, note, deleted, written_at, device_id, op_seq
             FROM bookmarks WHERE bookmark_id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT learner_id, bookmark_id, lesson_id, position, note, deleted, written_at, device_id, op_seq
               FROM bookmarks WHERE bookmark_id = ANY($1)",
};
pub(in crate::store) const DOWNLOADS: Spelled = Spelled {
    sqlite: "SELECT download_id, learner_id, device_id, reported_at, op_seq
             FROM downloads WHERE download_id IN (SELECT value FROM json_each($1))",
    postgres: "SELECT download_id, learner_id, device_id, reported_at, op_seq FROM downloads WHERE download_id = ANY($1)",
};
/// All attempts at once: nobody has many.
pub(in crate::store) const PROGRESS: Spelled = Spelled {
    sqlite: "SELECT lesson_id, attempt, status, percent, completed_at, position, position_at, position_device_id,
                    position_op_seq
             FROM progress WHERE learner_id = $1 AND lesson_id IN (SELECT value FROM json_each($2))
             AND attempt IN (SELECT value FROM json_each($3))",
    postgres: "SELECT lesson_id, attempt, status, percent, completed_at, position, position_at, position_device_id,
                      position_op_seq
               FROM progress WHERE learner_id = $1 AND lesson_id = ANY($2) AND attempt = ANY($3)",
};

/// What the log has of these keys.
pub(super) async fn logged(
    tx: &mut dyn Transaction,
    caller: Caller,
    mentioned: &Mentioned,
) -> Result<HashMap<u64, Logged>, StoreError> {
    let keys = Value::Ints(mentioned.keys.iter().map(|key| super::value::signed(*key)).collect());
    let rows = tx.rows_of(&LOGGED, values![caller.device, keys]).await?;
    rows.iter()
        .map(|row| {
            let content_hash =
                row.bytes("content_hash")?.try_into().map_err(|_| StoreError::Damaged("content_hash"))?;
            Ok((row.number("op_seq")?, Logged { content_hash, refused: row.text("outcome")? == "rejected" }))
        })
        .collect()
}

/// Everything else that a batch's ops are judged by.
pub(super) async fn all(
    tx: &mut dyn Transaction,
    caller: Caller,
    mentioned: &Mentioned,
    logged: HashMap<u64, Logged>,
) -> Result<Known, StoreError> {
    let mut known = Known { logged, ..Known::default() };
    if !mentioned.lessons.is_empty() {
        lessons(tx, caller, mentioned, &mut known).await?;
    }
    if !mentioned.units.is_empty() {
        for row in tx.rows_of(&UNITS, values![Value::among(&mentioned.units)]).await? {
            known.units.insert(row.word("unit_id")?);
        }
    }
    if !mentioned.progress.is_empty() {
        let lessons = Value::among(mentioned.progress.iter().map(|(lesson, _)| lesson));
        let attempts = Value::Ints(mentioned.progress.iter().map(|(_, attempt)| i64::from(*attempt)).collect());
        for row in tx.rows_of(&PROGRESS, values![caller.learner, lessons, attempts]).await? {
            let progress = learning::progress_of(&row)?;
            known.progress.insert((progress.lesson_id, progress.attempt), progress);
        }
    }
    if !mentioned.sessions.is_empty() {
        for row in tx.rows_of(&SESSIONS, values![Value::among(&mentioned.sessions)]).await? {
            let session = learning::session_of(&row)?;
            known.sessions.insert(session.id, (row.word("learner_id")?, session));
        }
        quizzes(tx, caller, mentioned, &mut known).await?;
    }
    if !mentioned.bookmarks.is_empty() {
        for row in tx.rows_of(&BOOKMARKS, values![Value::among(&mentioned.bookmarks)]).await? {
            let bookmark = learning::bookmark_of(&row)?;
            known.bookmarks.insert(bookmark.id, (row.word("learner_id")?, bookmark));
        }
    }
    if !mentioned.downloads.is_empty() {
        for row in tx.rows_of(&DOWNLOADS, values![Value::among(&mentioned.downloads)]).await? {
            let stamp = row.stamp("reported_at", "device_id", "op_seq")?;
            known.downloads.insert(row.word("download_id")?, (row.word("learner_id")?, stamp));
        }
    }
    Ok(known)
}

async fn lessons(
    tx: &mut dyn Transaction,
    caller: Caller,
    mentioned: &Mentioned,
    known: &mut Known,
) -> Result<(), StoreError> {
    let mut courses: HashMap<CourseId, bool> = HashMap::new();
    for row in tx.rows_of(&LESSONS, values![Value::among(&mentioned.lessons)]).await? {
        let course: CourseId = row.word("course_id")?;
        courses.insert(course, row.flag("open")?);
        let facts = LessonFacts { max_position: row.number_or_none("max_position")? };
        known.lessons.insert(row.word("lesson_id")?, (course, facts));
    }
    let mut periods: HashMap<CourseId, Vec<Period>> = HashMap::new();
    for row in tx.rows(PERIODS, values![caller.learner]).await? {
        let period = Period { expires_at: row.time_or_none("expires_at")?, ended_at: row.time_or_none("ended_at")? };
        periods.entry(row.word("course_id")?).or_default().push(period);
    }
    known.last_days = courses
        .into_iter()
        .filter_map(|(course, open)| {
            let end: Option<Option<TimeMs>> = last_day(open, periods.get(&course).map_or(&[], Vec::as_slice));
            end.map(|end| (course, end))
        })
        .collect();
    Ok(())
}

/// What finished quizzes are graded by; most batches have none.
async fn quizzes(
    tx: &mut dyn Transaction,
    caller: Caller,
    mentioned: &Mentioned,
    known: &mut Known,
) -> Result<(), StoreError> {
    let over = known.sessions.values().map(|(_, session)| session).filter(|session| is_handed_in(session));
    let sessions: BTreeSet<SessionId> =
        over.map(|session| session.id).chain(mentioned.handed_in.iter().copied()).collect();
    if sessions.is_empty() {
        return Ok(());
    }
    for row in tx.rows_of(&QUIZZES, values![Value::among(&mentioned.lessons)]).await? {
        known.quizzes.insert(row.word("lesson_id")?, row.json("quiz")?);
    }
    for row in tx.rows_of(&ANSWERS_IN, values![Value::among(&sessions), caller.learner]).await? {
        let answer = learning::answer_of(&row)?;
        known.answers.entry(answer.session_id).or_default().push(answer);
    }
    Ok(())
}

fn is_handed_in(session: &Session) -> bool {
    session.kind == SessionKind::Quiz && session.status == SessionStatus::Finished
}
