//! What follows the ends of transfers, for every download they served.
//!
//! Ends come in groups, and a group shares its work: one set of renames with one sync of each folder, one commit for all
//! blobs, one for all downloads that are complete by them.

use std::collections::BTreeMap;

use carrel_model::{
    BlobHash, DownloadId, ErrorCode,
    download::{DownloadAction, WaitReason},
};
use carrel_transfer::FetchError;
use tokio::task::JoinError;

use super::{
    line,
    queue::Queue,
    rows::{self, Change},
    setback::{Consequence, SPACE_WAIT_MS, consequence, drive_wait},
};
use crate::{EngineError, blobs::Writing, sync::view::NetworkState};

/// How a transfer ended.
pub(super) struct Ended {
    pub(super) hash: BlobHash,
    pub(super) result: Result<Brought, JobError>,
    /// What the service last refused with.
    pub(super) said: Option<ErrorCode>,
    /// Held until its file is in its place.
    pub(super) writing: Option<Writing>,
}

/// What a transfer brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brought {
    /// A whole, durable part file.
    Part,
    /// Nothing: the blob was there.
    WasHere,
}

#[derive(Debug)]
pub(super) enum JobError {
    Fetch(FetchError),
    Store(EngineError),
}

/// Puts in place what came whole, completes what is complete by that, and decides about the rest.
pub(super) async fn finish(queue: &Queue, all: Vec<Result<Ended, JoinError>>, network: NetworkState) {
    let mut parts = Vec::new();
    let mut here = Vec::new();
    let mut failed = Vec::new();
    for ended in all {
        let Some(mut ended) = ended.map_or_else(|error| panicked(queue, &error), Some) else { continue };
        let running = queue.live.all().remove(&ended.hash);
        if let Some(running) = running {
            queue.addresses.forget(running.profile, ended.hash);
        }
        match ended.result {
            Ok(Brought::Part) => parts.push((ended.hash, ended.writing.take())),
            Ok(Brought::WasHere) => here.push(ended.hash),
            Err(error) => {
                // Nobody writes it any more: what nobody needs may go.
                drop(ended.writing.take());
                failed.push((ended.hash, error, ended.said));
            }
        }
    }
    let hashes: Vec<BlobHash> = parts.iter().map(|(hash, _)| *hash).collect();
    match queue.blobs.adopt_all(&hashes).await {
        Ok(adopted) => {
            for (hash, error) in adopted.failed {
                failed.push((hash, JobError::Store(error), None));
            }
            here.extend(adopted.present);
        }
        Err(error) => {
            let code = error.code();
            tracing::error!(%error, "files could not be put in their places");
            failed.extend(hashes.iter().map(|hash| (*hash, JobError::Store(EngineError::Refused(code)), None)));
        }
    }
    drop(parts);
    if let Err(error) = follow(queue, &here, failed, network).await {
        tracing::error!(%error, "the end of a transfer could not be written down");
    }
}

/// A panic in a transfer ends the downloads it served, and nothing else.
fn panicked(queue: &Queue, error: &JoinError) -> Option<Ended> {
    let hash = queue.live.all().iter().find(|(_, fetch)| fetch.task == Some(error.id())).map(|(hash, _)| *hash)?;
    let result = Err(JobError::Store(EngineError::Transfer(error.to_string())));
    Some(Ended { hash, result, said: None, writing: None })
}

async fn follow(
    queue: &Queue,
    here: &[BlobHash],
    failed: Vec<(BlobHash, JobError, Option<ErrorCode>)>,
    network: NetworkState,
) -> Result<(), EngineError> {
    if !here.is_empty() {
        forget_rounds(queue, here).await?;
        queue.settle().await?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let hashes: Vec<BlobHash> = failed.iter().map(|(hash, ..)| *hash).collect();
    let served = line::served(queue.library.readers(), &hashes).await?;
    if served.len() < hashes.len() {
        queue.blobs.sweep().await?;
    }
    // What happens to a download happens once, however many of its blobs failed together: the gravest counts.
    let mut consequences: BTreeMap<DownloadId, Vec<Failure<'_>>> = BTreeMap::new();
    for (hash, error, said) in &failed {
        if let JobError::Fetch(error) = error {
            tracing::warn!(%error, %hash, "a transfer ended without its file");
        }
        for id in served.get(hash).into_iter().flatten() {
            consequences.entry(*id).or_default().push((error, *said));
        }
    }
    let mut changed = Vec::new();
    let mut given_up = Vec::new();
    let mut tx = queue.library.write().await?;
    let ids: Vec<_> = consequences.keys().copied().collect();
    for row in rows::of_ids(&mut *tx, &ids).await? {
        if !row.state.is_active() || row.deleted_at.is_some() {
            continue;
        }
        let jitter = jitter(queue);
        let of_row = consequences.remove(&row.id).unwrap_or_default();
        let then = of_row.into_iter().map(|(error, said)| judge(error, said, network, row.round, jitter));
        match then.max_by_key(Consequence::gravity).unwrap_or(Consequence::Nothing) {
            Consequence::Nothing => {}
            Consequence::Fail(code) => given_up.push((row.id, code)),
            Consequence::Wait { reason, retry_in_ms, counts } => {
                let retry = retry_in_ms.map(|ms| (queue.clock.now().plus_ms(ms), reason));
                let round = row.round + u32::from(counts);
                let change = Change { wait_reason: Some(reason), round, retry, error: row.error };
                rows::set_state(&mut tx, row.id, row.after(DownloadAction::Requeue)?, change).await?;
                changed.push(row.id);
            }
        }
    }
    tx.commit().await?;
    queue.news.tell(&changed);
    queue.publish(&changed).await?;
    for (id, code) in &given_up {
        queue.fail(*id, *code).await?;
    }
    if !given_up.is_empty() {
        queue.stop_unneeded().await?;
    }
    Ok(())
}

type Failure<'a> = (&'a JobError, Option<ErrorCode>);

fn judge(error: &JobError, said: Option<ErrorCode>, network: NetworkState, round: u32, jitter: f64) -> Consequence {
    match error {
        JobError::Fetch(error) => consequence(error, said, network, round, jitter),
        JobError::Store(error) => match error.code() {
            ErrorCode::StorageFull => {
                Consequence::Wait { reason: WaitReason::Space, retry_in_ms: Some(SPACE_WAIT_MS), counts: false }
            }
            ErrorCode::StorageUnavailable => drive_wait(),
            code => Consequence::Fail(code),
        },
    }
}

fn jitter(queue: &Queue) -> f64 {
    let mut bytes = [0; 4];
    queue.clock.fill_random(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// A blob arrived: the rounds that failed before it are over.
async fn forget_rounds(queue: &Queue, here: &[BlobHash]) -> Result<(), EngineError> {
    let had_trouble = "
        FROM json_each(?) j CROSS JOIN download_items i INDEXED BY download_items_by_hash ON i.hash = j.value
        CROSS JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
        WHERE d.deleted_at IS NULL AND (d.round > 0 OR d.retry_at IS NOT NULL)";
    let hashes = serde_json::to_string(here)?;
    let look = format!("SELECT 1 {had_trouble} LIMIT 1");
    if sqlx::query(&look).bind(&hashes).fetch_optional(queue.library.readers()).await?.is_none() {
        return Ok(());
    }
    let mut tx = queue.library.write().await?;
    let update = format!(
        "UPDATE downloads SET round = 0, retry_at = NULL, retry_reason = NULL
         WHERE state IN ('pending', 'downloading', 'verifying') AND id IN (SELECT d.id {had_trouble})"
    );
    sqlx::query(&update).bind(&hashes).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Waits that a network or a service caused end when it is back.
pub(super) async fn forgive(queue: &Queue) -> Result<(), EngineError> {
    let mut tx = queue.library.write().await?;
    sqlx::query(
        "UPDATE downloads SET retry_at = NULL, retry_reason = NULL
         WHERE retry_at IS NOT NULL AND retry_reason IN ('network', 'server')",
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}
