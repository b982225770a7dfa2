//! Taking a batch in: one transaction, one verdict for each op (protocol.md, Push).
//!
//! Everything that bears on the batch is read first, the rules judge it as a whole, and what came of it is written: the
//! number of statements doesn't grow with the number of ops. The first statement advances the learner's counter, and so makes
//! one push of a learner wait for the other; rows that two learners could reach for are written in the order of their
//! ids, and whoever finds one taken starts again.

use carrel_model::{TimeMs, wire::sync::PushResult};

use super::{
    Database, Insert, Kind, Transaction, Value, learning, recall, record_sums, row::to_json, scopes::advance, values,
};
use crate::{
    rules::{IncomingOp, Mentioned, Taken, judge, regressed, user_scope},
    store::{Caller, StoreError},
};

/// The longest text of an op's payload kept in the audit.
const MAX_AUDIT_BYTES: usize = 64 * 1024;

const PUT_LOGGED: Insert = Insert {
    table: "op_log",
    columns: &[
        ("device_id", Kind::Text),
        ("op_seq", Kind::Int),
        ("learner_id", Kind::Text),
        ("kind", Kind::Text),
        ("entity_id", Kind::Text),
        ("content_hash", Kind::Bytes),
        ("outcome", Kind::Text),
        ("received_at", Kind::Int),
    ],
    then: "ON CONFLICT (device_id, op_seq) DO UPDATE SET
               kind = excluded.kind, entity_id = excluded.entity_id, content_hash = excluded.content_hash,
               outcome = excluded.outcome, received_at = excluded.received_at",
};

const APPEND_AUDIT: Insert = Insert {
    table: "sync_log",
    columns: &[
        ("learner_id", Kind::Text),
        ("device_id", Kind::Text),
        ("op_seq", Kind::Int),
        ("entity", Kind::Text),
        ("entity_id", Kind::Text),
        ("action", Kind::Text),
        ("data", Kind::Text),
        ("outcome", Kind::Text),
        ("device_at", Kind::Int),
        ("effective_at", Kind::Int),
        ("received_at", Kind::Int),
    ],
    then: "",
};

pub(super) async fn apply(
    db: &dyn Database,
    caller: Caller,
    ops: &[IncomingOp],
    now: TimeMs,
) -> Result<Vec<PushResult>, StoreError> {
    let mut tx = db.begin().await?;
    let mentioned = Mentioned::by(ops);
    let first = advance(tx.as_mut(), &user_scope(caller.learner), mentioned.changes()).await?;
    let logged = recall::logged(tx.as_mut(), caller, &mentioned).await?;
    if let Some(regressed) = regressed(ops, &logged) {
        return Err(StoreError::SeqRegressed(regressed));
    }
    let known = recall::all(tx.as_mut(), caller, &mentioned, logged).await?;
    let before = record_sums::Before::of(&known);
    let taken = judge(caller, ops, known, first);
    let results = taken.results.clone();
    if taken.changes_records() {
        let sums = record_sums::of(tx.as_mut(), caller.learner).await?;
        record_sums::keep(tx.as_mut(), caller.learner, before.sums_after(sums, &taken)).await?;
    }
    write(tx.as_mut(), caller, taken, now).await?;
    tx.commit().await?;
    Ok(results)
}

async fn write(tx: &mut dyn Transaction, caller: Caller, taken: Taken<'_>, now: TimeMs) -> Result<(), StoreError> {
    let me = caller.learner;
    let logged = taken.log.values().map(|entry| {
        let op = entry.op;
        values![caller.device, op.seq, me, &op.kind, &op.entity_id, op.content_hash, entry.outcome, now]
    });
    put(tx, &PUT_LOGGED, logged.collect()).await?;
    let audit: Result<Vec<_>, StoreError> = taken
        .audit
        .iter()
        .map(|entry| {
            let op = entry.op;
            let (entity, action) = op.kind.split_once('.').unwrap_or((&op.kind, ""));
            let data = to_json(&op.payload)?;
            let data = if data.len() > MAX_AUDIT_BYTES { String::from("null") } else { data };
            Ok(values![
                me,
                caller.device,
                op.seq,
                entity,
                &op.entity_id,
                action,
                data,
                entry.outcome,
                op.device_at,
                op.effective_at,
                now
            ])
        })
        .collect();
    put(tx, &APPEND_AUDIT, audit?).await?;
    let progress = taken.progress.values().map(|(new, seq)| learning::progress_row(me, new, *seq));
    put(tx, &learning::PUT_PROGRESS, progress.collect()).await?;
    let sessions: Result<Vec<_>, _> =
        taken.sessions.values().map(|(new, seq)| learning::session_row(me, new, *seq)).collect();
    put(tx, &learning::PUT_SESSIONS, sessions?).await?;
    let answers: Result<Vec<_>, _> =
        taken.answers.iter().map(|(new, seq)| learning::answer_row(me, new, *seq)).collect();
    put(tx, &learning::APPEND_ANSWERS, answers?).await?;
    let bookmarks = taken.bookmarks.values().map(|(new, seq)| learning::bookmark_row(me, new, *seq));
    put(tx, &learning::PUT_BOOKMARKS, bookmarks.collect()).await?;
    let downloads = taken.downloads.iter().map(|(id, (new, stamp))| learning::download_row(me, *id, *new, *stamp));
    put(tx, &learning::PUT_DOWNLOADS, downloads.collect()).await?;
    for device in taken.storage_changed {
        tx.execute(learning::PUT_STORAGE_USAGE, values![me, device, now]).await?;
    }
    Ok(())
}

/// Writes rows, every one of them.
async fn put(tx: &mut dyn Transaction, into: &'static Insert, rows: Vec<Vec<Value>>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let wanted = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    // A row that was left as it was is somebody else's, who was a moment faster: judged again, the op will be refused.
    if tx.insert(into, rows).await? == wanted { Ok(()) } else { Err(StoreError::Overtaken) }
}
