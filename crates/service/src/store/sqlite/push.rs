//! Taking a batch in: one transaction, one verdict for each op (protocol.md, Push).

use std::collections::HashMap;

use carrel_model::{
    CourseId, LessonId, TimeMs,
    op::{Effect, LessonFacts, Op, RejectCode, Rejection},
    stamp::Stamp,
    wire::sync::{PushOutcome, PushResult},
};
use sqlx::{Row as _, SqliteConnection};

use super::{
    SqliteStore, advance, effects, enrolments,
    rows::{number_or_none, signed, to_json, word},
};
use crate::{
    rules::{IncomingOp, KnownToOp, OP_TIME_TOLERANCE_MS, admit, user_scope},
    store::{Caller, StoreError},
};

/// The longest text of an op's payload kept in the audit.
const MAX_AUDIT_BYTES: usize = 64 * 1024;

pub(super) async fn apply(
    store: &SqliteStore,
    caller: Caller,
    ops: &[IncomingOp],
    now: TimeMs,
) -> Result<Vec<PushResult>, StoreError> {
    let mut tx = store.begin().await?;
    let first = advance(&mut tx, &user_scope(caller.learner), ops.len()).await?;
    let mut batch = Batch { caller, now, lessons: HashMap::new(), last_days: HashMap::new() };
    let mut results = Vec::with_capacity(ops.len());
    for (op, seq) in ops.iter().zip(first..) {
        let outcome = batch.judge(&mut tx, op, seq).await?;
        results.push(PushResult { seq: op.seq, outcome });
    }
    tx.commit().await?;
    Ok(results)
}

/// What one batch has looked up so far: its ops are mostly about a few lessons.
struct Batch {
    caller: Caller,
    now: TimeMs,
    lessons: HashMap<LessonId, Option<(CourseId, LessonFacts)>>,
    last_days: HashMap<CourseId, Option<Option<TimeMs>>>,
}

impl Batch {
    async fn judge(
        &mut self,
        conn: &mut SqliteConnection,
        incoming: &IncomingOp,
        seq: i64,
    ) -> Result<PushOutcome, StoreError> {
        let logged = sqlx::query("SELECT content_hash, outcome FROM op_log WHERE device_id = ?1 AND op_seq = ?2")
            .bind(self.caller.device.to_string())
            .bind(signed(incoming.seq))
            .fetch_optional(&mut *conn)
            .await?;
        if let Some(row) = logged {
            let same = row.try_get::<&[u8], _>("content_hash")? == incoming.content_hash.as_slice();
            // What was refused had no effect, so the same key may try again once the reason is gone.
            if row.try_get::<&str, _>("outcome")? != "rejected" {
                let reused = || rejected(Rejection::new(RejectCode::KeyReused, "another content came under this key"));
                return Ok(if same { PushOutcome::Duplicate } else { reused() });
            }
        }
        let outcome = match &incoming.op {
            Err(rejection) => rejected(rejection.clone()),
            Ok(op) => match admit(op, self.known_to(conn, op, incoming).await?) {
                Err(rejection) => rejected(rejection),
                Ok(()) if self.take(conn, op, incoming, seq).await? => PushOutcome::Applied,
                Ok(()) => PushOutcome::Superseded,
            },
        };
        self.log(conn, incoming, &outcome).await?;
        Ok(outcome)
    }

    async fn known_to(
        &mut self,
        conn: &mut SqliteConnection,
        op: &Op,
        incoming: &IncomingOp,
    ) -> Result<KnownToOp, StoreError> {
        let me = self.caller.learner;
        let mut known = KnownToOp::default();
        match op {
            Op::Answer(id, _) | Op::Session(id, ..) | Op::Statistics(id, _) => {
                known.foreign = effects::session(conn, *id)
                    .await?
                    .is_some_and(|(owner, session)| owner != me || Some(session.lesson_id) != op.lesson_id());
            }
            Op::BookmarkPut(id, _) | Op::BookmarkDeleted(id, _) => {
                known.foreign = effects::bookmark(conn, *id)
                    .await?
                    .is_some_and(|(owner, mark)| owner != me || Some(mark.lesson_id) != op.lesson_id());
            }
            Op::Download(id, report) => {
                known.foreign = effects::download_owner(conn, *id).await?.is_some_and(|owner| owner != me);
                known.unit = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM units WHERE unit_id = ?1)")
                    .bind(report.unit_id.to_string())
                    .fetch_one(&mut *conn)
                    .await?;
            }
            Op::Position(..) | Op::Completed(..) => {}
        }
        if let Some(lesson) = op.lesson_id()
            && let Some((course, facts)) = self.lesson(conn, lesson).await?
        {
            known.lesson = Some(facts);
            known.enrolled = self
                .last_day(conn, course)
                .await?
                .is_some_and(|end| end.is_none_or(|end| incoming.effective_at < end.plus_ms(OP_TIME_TOLERANCE_MS)));
        }
        Ok(known)
    }

    async fn lesson(
        &mut self,
        conn: &mut SqliteConnection,
        lesson: LessonId,
    ) -> Result<Option<(CourseId, LessonFacts)>, StoreError> {
        if let Some(known) = self.lessons.get(&lesson) {
            return Ok(*known);
        }
        let row = sqlx::query("SELECT course_id, max_position FROM lessons WHERE lesson_id = ?1")
            .bind(lesson.to_string())
            .fetch_optional(conn)
            .await?;
        let facts = |row: &_| {
            Ok::<_, StoreError>((
                word(row, "course_id")?,
                LessonFacts { max_position: number_or_none(row, "max_position")? },
            ))
        };
        let found = row.as_ref().map(facts).transpose()?;
        self.lessons.insert(lesson, found);
        Ok(found)
    }

    async fn last_day(
        &mut self,
        conn: &mut SqliteConnection,
        course: CourseId,
    ) -> Result<Option<Option<TimeMs>>, StoreError> {
        if let Some(known) = self.last_days.get(&course) {
            return Ok(*known);
        }
        let found = enrolments::last_day(conn, self.caller.learner, course).await?;
        self.last_days.insert(course, found);
        Ok(found)
    }

    /// Joins an op's effect with what is there. Whether that changed anything.
    async fn take(
        &self,
        conn: &mut SqliteConnection,
        op: &Op,
        incoming: &IncomingOp,
        seq: i64,
    ) -> Result<bool, StoreError> {
        let learner = self.caller.learner;
        let stamp = Stamp { at: incoming.effective_at, device_id: self.caller.device, seq: incoming.seq };
        match op.effect(stamp) {
            Effect::Progress(new) => {
                let old = effects::progress(conn, learner, new.lesson_id, new.attempt).await?;
                let joined = old.clone().map_or_else(|| new.clone(), |old| old.join(new.clone()));
                if old.as_ref() == Some(&joined) {
                    return Ok(false);
                }
                effects::put_progress(conn, learner, &joined, seq).await?;
            }
            Effect::Session(new) => {
                let old = effects::session(conn, new.id).await?.map(|(_, session)| session);
                let joined = old.clone().map_or_else(|| new.clone(), |old| old.join(new.clone()));
                if old.as_ref() == Some(&joined) {
                    return Ok(false);
                }
                effects::put_session(conn, learner, &joined, seq).await?;
            }
            Effect::Answer(new) => effects::append_answer(conn, learner, &new, seq).await?,
            Effect::Bookmark(new) => {
                let old = effects::bookmark(conn, new.id).await?.map(|(_, mark)| mark);
                let joined = old.clone().map_or_else(|| new.clone(), |old| old.join(new.clone()));
                if old.as_ref() == Some(&joined) {
                    return Ok(false);
                }
                effects::put_bookmark(conn, learner, &joined, seq).await?;
            }
            Effect::Download(id, report, stamp) => {
                return effects::put_download(conn, self.caller, id, report, stamp, self.now).await;
            }
        }
        Ok(true)
    }

    async fn log(
        &self,
        conn: &mut SqliteConnection,
        incoming: &IncomingOp,
        outcome: &PushOutcome,
    ) -> Result<(), StoreError> {
        let word = match outcome {
            PushOutcome::Applied => "applied",
            PushOutcome::Duplicate => "duplicate",
            PushOutcome::Superseded => "superseded",
            PushOutcome::Rejected { .. } => "rejected",
            PushOutcome::Retry { .. } => "retry",
        };
        let learner = self.caller.learner.to_string();
        let device = self.caller.device.to_string();
        sqlx::query(
            "INSERT INTO op_log (device_id, op_seq, learner_id, kind, entity_id, content_hash, outcome, received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (device_id, op_seq) DO UPDATE SET
                 kind = excluded.kind, entity_id = excluded.entity_id, content_hash = excluded.content_hash,
                 outcome = excluded.outcome, received_at = excluded.received_at",
        )
        .bind(&device)
        .bind(signed(incoming.seq))
        .bind(&learner)
        .bind(&incoming.kind)
        .bind(&incoming.entity_id)
        .bind(incoming.content_hash.as_slice())
        .bind(word)
        .bind(self.now.as_ms())
        .execute(&mut *conn)
        .await?;
        let (entity, action) = incoming.kind.split_once('.').unwrap_or((&incoming.kind, ""));
        let data = to_json(&incoming.payload)?;
        let data = if data.len() > MAX_AUDIT_BYTES { String::from("null") } else { data };
        sqlx::query(
            "INSERT INTO sync_log (learner_id, device_id, op_seq, entity, entity_id, action, data, outcome, device_at,
                                   effective_at, received_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .bind(&learner)
        .bind(&device)
        .bind(signed(incoming.seq))
        .bind(entity)
        .bind(&incoming.entity_id)
        .bind(action)
        .bind(data)
        .bind(word)
        .bind(incoming.device_at.as_ms())
        .bind(incoming.effective_at.as_ms())
        .bind(self.now.as_ms())
        .execute(conn)
        .await?;
        Ok(())
    }
}

fn rejected(rejection: Rejection) -> PushOutcome {
    PushOutcome::Rejected { code: rejection.code, detail: rejection.detail }
}
