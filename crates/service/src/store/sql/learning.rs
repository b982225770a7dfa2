//! Learners' own rows: reading them, and putting back what a join made of them.

use carrel_model::{
    DownloadId, LearnerId,
    bookmark::Bookmark,
    op::DownloadReported,
    progress::{Position, Progress},
    session::{Answer, Session, Statistics},
    stamp::Stamp,
};

use super::{Insert, Kind, Row, Value, row::to_json, values};
use crate::store::StoreError;

/// Progress, joined with what was there.
pub(super) const PUT_PROGRESS: Insert = Insert {
    table: "progress",
    columns: &[
        ("learner_id", Kind::Text),
        ("lesson_id", Kind::Text),
        ("attempt", Kind::Int),
        ("status", Kind::Text),
        ("percent", Kind::Int),
        ("completed_at", Kind::Int),
        ("position", Kind::Int),
        ("position_at", Kind::Int),
        ("position_device_id", Kind::Text),
        ("position_op_seq", Kind::Int),
        ("seq", Kind::Int),
    ],
    then: "ON CONFLICT (learner_id, lesson_id, attempt) DO UPDATE SET
               status = excluded.status, percent = excluded.percent, completed_at = excluded.completed_at,
               position = excluded.position, position_at = excluded.position_at,
               position_device_id = excluded.position_device_id, position_op_seq = excluded.position_op_seq,
               seq = excluded.seq",
};

/// Sessions, joined with what was there. A session of somebody else stays as it is.
pub(super) const PUT_SESSIONS: Insert = Insert {
    table: "sessions",
    columns: &[
        ("session_id", Kind::Text),
        ("learner_id", Kind::Text),
        ("lesson_id", Kind::Text),
        ("attempt", Kind::Int),
        ("kind", Kind::Text),
        ("status", Kind::Text),
        ("status_at", Kind::Int),
        ("status_device_id", Kind::Text),
        ("status_op_seq", Kind::Int),
        ("started_at", Kind::Int),
        ("ended_at", Kind::Int),
        ("answered", Kind::Int),
        ("correct", Kind::Int),
        ("points", Kind::Int),
        ("max_points", Kind::Int),
        ("duration_ms", Kind::Int),
        ("grade", Kind::Text),
        ("seq", Kind::Int),
    ],
    then: "ON CONFLICT (session_id) DO UPDATE SET
               lesson_id = excluded.lesson_id, attempt = excluded.attempt, kind = excluded.kind,
               status = excluded.status, status_at = excluded.status_at, status_device_id = excluded.status_device_id,
               status_op_seq = excluded.status_op_seq, started_at = excluded.started_at, ended_at = excluded.ended_at,
               answered = excluded.answered, correct = excluded.correct, points = excluded.points,
               max_points = excluded.max_points, duration_ms = excluded.duration_ms,
               grade = excluded.grade, seq = excluded.seq
           WHERE sessions.learner_id = excluded.learner_id",
};

/// Answers, appended.
pub(super) const APPEND_ANSWERS: Insert = Insert {
    table: "answers",
    columns: &[
        ("device_id", Kind::Text),
        ("op_seq", Kind::Int),
        ("learner_id", Kind::Text),
        ("session_id", Kind::Text),
        ("lesson_id", Kind::Text),
        ("question_id", Kind::Free),
        ("response", Kind::Text),
        ("answered_at", Kind::Int),
        ("seq", Kind::Int),
    ],
    then: "",
};

/// Bookmarks, joined with what was there. A bookmark of somebody else stays as it is.
pub(super) const PUT_BOOKMARKS: Insert = Insert {
    table: "bookmarks",
    columns: &[
        ("bookmark_id", Kind::Text),
        ("learner_id", Kind::Text),
        ("lesson_id", Kind::Text),
        ("position", Kind::Int),
        ("note", Kind::Free),
        ("deleted", Kind::Flag),
        ("written_at", Kind::Int),
        ("device_id", Kind::Text),
        ("op_seq", Kind::Int),
        ("seq", Kind::Int),
    ],
    then: "ON CONFLICT (bookmark_id) DO UPDATE SET
               lesson_id = excluded.lesson_id, position = excluded.position, note = excluded.note,
               deleted = excluded.deleted, written_at = excluded.written_at, device_id = excluded.device_id,
               op_seq = excluded.op_seq, seq = excluded.seq
           WHERE bookmarks.learner_id = excluded.learner_id",
};

/// Reports of downloads, the later of two. A download of somebody else stays as it is.
pub(super) const PUT_DOWNLOADS: Insert = Insert {
    table: "downloads",
    columns: &[
        ("download_id", Kind::Text),
        ("learner_id", Kind::Text),
        ("device_id", Kind::Text),
        ("unit_id", Kind::Text),
        ("state", Kind::Text),
        ("quality", Kind::Text),
        ("bytes", Kind::Int),
        ("deleted", Kind::Flag),
        ("reported_at", Kind::Int),
        ("op_seq", Kind::Int),
    ],
    then: "ON CONFLICT (download_id) DO UPDATE SET
               device_id = excluded.device_id, unit_id = excluded.unit_id, state = excluded.state,
               quality = excluded.quality, bytes = excluded.bytes, deleted = excluded.deleted,
               reported_at = excluded.reported_at, op_seq = excluded.op_seq, lapsed_at = NULL
           WHERE downloads.learner_id = excluded.learner_id",
};

/// What one device of a learner keeps in all, by its own account.
pub(super) const PUT_STORAGE_USAGE: &str = "INSERT INTO storage_usage (learner_id, device_id, bytes, updated_at)
     SELECT $1, $2, CAST(COALESCE(SUM(bytes), 0) AS BIGINT), $3 FROM downloads
     WHERE learner_id = $1 AND device_id = $2 AND NOT deleted AND lapsed_at IS NULL
     ON CONFLICT (learner_id, device_id) DO UPDATE SET bytes = excluded.bytes, updated_at = excluded.updated_at";

pub(super) fn progress_of(row: &Row) -> Result<Progress, StoreError> {
    let position = match row.number_or_none("position")? {
        Some(value) => {
            Some(Position { value, stamp: row.stamp("position_at", "position_device_id", "position_op_seq")? })
        }
        None => None,
    };
    Ok(Progress {
        lesson_id: row.word("lesson_id")?,
        attempt: row.number("attempt")?,
        status: row.word("status")?,
        percent: row.number("percent")?,
        completed_at: row.time_or_none("completed_at")?,
        position,
    })
}

pub(super) fn progress_row(learner: LearnerId, new: &Progress, seq: i64) -> Vec<Value> {
    let position = new.position.as_ref();
    values![
        learner,
        new.lesson_id,
        new.attempt,
        new.status.as_str(),
        new.percent,
        new.completed_at,
        position.map(|p| p.value),
        position.map(|p| p.stamp.at),
        position.map(|p| p.stamp.device_id),
        position.map(|p| p.stamp.seq),
        seq
    ]
}

pub(super) fn session_of(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.word("session_id")?,
        lesson_id: row.word("lesson_id")?,
        attempt: row.number("attempt")?,
        kind: row.word("kind")?,
        status: row.word("status")?,
        status_stamp: row.stamp("status_at", "status_device_id", "status_op_seq")?,
        started_at: row.time("started_at")?,
        ended_at: row.time_or_none("ended_at")?,
        statistics: Statistics {
            answered: row.number("answered")?,
            correct: row.number("correct")?,
            points: row.number("points")?,
            max_points: row.number("max_points")?,
            duration_ms: row.number("duration_ms")?,
        },
        grade: match row.text_or_none("grade")? {
            Some(_) => Some(row.json("grade")?),
            None => None,
        },
    })
}

pub(super) fn session_row(learner: LearnerId, new: &Session, seq: i64) -> Result<Vec<Value>, StoreError> {
    Ok(values![
        new.id,
        learner,
        new.lesson_id,
        new.attempt,
        new.kind.as_str(),
        new.status.as_str(),
        new.status_stamp.at,
        new.status_stamp.device_id,
        new.status_stamp.seq,
        new.started_at,
        new.ended_at,
        new.statistics.answered,
        new.statistics.correct,
        new.statistics.points,
        new.statistics.max_points,
        new.statistics.duration_ms,
        new.grade.as_ref().map(to_json).transpose()?,
        seq
    ])
}

pub(super) fn answer_of(row: &Row) -> Result<Answer, StoreError> {
    Ok(Answer {
        session_id: row.word("session_id")?,
        lesson_id: row.word("lesson_id")?,
        question_id: row.free("question_id")?,
        response: row.json("response")?,
        stamp: row.stamp("answered_at", "device_id", "op_seq")?,
    })
}

pub(super) fn answer_row(learner: LearnerId, new: &Answer, seq: i64) -> Result<Vec<Value>, StoreError> {
    Ok(values![
        new.stamp.device_id,
        new.stamp.seq,
        learner,
        new.session_id,
        new.lesson_id,
        Value::Free(new.question_id.clone()),
        to_json(&new.response)?,
        new.stamp.at,
        seq
    ])
}

pub(super) fn bookmark_of(row: &Row) -> Result<Bookmark, StoreError> {
    Ok(Bookmark {
        id: row.word("bookmark_id")?,
        lesson_id: row.word("lesson_id")?,
        position: row.number("position")?,
        note: row.free("note")?,
        deleted: row.flag("deleted")?,
        stamp: row.stamp("written_at", "device_id", "op_seq")?,
    })
}

pub(super) fn bookmark_row(learner: LearnerId, new: &Bookmark, seq: i64) -> Vec<Value> {
    values![
        new.id,
        learner,
        new.lesson_id,
        new.position,
        Value::Free(new.note.clone()),
        new.deleted,
        new.stamp.at,
        new.stamp.device_id,
        new.stamp.seq,
        seq
    ]
}

pub(super) fn download_row(learner: LearnerId, id: DownloadId, new: DownloadReported, stamp: Stamp) -> Vec<Value> {
    values![
        id,
        learner,
        stamp.device_id,
        new.unit_id,
        new.state.as_str(),
        new.quality.as_str(),
        new.bytes,
        new.deleted,
        stamp.at,
        stamp.seq
    ]
}
