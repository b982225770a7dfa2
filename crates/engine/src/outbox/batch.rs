//! Taking a batch out of the outbox, and writing down what became of it.

use std::collections::BTreeSet;

use carrel_model::{
    DeviceId, ErrorCode, ProfileId, TimeMs,
    op::{MAX_BATCH_BYTES, RawOp},
    wire::sync::{PushOutcome, PushResult},
};
use sqlx::{SqliteConnection, SqlitePool};

use super::rows::raw_op;
use crate::{
    EngineError,
    rows::{parsed, signed},
};

/// An op that was told "not now" so often becomes a dead letter (requirement O3).
const MAX_ATTEMPTS: u32 = 8;
/// Room for the envelope around the ops.
const ENVELOPE_BYTES: usize = 1_024;

/// Ops under way, all of one device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    pub(crate) profile: ProfileId,
    pub(crate) device_id: DeviceId,
    /// Oldest first.
    pub(crate) ops: Vec<RawOp>,
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Verdicts {
    /// The service judged each.
    Each(Vec<PushResult>),
    /// There was no verdict: everything waits as before.
    None,
    /// The service fails on this one op: it waits until then, and what comes after it goes ahead.
    HoldBack {
        /// Until when.
        until: TimeMs,
        /// What the service said.
        error: ErrorCode,
    },
}

/// Oldest first, at most `limit` ops and 512 KiB. An op that waits holds back what comes after it of the same entity.
pub(super) async fn take(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    limit: usize,
    now: TimeMs,
) -> Result<Option<Batch>, EngineError> {
    // An entity that waits is left out as a whole from its first waiting op on.
    let rows = sqlx::query(
        "SELECT o.* FROM outbox o WHERE o.profile_id = ?1 AND o.state = 'waiting' AND NOT EXISTS (
             SELECT 1 FROM outbox w WHERE w.profile_id = o.profile_id AND w.state = 'waiting' AND w.not_before > ?2
                 AND w.entity_id = o.entity_id AND w.seq <= o.seq)
         ORDER BY o.seq LIMIT ?3",
    )
    .bind(profile.to_string())
    .bind(now.as_ms())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *tx)
    .await?;
    let mut batch: Option<Batch> = None;
    let mut bytes = ENVELOPE_BYTES;
    for row in &rows {
        let op = raw_op(row)?;
        let device_id = parsed(row, "device_id")?;
        bytes += serde_json::to_vec(&op)?.len() + 1;
        match &mut batch {
            None => batch = Some(Batch { profile, device_id, ops: vec![op] }),
            Some(batch) if bytes > MAX_BATCH_BYTES || batch.device_id != device_id => break,
            Some(batch) => batch.ops.push(op),
        }
    }
    for op in batch.iter().flat_map(|batch| &batch.ops) {
        sqlx::query("UPDATE outbox SET sent_once = 1, in_flight = 1 WHERE profile_id = ?1 AND seq = ?2")
            .bind(profile.to_string())
            .bind(signed(op.seq))
            .execute(&mut *tx)
            .await?;
    }
    Ok(batch)
}

pub(super) async fn settle(
    tx: &mut SqliteConnection,
    batch: &Batch,
    verdicts: Verdicts,
    now: TimeMs,
) -> Result<(), EngineError> {
    let sent: BTreeSet<u64> = batch.ops.iter().map(|op| op.seq).collect();
    match verdicts {
        Verdicts::None => {}
        Verdicts::Each(results) => {
            // A verdict on something that wasn't asked about is no verdict.
            for result in results.iter().filter(|result| sent.contains(&result.seq)) {
                settle_one(tx, batch.profile, result, now).await?;
            }
        }
        Verdicts::HoldBack { until, error } => {
            for seq in &sent {
                sqlx::query("UPDATE outbox SET not_before = ?3, last_error = ?4 WHERE profile_id = ?1 AND seq = ?2")
                    .bind(batch.profile.to_string())
                    .bind(signed(*seq))
                    .bind(until.as_ms())
                    .bind(error.as_str())
                    .execute(&mut *tx)
                    .await?;
            }
        }
    }
    sqlx::query("UPDATE outbox SET in_flight = 0 WHERE profile_id = ?1 AND in_flight = 1")
        .bind(batch.profile.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

async fn settle_one(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    result: &PushResult,
    now: TimeMs,
) -> Result<(), EngineError> {
    let (profile, seq) = (profile.to_string(), signed(result.seq));
    match &result.outcome {
        PushOutcome::Applied | PushOutcome::Duplicate | PushOutcome::Superseded => {
            sqlx::query("UPDATE outbox SET state = 'acked', last_error = NULL WHERE profile_id = ?1 AND seq = ?2")
                .bind(profile)
                .bind(seq)
                .execute(tx)
                .await?;
        }
        PushOutcome::Rejected { code, detail } => {
            let detail: String = detail.chars().take(500).collect();
            sqlx::query(
                "UPDATE outbox SET state = 'refused', rejected = ?3, rejected_detail = ?4
                 WHERE profile_id = ?1 AND seq = ?2",
            )
            .bind(profile)
            .bind(seq)
            .bind(code.as_str())
            .bind(detail)
            .execute(tx)
            .await?;
        }
        PushOutcome::Retry { after_ms } => {
            let until = now.plus_ms(signed((*after_ms).min(24 * 60 * 60 * 1_000)));
            sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, not_before = ?3, last_error = ?4,
                     state = CASE WHEN attempts + 1 >= ?5 THEN 'refused' ELSE state END
                 WHERE profile_id = ?1 AND seq = ?2",
            )
            .bind(profile)
            .bind(seq)
            .bind(until.as_ms())
            .bind(ErrorCode::ServiceFailed.as_str())
            .bind(MAX_ATTEMPTS)
            .execute(tx)
            .await?;
        }
    }
    Ok(())
}

pub(super) async fn next_due(readers: &SqlitePool, profile: ProfileId) -> Result<Option<TimeMs>, EngineError> {
    let ms: Option<i64> = sqlx::query_scalar(
        "SELECT min(not_before) FROM outbox WHERE profile_id = ?1 AND state = 'waiting' AND not_before > 0",
    )
    .bind(profile.to_string())
    .fetch_one(readers)
    .await?;
    Ok(ms.map(TimeMs::from_ms))
}
