//! Learners' own rows: reading one, and putting back what a join made of it.

use carrel_model::{
    BookmarkId, DownloadId, LearnerId, LessonId, SessionId, TimeMs,
    bookmark::Bookmark,
    op::DownloadReported,
    progress::{Position, Progress},
    session::{Answer, Session, Statistics},
    stamp::Stamp,
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::rows::{json, number, number_or_none, signed, stamp, time, time_or_none, to_json, word};
use crate::store::{Caller, StoreError};

pub(super) fn progress_of(row: &SqliteRow) -> Result<Progress, StoreError> {
    let position = match number_or_none(row, "position")? {
        Some(value) => {
            Some(Position { value, stamp: stamp(row, "position_at", "position_device_id", "position_op_seq")? })
        }
        None => None,
    };
    Ok(Progress {
        lesson_id: word(row, "lesson_id")?,
        attempt: number(row, "attempt")?,
        status: word(row, "status")?,
        percent: number(row, "percent")?,
        completed_at: time_or_none(row, "completed_at")?,
        position,
    })
}

pub(super) async fn progress(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    lesson: LessonId,
    attempt: u32,
) -> Result<Option<Progress>, StoreError> {
    let row = sqlx::query(
        "SELECT lesson_id, attempt, status, percent, completed_at, position, position_at, position_device_id,
                position_op_seq
         FROM progress WHERE learner_id = ?1 AND lesson_id = ?2 AND attempt = ?3",
    )
    .bind(learner.to_string())
    .bind(lesson.to_string())
    .bind(attempt)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(progress_of).transpose()
}

pub(super) async fn put_progress(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    new: &Progress,
    seq: i64,
) -> Result<(), StoreError> {
    let position = new.position.as_ref();
    sqlx::query(
        "INSERT INTO progress (learner_id, lesson_id, attempt, status, percent, completed_at, position, position_at,
                               position_device_id, position_op_seq, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (learner_id, lesson_id, attempt) DO UPDATE SET
             status = excluded.status, percent = excluded.percent, completed_at = excluded.completed_at,
             position = excluded.position, position_at = excluded.position_at,
             position_device_id = excluded.position_device_id, position_op_seq = excluded.position_op_seq,
             seq = excluded.seq",
    )
    .bind(learner.to_string())
    .bind(new.lesson_id.to_string())
    .bind(new.attempt)
    .bind(new.status.as_str())
    .bind(new.percent)
    .bind(new.completed_at.map(TimeMs::as_ms))
    .bind(position.map(|p| signed(p.value)))
    .bind(position.map(|p| p.stamp.at.as_ms()))
    .bind(position.map(|p| p.stamp.device_id.to_string()))
    .bind(position.map(|p| signed(p.stamp.seq)))
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn session_of(row: &SqliteRow) -> Result<Session, StoreError> {
    Ok(Session {
        id: word(row, "session_id")?,
        lesson_id: word(row, "lesson_id")?,
        attempt: number(row, "attempt")?,
        kind: word(row, "kind")?,
        status: word(row, "status")?,
        status_stamp: stamp(row, "status_at", "status_device_id", "status_op_seq")?,
        started_at: time(row, "started_at")?,
        ended_at: time_or_none(row, "ended_at")?,
        statistics: Statistics {
            answered: number(row, "answered")?,
            correct: number(row, "correct")?,
            points: number(row, "points")?,
            max_points: number(row, "max_points")?,
            duration_ms: number(row, "duration_ms")?,
        },
    })
}

/// A session and whose it is.
pub(super) async fn session(
    conn: &mut SqliteConnection,
    id: SessionId,
) -> Result<Option<(LearnerId, Session)>, StoreError> {
    let row = sqlx::query(
        "SELECT learner_id, session_id, lesson_id, attempt, kind, status, status_at, status_device_id, status_op_seq,
                started_at, ended_at, answered, correct, points, max_points, duration_ms
         FROM sessions WHERE session_id = ?1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((word(&row, "learner_id")?, session_of(&row)?))).transpose()
}

pub(super) async fn put_session(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    new: &Session,
    seq: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO sessions (session_id, learner_id, lesson_id, attempt, kind, status, status_at, status_device_id,
                               status_op_seq, started_at, ended_at, answered, correct, points, max_points, duration_ms,
                               seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (session_id) DO UPDATE SET
             lesson_id = excluded.lesson_id, attempt = excluded.attempt, kind = excluded.kind,
             status = excluded.status, status_at = excluded.status_at, status_device_id = excluded.status_device_id,
             status_op_seq = excluded.status_op_seq, started_at = excluded.started_at, ended_at = excluded.ended_at,
             answered = excluded.answered, correct = excluded.correct, points = excluded.points,
             max_points = excluded.max_points, duration_ms = excluded.duration_ms, seq = excluded.seq",
    )
    .bind(new.id.to_string())
    .bind(learner.to_string())
    .bind(new.lesson_id.to_string())
    .bind(new.attempt)
    .bind(new.kind.as_str())
    .bind(new.status.as_str())
    .bind(new.status_stamp.at.as_ms())
    .bind(new.status_stamp.device_id.to_string())
    .bind(signed(new.status_stamp.seq))
    .bind(new.started_at.as_ms())
    .bind(new.ended_at.map(TimeMs::as_ms))
    .bind(new.statistics.answered)
    .bind(new.statistics.correct)
    .bind(new.statistics.points)
    .bind(new.statistics.max_points)
    .bind(signed(new.statistics.duration_ms))
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn answer_of(row: &SqliteRow) -> Result<Answer, StoreError> {
    Ok(Answer {
        session_id: word(row, "session_id")?,
        lesson_id: word(row, "lesson_id")?,
        question_id: row.try_get("question_id")?,
        response: json(row, "response")?,
        stamp: stamp(row, "answered_at", "device_id", "op_seq")?,
    })
}

pub(super) async fn append_answer(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    new: &Answer,
    seq: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO answers (device_id, op_seq, learner_id, session_id, lesson_id, question_id, response, answered_at,
                              seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(new.stamp.device_id.to_string())
    .bind(signed(new.stamp.seq))
    .bind(learner.to_string())
    .bind(new.session_id.to_string())
    .bind(new.lesson_id.to_string())
    .bind(&new.question_id)
    .bind(to_json(&new.response)?)
    .bind(new.stamp.at.as_ms())
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn bookmark_of(row: &SqliteRow) -> Result<Bookmark, StoreError> {
    Ok(Bookmark {
        id: word(row, "bookmark_id")?,
        lesson_id: word(row, "lesson_id")?,
        position: number(row, "position")?,
        note: row.try_get("note")?,
        deleted: row.try_get("deleted")?,
        stamp: stamp(row, "written_at", "device_id", "op_seq")?,
    })
}

/// A bookmark and whose it is.
pub(super) async fn bookmark(
    conn: &mut SqliteConnection,
    id: BookmarkId,
) -> Result<Option<(LearnerId, Bookmark)>, StoreError> {
    let row = sqlx::query(
        "SELECT learner_id, bookmark_id, lesson_id, position, note, deleted, written_at, device_id, op_seq
         FROM bookmarks WHERE bookmark_id = ?1",
    )
    .bind(id.to_string())
    .fetch_optional(conn)
    .await?;
    row.map(|row| Ok((word(&row, "learner_id")?, bookmark_of(&row)?))).transpose()
}

pub(super) async fn put_bookmark(
    conn: &mut SqliteConnection,
    learner: LearnerId,
    new: &Bookmark,
    seq: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO bookmarks (bookmark_id, learner_id, lesson_id, position, note, deleted, written_at, device_id,
                                op_seq, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (bookmark_id) DO UPDATE SET
             lesson_id = excluded.lesson_id, position = excluded.position, note = excluded.note,
             deleted = excluded.deleted, written_at = excluded.written_at, device_id = excluded.device_id,
             op_seq = excluded.op_seq, seq = excluded.seq",
    )
    .bind(new.id.to_string())
    .bind(learner.to_string())
    .bind(new.lesson_id.to_string())
    .bind(signed(new.position))
    .bind(&new.note)
    .bind(new.deleted)
    .bind(new.stamp.at.as_ms())
    .bind(new.stamp.device_id.to_string())
    .bind(signed(new.stamp.seq))
    .bind(seq)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the later report of a download, and what the device keeps in all. Whether it was the later one.
pub(super) async fn put_download(
    conn: &mut SqliteConnection,
    caller: Caller,
    id: DownloadId,
    report: DownloadReported,
    stamp: Stamp,
    now: TimeMs,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "INSERT INTO downloads (download_id, learner_id, device_id, unit_id, state, quality, bytes, deleted, reported_at,
                                op_seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (download_id) DO UPDATE SET
             device_id = excluded.device_id, unit_id = excluded.unit_id, state = excluded.state,
             quality = excluded.quality, bytes = excluded.bytes, deleted = excluded.deleted,
             reported_at = excluded.reported_at, op_seq = excluded.op_seq
         WHERE (excluded.reported_at, excluded.device_id, excluded.op_seq) > (reported_at, device_id, op_seq)",
    )
    .bind(id.to_string())
    .bind(caller.learner.to_string())
    .bind(caller.device.to_string())
    .bind(report.unit_id.to_string())
    .bind(report.state.as_str())
    .bind(report.quality.as_str())
    .bind(signed(report.bytes))
    .bind(report.deleted)
    .bind(stamp.at.as_ms())
    .bind(signed(stamp.seq))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO storage_usage (learner_id, device_id, bytes, updated_at)
         SELECT ?1, ?2, COALESCE(SUM(bytes), 0), ?3 FROM downloads
         WHERE learner_id = ?1 AND device_id = ?2 AND NOT deleted
         ON CONFLICT (learner_id, device_id) DO UPDATE SET bytes = excluded.bytes, updated_at = excluded.updated_at",
    )
    .bind(caller.learner.to_string())
    .bind(caller.device.to_string())
    .bind(now.as_ms())
    .execute(conn)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Whose download it is.
pub(super) async fn download_owner(
    conn: &mut SqliteConnection,
    id: DownloadId,
) -> Result<Option<LearnerId>, StoreError> {
    let row = sqlx::query("SELECT learner_id FROM downloads WHERE download_id = ?1")
        .bind(id.to_string())
        .fetch_optional(conn)
        .await?;
    row.map(|row| word(&row, "learner_id")).transpose()
}
