//! Taking a batch out of the outbox, and writing down what became of it.

use std::collections::BTreeSet;

use carrel_model::{
    DeviceId, ErrorCode, ProfileId, TimeMs,
    op::RawOp,
    wire::sync::{PushOutcome, PushResult},
};
use futures_util::TryStreamExt as _;
use sqlx::{SqliteConnection, SqlitePool};

use super::{
    rows::{raw_op, rekey_under_former_ids},
    rules::{Candidate, Choice, Chosen, Settled, settled},
};
use crate::{
    EngineError,
    rows::{parsed, signed, time},
};

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
    /// The service has other contents under some of these keys, and some of these ones already; nothing was taken. What is in
    /// neither list was not judged and goes again as it is: a twin of this device may have sent the very same.
    Regressed {
        /// The numbers of those it has.
        known: Vec<u64>,
        /// The numbers under which it has something else.
        conflicting: Vec<u64>,
    },
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
    let mut choice = Choice::new(limit, now);
    let mut batch: Option<Batch> = None;
    {
        // Read as far as the batch goes: ten thousand that wait cost no more than five hundred.
        let mut rows = sqlx::query(
            "SELECT * FROM outbox WHERE profile_id = ?1 AND state = 'waiting' AND regressed = 0 ORDER BY seq",
        )
        .bind(profile.to_string())
        .fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            let op = raw_op(&row)?;
            let device_id = parsed(&row, "device_id")?;
            let candidate = Candidate {
                seq: op.seq,
                device_id,
                entity_id: &op.entity_id,
                bytes: serde_json::to_vec(&op)?.len(),
                not_before: time(&row, "not_before")?,
            };
            match choice.offer(&candidate) {
                Chosen::Goes => {
                    batch.get_or_insert_with(|| Batch { profile, device_id, ops: Vec::new() }).ops.push(op);
                }
                Chosen::Waits => {}
                Chosen::Full => break,
            }
        }
    }
    if let Some(batch) = &batch {
        let seqs = batch.ops.iter().map(|op| op.seq);
        each(tx, profile, seqs, "UPDATE outbox SET sent_once = 1, in_flight = 1").await?;
    }
    Ok(batch)
}

/// Changes these entries in one statement.
async fn each(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    seqs: impl Iterator<Item = u64>,
    update: &str,
) -> Result<(), EngineError> {
    let seqs: Vec<u64> = seqs.collect();
    sqlx::query(&format!("{update} WHERE profile_id = ?1 AND seq IN (SELECT value FROM json_each(?2))"))
        .bind(profile.to_string())
        .bind(serde_json::to_string(&seqs)?)
        .execute(tx)
        .await?;
    Ok(())
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
            let own = || results.iter().filter(|result| sent.contains(&result.seq));
            let taken = |outcome: &PushOutcome| settled(outcome, 0, now) == Settled::Acked;
            let acked = own().filter(|result| taken(&result.outcome)).map(|result| result.seq);
            each(tx, batch.profile, acked, "UPDATE outbox SET state = 'acked', last_error = NULL").await?;
            for result in own().filter(|result| !taken(&result.outcome)) {
                settle_one(tx, batch.profile, result, now).await?;
            }
        }
        Verdicts::Regressed { known, conflicting } => {
            let own = |seqs: Vec<u64>| seqs.into_iter().filter(|seq| sent.contains(seq));
            each(tx, batch.profile, own(conflicting), "UPDATE outbox SET regressed = 1").await?;
            each(tx, batch.profile, own(known), "UPDATE outbox SET state = 'acked', last_error = NULL").await?;
            rekey_under_former_ids(tx, batch.profile).await?;
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
    // Those of the batch by their keys: looking through thousands that wait for it would take longer than all the rest.
    each(tx, batch.profile, sent.iter().copied(), "UPDATE outbox SET in_flight = 0").await
}

async fn settle_one(
    tx: &mut SqliteConnection,
    profile: ProfileId,
    result: &PushResult,
    now: TimeMs,
) -> Result<(), EngineError> {
    let (profile, seq) = (profile.to_string(), signed(result.seq));
    let attempts: u32 = sqlx::query_scalar("SELECT attempts FROM outbox WHERE profile_id = ?1 AND seq = ?2")
        .bind(&profile)
        .bind(seq)
        .fetch_optional(&mut *tx)
        .await?
        .unwrap_or_default();
    match settled(&result.outcome, attempts, now) {
        Settled::Acked => {
            sqlx::query("UPDATE outbox SET state = 'acked', last_error = NULL WHERE profile_id = ?1 AND seq = ?2")
                .bind(profile)
                .bind(seq)
                .execute(tx)
                .await?;
        }
        Settled::Refused { code, detail } => {
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
        Settled::Again { until, given_up } => {
            sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, not_before = ?3, last_error = ?4,
                     state = CASE WHEN ?5 THEN 'refused' ELSE state END
                 WHERE profile_id = ?1 AND seq = ?2",
            )
            .bind(profile)
            .bind(seq)
            .bind(until.as_ms())
            .bind(ErrorCode::ServiceFailed.as_str())
            .bind(given_up)
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
