//! The table `outbox` (and `events`, which is written with it).

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    DeviceId, LessonId, ProfileId, SessionId, TimeMs, UnitId,
    bookmark::Bookmark,
    op::{Effect, Op, OpKind, RawOp},
    progress::{PositionReached, Progress},
    session::{Answer, Session},
    stamp::Stamp,
};
use serde_json::{Value, json};
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{
    Count,
    rules::{FAR_AHEAD_MS, coalesced, stamp_time},
    view::{OutboxEntryView, OutboxState},
};
use crate::{
    EngineError,
    rows::{json as read_json, parsed, parsed_option, signed, time, unsigned},
};

/// As many as anybody reads; the list is asked for with every change, also while thousands are being sent.
const LISTED: u32 = 200;

/// See [`super::Outbox::enqueue`].
pub(super) async fn enqueue(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    op: &Op,
    now: TimeMs,
) -> Result<Stamp, EngineError> {
    // The first statement of the allotment writes, so two allotments can't read the same number.
    let row = sqlx::query(
        "UPDATE profiles SET next_seq = next_seq WHERE id = ?1 RETURNING device_id, next_seq, last_stamp_at,
             EXISTS (SELECT 1 FROM outbox o WHERE o.profile_id = ?1 AND o.state <> 'acked' AND o.at > ?2) AS far_ahead",
    )
    .bind(profile.to_string())
    .bind(now.plus_ms(FAR_AHEAD_MS).as_ms())
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(EngineError::NotFound("profile"))?;
    let device_id: DeviceId = parsed(&row, "device_id")?;
    let at = stamp_time(time(&row, "last_stamp_at")?, now, row.try_get("far_ahead")?);
    sqlx::query("UPDATE profiles SET last_stamp_at = ?2 WHERE id = ?1")
        .bind(profile.to_string())
        .bind(at.as_ms())
        .execute(&mut *tx)
        .await?;
    if let Op::Position(lesson, reached) = op
        && let Some(seq) = coalesce(tx, profile, *lesson, *reached, at).await?
    {
        return Ok(Stamp { at, device_id, seq });
    }
    let seq = unsigned(&row, "next_seq")?;
    sqlx::query("UPDATE profiles SET next_seq = next_seq + 1 WHERE id = ?1")
        .bind(profile.to_string())
        .execute(&mut *tx)
        .await?;
    let raw = op.encode(seq, at)?;
    let payload = serde_json::to_string(&raw.payload)?;
    let lesson = op.lesson_id().map(|id| id.to_string());
    let unit = match op {
        Op::Download(_, report) => Some(report.unit_id.to_string()),
        _ => {
            sqlx::query_scalar("SELECT unit_id FROM lessons WHERE profile_id = ?1 AND id = ?2")
                .bind(profile.to_string())
                .bind(&lesson)
                .fetch_optional(&mut *tx)
                .await?
        }
    };
    sqlx::query(
        "INSERT INTO events (profile_id, seq, device_id, kind, entity_id, lesson_id, at, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(profile.to_string())
    .bind(signed(seq))
    .bind(device_id.to_string())
    .bind(&raw.kind)
    .bind(&raw.entity_id)
    .bind(&lesson)
    .bind(at.as_ms())
    .bind(&payload)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO outbox (profile_id, seq, device_id, kind, entity_id, lesson_id, unit_id, at, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(profile.to_string())
    .bind(signed(seq))
    .bind(device_id.to_string())
    .bind(&raw.kind)
    .bind(&raw.entity_id)
    .bind(&lesson)
    .bind(unit)
    .bind(at.as_ms())
    .bind(&payload)
    .execute(tx)
    .await?;
    Ok(Stamp { at, device_id, seq })
}

/// Puts a place into the entry of the same lesson and attempt that waits and never left this device; gives its number.
async fn coalesce(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    lesson: LessonId,
    reached: PositionReached,
    at: TimeMs,
) -> Result<Option<u64>, EngineError> {
    let rows = sqlx::query(
        "SELECT seq, payload FROM outbox WHERE profile_id = ?1 AND lesson_id = ?2 AND kind = ?3
             AND state = 'waiting' AND sent_once = 0 ORDER BY seq DESC",
    )
    .bind(profile.to_string())
    .bind(lesson.to_string())
    .bind(OpKind::ProgressPosition.as_str())
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let Some(joined) = coalesced(read_json(row, "payload")?, reached) else { continue };
        let seq = unsigned(row, "seq")?;
        let payload = serde_json::to_string(&joined)?;
        for sql in [
            "UPDATE outbox SET at = ?3, payload = ?4 WHERE profile_id = ?1 AND seq = ?2",
            "UPDATE events SET at = ?3, payload = ?4 WHERE profile_id = ?1 AND seq = ?2",
        ] {
            sqlx::query(sql)
                .bind(profile.to_string())
                .bind(signed(seq))
                .bind(at.as_ms())
                .bind(&payload)
                .execute(&mut *tx)
                .await?;
        }
        return Ok(Some(seq));
    }
    Ok(None)
}

/// What is not acknowledged, oldest first; of a long list all that was refused, and the beginning.
pub(super) async fn list(readers: &SqlitePool, profile: ProfileId) -> Result<Vec<OutboxEntryView>, EngineError> {
    let rows = sqlx::query(
        "WITH listed AS MATERIALIZED (
             SELECT * FROM outbox WHERE profile_id = ?1 AND state <> 'acked' ORDER BY state <> 'refused', seq LIMIT ?2)
         SELECT o.*, coalesce(l.title, u.title, '') AS title FROM listed o
         LEFT JOIN lessons l ON l.profile_id = o.profile_id AND l.id = o.lesson_id
         LEFT JOIN units u ON u.profile_id = o.profile_id AND u.id = o.unit_id
         ORDER BY o.seq",
    )
    .bind(profile.to_string())
    .bind(LISTED)
    .fetch_all(readers)
    .await?;
    rows.iter().map(view).collect()
}

fn view(row: &SqliteRow) -> Result<OutboxEntryView, EngineError> {
    let kind: &str = row.try_get("kind")?;
    let op: Option<OpKind> = kind.parse().ok();
    let position = match op {
        Some(OpKind::ProgressPosition) => Some(read_json::<PositionReached>(row, "payload")?.position),
        _ => None,
    };
    let refused = row.try_get::<&str, _>("state")? == "refused";
    let in_flight: bool = row.try_get("in_flight")?;
    Ok(OutboxEntryView {
        seq: unsigned(row, "seq")?,
        op,
        lesson_id: parsed_option(row, "lesson_id")?,
        title: row.try_get("title")?,
        position,
        at: time(row, "at")?,
        state: match (refused, in_flight) {
            (true, _) => OutboxState::Refused,
            (false, true) => OutboxState::Sending,
            (false, false) => OutboxState::Waiting,
        },
        attempts: row.try_get("attempts")?,
        last_error: parsed_option(row, "last_error")?,
        rejected: parsed_option(row, "rejected")?,
    })
}

/// As a file: everything there is about each entry.
pub(super) async fn export(readers: &SqlitePool, profile: ProfileId) -> Result<Vec<Value>, EngineError> {
    let rows = sqlx::query("SELECT * FROM outbox WHERE profile_id = ?1 AND state <> 'acked' ORDER BY seq")
        .bind(profile.to_string())
        .fetch_all(readers)
        .await?;
    let entry = |row: &SqliteRow| {
        Ok(json!({
            "device_id": row.try_get::<&str, _>("device_id")?,
            "seq": unsigned(row, "seq")?,
            "kind": row.try_get::<&str, _>("kind")?,
            "entity_id": row.try_get::<&str, _>("entity_id")?,
            "lesson_id": row.try_get::<Option<&str>, _>("lesson_id")?,
            "at": time(row, "at")?,
            "payload": read_json::<Value>(row, "payload")?,
            "state": row.try_get::<&str, _>("state")?,
            "attempts": row.try_get::<u32, _>("attempts")?,
            "last_error": row.try_get::<Option<&str>, _>("last_error")?,
            "rejected": row.try_get::<Option<&str>, _>("rejected")?,
            "rejected_detail": row.try_get::<Option<&str>, _>("rejected_detail")?,
        }))
    };
    rows.iter().map(entry).collect()
}

/// A refused entry waits again.
pub(super) async fn revive(tx: &mut SqliteConnection, profile: ProfileId, seq: u64) -> Result<(), EngineError> {
    let done = sqlx::query(
        "UPDATE outbox SET state = 'waiting', attempts = 0, not_before = 0, last_error = NULL, rejected = NULL,
             rejected_detail = NULL WHERE profile_id = ?1 AND seq = ?2 AND state = 'refused'",
    )
    .bind(profile.to_string())
    .bind(signed(seq))
    .execute(tx)
    .await?;
    if done.rows_affected() == 0 { Err(EngineError::NotFound("refused write")) } else { Ok(()) }
}

/// A refused entry goes; its event stays as this device's record.
pub(super) async fn discard(tx: &mut SqliteConnection, profile: ProfileId, seq: u64) -> Result<(), EngineError> {
    let done = sqlx::query("DELETE FROM outbox WHERE profile_id = ?1 AND seq = ?2 AND state = 'refused'")
        .bind(profile.to_string())
        .bind(signed(seq))
        .execute(tx)
        .await?;
    if done.rows_affected() == 0 { Err(EngineError::NotFound("refused write")) } else { Ok(()) }
}

pub(super) async fn count(connection: &mut SqliteConnection, profile: ProfileId) -> Result<Count, EngineError> {
    // Each along the index of states: what is acknowledged and not pulled yet is not looked at.
    let (waiting, refused) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM outbox WHERE profile_id = ?1 AND state = 'waiting'),
             (SELECT count(*) FROM outbox WHERE profile_id = ?1 AND state = 'refused')",
    )
    .bind(profile.to_string())
    .fetch_one(connection)
    .await?;
    Ok(Count { waiting, refused })
}

pub(super) async fn by_unit(readers: &SqlitePool, profile: ProfileId) -> Result<BTreeMap<UnitId, u32>, EngineError> {
    let rows = sqlx::query(
        "SELECT unit_id, count(*) AS waiting FROM outbox
         WHERE profile_id = ?1 AND state <> 'acked' AND unit_id IS NOT NULL AND kind <> ?2 GROUP BY unit_id",
    )
    .bind(profile.to_string())
    .bind(OpKind::DownloadState.as_str())
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| Ok((parsed(row, "unit_id")?, row.try_get("waiting")?))).collect()
}

/// Puts everything that was ever written here back into the outbox, each under the id it was written under: a service that
/// wants to be read anew may have been put back to a time before it came. What it has, it knows by its key.
pub(super) async fn send_again(tx: &mut SqliteConnection, profile: ProfileId) -> Result<(), EngineError> {
    sqlx::query("UPDATE outbox SET state = 'waiting' WHERE profile_id = ?1 AND state = 'acked'")
        .bind(profile.to_string())
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO outbox (profile_id, seq, device_id, kind, entity_id, lesson_id, unit_id, at, payload, sent_once)
         SELECT e.profile_id, e.seq, e.device_id, e.kind, e.entity_id, e.lesson_id, l.unit_id, e.at, e.payload, 1
         FROM events e LEFT JOIN lessons l ON l.profile_id = e.profile_id AND l.id = e.lesson_id
         WHERE e.profile_id = ?1 AND e.device_id <> '' ON CONFLICT (profile_id, seq) DO NOTHING",
    )
    .bind(profile.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether something waits for a new key.
pub(super) async fn has_regressed(tx: &mut SqliteConnection, profile: ProfileId) -> Result<bool, EngineError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM outbox WHERE profile_id = ?1 AND state = 'waiting' AND regressed = 1)";
    Ok(sqlx::query_scalar(sql).bind(profile.to_string()).fetch_one(tx).await?)
}

/// Gives what can never come under its key a new one. Everything else keeps its own: a twin of this device may hold it, too.
pub(super) async fn rekey(tx: &mut SqliteConnection, profile: ProfileId, device: DeviceId) -> Result<(), EngineError> {
    for sql in [
        "UPDATE events SET device_id = ?2 WHERE profile_id = ?1 AND EXISTS (
             SELECT 1 FROM outbox o WHERE o.profile_id = ?1 AND o.seq = events.seq AND o.regressed = 1)",
        "UPDATE outbox SET device_id = ?2, in_flight = 0, sent_once = 0, regressed = 0
         WHERE profile_id = ?1 AND regressed = 1",
    ] {
        sqlx::query(sql).bind(profile.to_string()).bind(device.to_string()).execute(&mut *tx).await?;
    }
    Ok(())
}

/// What was still to come under an id that the device has left behind, and can't, goes under the one it has: for that nobody
/// needs to sign in again.
pub(super) async fn rekey_under_former_ids(tx: &mut SqliteConnection, profile: ProfileId) -> Result<(), EngineError> {
    let former = "EXISTS (SELECT 1 FROM outbox o JOIN profiles p ON p.id = o.profile_id
                  WHERE o.profile_id = ?1 AND o.seq = changed.seq AND o.regressed = 1 AND o.device_id <> p.device_id)";
    let own = "device_id = (SELECT device_id FROM profiles WHERE id = ?1)";
    for sql in [
        format!("UPDATE events AS changed SET {own} WHERE profile_id = ?1 AND {former}"),
        format!("UPDATE outbox AS changed SET {own}, sent_once = 0, regressed = 0 WHERE profile_id = ?1 AND {former}"),
    ] {
        sqlx::query(&sql).bind(profile.to_string()).execute(&mut *tx).await?;
    }
    Ok(())
}

pub(super) async fn forget_acked(tx: &mut SqliteConnection, profile: ProfileId) -> Result<(), EngineError> {
    sqlx::query("DELETE FROM outbox WHERE profile_id = ?1 AND state = 'acked'")
        .bind(profile.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// What this device did that the service's word may not contain yet, ready to be joined with it.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// By lesson and attempt.
    pub(crate) progress: BTreeMap<(LessonId, u32), Progress>,
    /// Each as one write amounts to.
    pub(crate) sessions: Vec<Session>,
    /// Answers.
    pub(crate) answers: Vec<Answer>,
    /// Bookmarks, each as one write amounts to.
    pub(crate) bookmarks: Vec<Bookmark>,
    /// Sessions of which the service has not acknowledged everything.
    pub(crate) unsent_sessions: BTreeSet<SessionId>,
    /// Stamps of what the service has not acknowledged; the rest was, and only its pull is missing.
    pub(crate) unsent: Vec<(Option<LessonId>, OpKind, Stamp)>,
}

/// Reads what is to be laid over the service's word: of one lesson, or of all. Refused writes too: they are this learner's
/// work until they choose otherwise.
///
/// To be read in the transaction that reads the service's word: between two of them a write may leave the one and enter the
/// other, and would be in neither.
pub(crate) async fn overlay(
    snapshot: &mut SqliteConnection,
    profile: ProfileId,
    lesson: Option<LessonId>,
) -> Result<Overlay, EngineError> {
    // Two statements: an index is only used for a lesson that the statement is sure to name.
    let which = if lesson.is_some() { "lesson_id = ?2" } else { "?2 IS NULL AND lesson_id IS NOT NULL" };
    laid_over(snapshot, profile, lesson, which).await
}

/// As [`overlay`] of all, but of progress alone: lists of lessons are painted often, and thousands of answers may wait.
pub(crate) async fn overlay_of_progress(
    snapshot: &mut SqliteConnection,
    profile: ProfileId,
) -> Result<Overlay, EngineError> {
    let which = "?2 IS NULL AND kind IN ('progress.position', 'progress.completed')";
    laid_over(snapshot, profile, None, which).await
}

async fn laid_over(
    snapshot: &mut SqliteConnection,
    profile: ProfileId,
    lesson: Option<LessonId>,
    which: &str,
) -> Result<Overlay, EngineError> {
    let rows = sqlx::query(&format!(
        "SELECT seq, device_id, kind, entity_id, at, payload, state FROM outbox
         WHERE profile_id = ?1 AND {which} ORDER BY seq"
    ))
    .bind(profile.to_string())
    .bind(lesson.map(|id| id.to_string()))
    .fetch_all(snapshot)
    .await?;
    let mut overlay = Overlay::default();
    for row in &rows {
        let raw = raw_op(row)?;
        // A kind of a newer version that was here before: kept, but it can't be shown.
        let Ok(op) = Op::decode(&raw) else { continue };
        let stamp = Stamp { at: raw.at, device_id: parsed(row, "device_id")?, seq: raw.seq };
        if row.try_get::<&str, _>("state")? != "acked" {
            overlay.unsent.push((op.lesson_id(), op.kind(), stamp));
            if let Op::Answer(id, _) | Op::Session(id, ..) | Op::Statistics(id, _) = &op {
                overlay.unsent_sessions.insert(*id);
            }
        }
        match op.effect(stamp) {
            Effect::Progress(new) => {
                let key = (new.lesson_id, new.attempt);
                let joined = match overlay.progress.remove(&key) {
                    Some(old) => old.join(new),
                    None => new,
                };
                overlay.progress.insert(key, joined);
            }
            Effect::Session(session) => overlay.sessions.push(session),
            Effect::Answer(answer) => overlay.answers.push(answer),
            Effect::Bookmark(bookmark) => overlay.bookmarks.push(bookmark),
            Effect::Download(..) => {}
        }
    }
    Ok(overlay)
}

/// The op as it travels.
pub(super) fn raw_op(row: &SqliteRow) -> Result<RawOp, EngineError> {
    Ok(RawOp {
        seq: unsigned(row, "seq")?,
        kind: row.try_get("kind")?,
        entity_id: row.try_get("entity_id")?,
        at: time(row, "at")?,
        payload: read_json(row, "payload")?,
    })
}
