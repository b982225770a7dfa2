//! Performs what the scheduler decided: transfers, and what follows their ends.
//!
//! One loop. It sleeps until a command, the network, the end of a transfer or the clock wakes it; while transfers run it
//! also tells who listens how far they are, at most five times a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use carrel_model::{
    BlobHash, DownloadId, ErrorCode, ProfileId, TimeMs,
    download::{DownloadAction, DownloadState, WaitReason},
};
use carrel_transfer::{Control, FetchError, FetchRequest, Sources};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{
    addresses::SignedSources,
    live::Running,
    queue::Queue,
    rows::{self, Change},
    scheduler::{self, Conditions, DEFAULT_CONCURRENCY, Queued, Wanted},
    setback::{Consequence, consequence},
};
use crate::{EngineError, EngineEvent, sync::view::NetworkState};

/// Between two looks at the progress.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// A failure of the database or the disk while planning is no reason to spin.
const AFTER_FAULT: Duration = Duration::from_secs(5);
/// A wait whose end lies in the past by now, or in a clock that jumps, is not looked at more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// A file that is altered again and again while it is fetched is given up after so many rounds.
const LOOKS_AT_THE_DISK: u32 = 4;

/// How a fetch ended.
struct Ended {
    hash: BlobHash,
    result: Result<(), JobError>,
    said: Option<ErrorCode>,
}

enum JobError {
    Fetch(FetchError),
    Store(EngineError),
}

/// Runs until it is dropped; transfers end with it.
pub(super) async fn run(queue: Arc<Queue>) {
    let mut network = queue.rooms.network();
    let mut jobs: JoinSet<Ended> = JoinSet::new();
    let mut told = Told::default();
    loop {
        let wake_at = match look(&queue, state(&network), &mut jobs).await {
            Ok(wake_at) => wake_at.map(|at| until(&queue, at)),
            Err(error) => {
                tracing::error!(%error, "the download queue could not be read");
                Some(Instant::now() + AFTER_FAULT)
            }
        };
        // Until something asks for a new plan, progress is all there is to tell.
        loop {
            let telling = (!queue.live.is_empty()).then(|| told.next());
            tokio::select! {
                () = queue.wake.notified() => break,
                Some(ended) = jobs.join_next(), if !jobs.is_empty() => {
                    let now = state(&network);
                    finish(&queue, ended, now).await;
                    break;
                }
                Ok(()) = network.changed() => {
                    let now = network.borrow_and_update().0;
                    network_changed(&queue, now).await;
                    break;
                }
                () = sleep_until(wake_at), if wake_at.is_some() => break,
                () = sleep_until(telling), if telling.is_some() => told.tell(&queue).await,
            }
        }
    }
}

fn state(network: &watch::Receiver<(NetworkState, TimeMs)>) -> NetworkState {
    network.borrow().0
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

fn until(queue: &Queue, at: TimeMs) -> Instant {
    let wait = u64::try_from(at.since(queue.clock.now())).unwrap_or(0);
    Instant::now() + Duration::from_millis(wait).max(SHORTEST_WAIT)
}

/// Plans, writes down who waits and why, and begins what may begin. Says when to look again.
async fn look(
    queue: &Arc<Queue>,
    network: NetworkState,
    jobs: &mut JoinSet<Ended>,
) -> Result<Option<TimeMs>, EngineError> {
    let rows = rows::queued(queue.library.readers()).await?;
    if rows.is_empty() {
        return Ok(None);
    }
    let conditions = conditions(queue, network, &rows).await?;
    let mut candidates: Vec<Queued> = Vec::with_capacity(rows.len());
    let mut found = 0;
    let places = conditions.limits.values().copied().max().unwrap_or(DEFAULT_CONCURRENCY);
    for row in &rows {
        let mut queued = Queued {
            id: row.id,
            profile: row.profile_id,
            priority: row.priority,
            position: row.position,
            retry: row.retry,
            blobs: Vec::new(),
        };
        // Blobs only of those whose turn it can be: a long queue costs no more than a short one.
        if found < places && scheduler::held_back(&queued, &conditions).is_none() {
            let missing = rows::missing(queue.library.readers(), row.id, places + conditions.running.len()).await?;
            if missing.is_empty() {
                queue.settle(row.id).await?;
                continue;
            }
            found += missing.iter().filter(|(hash, _)| !conditions.running.contains_key(hash)).count();
            queued.blobs = missing
                .into_iter()
                .map(|(hash, size)| Wanted {
                    hash,
                    remaining_bytes: size.saturating_sub(queue.blobs.begun_bytes(hash)),
                })
                .collect();
        }
        candidates.push(queued);
    }
    let plan = scheduler::plan(&candidates, &conditions);
    for (download, hash) in &plan.start {
        if let Some(queued) = candidates.iter().find(|queued| queued.id == *download) {
            begin(queue, jobs, queued.profile, *download, *hash).await?;
        }
    }
    write_down(queue, &rows, &plan.waits).await?;
    Ok(plan.wake_at)
}

async fn conditions(
    queue: &Queue,
    network: NetworkState,
    rows: &[rows::DownloadRow],
) -> Result<Conditions, EngineError> {
    let mut limits = BTreeMap::new();
    for profile in rows.iter().map(|row| row.profile_id).collect::<BTreeSet<_>>() {
        limits.insert(profile, usize::from(queue.rooms.settings(profile).await?.concurrency.max(1)));
    }
    let left = |hash: BlobHash, size: u64| size.saturating_sub(queue.blobs.begun_bytes(hash));
    let running = queue.live.all().iter().map(|(hash, run)| (*hash, (run.profile, left(*hash, run.size)))).collect();
    Ok(Conditions {
        now: queue.clock.now(),
        network,
        signed_in: queue.rooms.signed_in().await?.into_iter().collect(),
        limits,
        running,
        room_bytes: queue.blobs.space(BTreeMap::new()).await?.above_floor_bytes(),
    })
}

/// Starts one transfer.
async fn begin(
    queue: &Arc<Queue>,
    jobs: &mut JoinSet<Ended>,
    profile: ProfileId,
    download: DownloadId,
    hash: BlobHash,
) -> Result<(), EngineError> {
    let Some(manifest) = queue.blobs.manifest(hash).await? else { return Ok(()) };
    let mut tx = queue.library.write().await?;
    let serves = rows::queued_for(&mut tx, hash).await?.into_iter().map(|row| row.id).collect();
    tx.rollback().await?;
    let control = Control::new();
    let running = Running {
        profile,
        progress: control.progress(),
        control: control.clone(),
        size: manifest.size(),
        task: None,
        serves,
    };
    queue.live.all().insert(hash, running);
    let said = Arc::new(Mutex::new(None));
    let sources = SignedSources { queue: Arc::clone(queue), profile, download, said: Arc::clone(&said) };
    let owned = Arc::clone(queue);
    let task = jobs.spawn(async move {
        let queue = owned;
        let result = fetch(&queue, FetchRequest::new(manifest, queue.blobs.part_path(hash)), hash, sources, control);
        let result = Box::pin(result).await;
        let said = *said.lock().unwrap_or_else(PoisonError::into_inner);
        Ended { hash, result, said }
    });
    if let Some(running) = queue.live.all().get_mut(&hash) {
        running.task = Some(task.id());
    }
    Ok(())
}

async fn fetch(
    queue: &Queue,
    request: FetchRequest,
    hash: BlobHash,
    sources: SignedSources,
    control: Control,
) -> Result<(), JobError> {
    let _writing = queue.blobs.writing(hash).await;
    // A whole file is there already: somebody else has just written it, the database was made anew, or the power went
    // between a file's place and the record of it.
    if queue.blobs.take_in(hash).await.map_err(JobError::Store)? {
        return Ok(());
    }
    let journal = Arc::new(queue.blobs.journal());
    let sources: Arc<dyn Sources> = Arc::new(sources);
    // A fetch that asks for nothing has hashed every piece on the disk. What one fetched was hashed on its way there, and
    // another program may have altered the file since: so the last look is at the disk.
    for _ in 0..LOOKS_AT_THE_DISK {
        let fetching =
            queue.fetcher.fetch(request.clone(), Arc::clone(&sources), Arc::clone(&journal) as _, control.clone());
        if fetching.await.map_err(JobError::Fetch)?.bytes_fetched == 0 {
            queue.blobs.adopt(hash).await.map_err(JobError::Store)?;
            return Ok(());
        }
    }
    Err(JobError::Store(EngineError::Refused(ErrorCode::Damaged)))
}

/// What follows the end of a transfer, for every download it served.
async fn finish(queue: &Queue, ended: Result<Ended, tokio::task::JoinError>, network: NetworkState) {
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            // A panic in a transfer ends the downloads it served, and nothing else.
            let found =
                queue.live.all().iter().find(|(_, fetch)| fetch.task == Some(error.id())).map(|(hash, _)| *hash);
            let Some(hash) = found else { return };
            Ended { hash, result: Err(JobError::Store(EngineError::Transfer(error.to_string()))), said: None }
        }
    };
    queue.live.all().remove(&ended.hash);
    if let Err(error) = follow(queue, ended, network).await {
        tracing::error!(%error, "the end of a transfer could not be written down");
    }
}

async fn follow(queue: &Queue, ended: Ended, network: NetworkState) -> Result<(), EngineError> {
    let mut tx = queue.library.write().await?;
    let served = rows::queued_for(&mut tx, ended.hash).await?;
    tx.rollback().await?;
    if served.is_empty() {
        queue.blobs.sweep().await?;
        return Ok(());
    }
    let error = match ended.result {
        Ok(()) => {
            let mut tx = queue.library.write().await?;
            for row in served.iter().filter(|row| row.round > 0 || row.retry.is_some()) {
                rows::set_state(
                    &mut tx,
                    row.id,
                    row.state,
                    Change { round: 0, retry: None, ..Change::waiting(row, None) },
                )
                .await?;
            }
            tx.commit().await?;
            for row in &served {
                queue.settle(row.id).await?;
            }
            return Ok(());
        }
        Err(error) => error,
    };
    let mut bytes = [0; 4];
    queue.clock.fill_random(&mut bytes);
    let jitter = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
    for row in served {
        let then = match &error {
            JobError::Fetch(error) => {
                tracing::warn!(%error, hash = %ended.hash, "a transfer ended without its file");
                consequence(error, ended.said, network, row.round, jitter)
            }
            JobError::Store(error) if error.code() == ErrorCode::StorageFull => {
                Consequence::Wait { reason: WaitReason::Space, retry_in_ms: Some(60_000), counts: false }
            }
            JobError::Store(error) => Consequence::Fail(error.code()),
        };
        match then {
            Consequence::Nothing => {}
            Consequence::Fail(code) => {
                queue.fail(row.id, code).await?;
                queue.stop_unneeded().await?;
            }
            Consequence::Wait { reason, retry_in_ms, counts } => {
                let retry = retry_in_ms.map(|ms| (queue.clock.now().plus_ms(ms), reason));
                let round = row.round + u32::from(counts);
                let change = Change { wait_reason: Some(reason), round, retry, error: row.error };
                let mut tx = queue.library.write().await?;
                rows::set_state(&mut tx, row.id, row.after(DownloadAction::Requeue)?, change).await?;
                tx.commit().await?;
                queue.publish(&[row.id]).await?;
            }
        }
    }
    Ok(())
}

/// Writes states and reasons down where they changed, and tells.
async fn write_down(
    queue: &Queue,
    rows: &[rows::DownloadRow],
    waits: &BTreeMap<DownloadId, Option<WaitReason>>,
) -> Result<(), EngineError> {
    let running: BTreeSet<DownloadId> = queue.live.all().values().flat_map(|fetch| fetch.serves.clone()).collect();
    let target = |row: &rows::DownloadRow| {
        let wait = waits.get(&row.id).copied()?;
        let runs = running.contains(&row.id);
        let (action, wait) = if runs { (DownloadAction::Start, None) } else { (DownloadAction::Requeue, wait) };
        let state =
            if runs && row.state == DownloadState::Downloading { row.state } else { row.state.after(action)? };
        (state != row.state || wait != row.wait_reason).then_some((state, wait))
    };
    if rows.iter().all(|row| target(row).is_none()) {
        return Ok(());
    }
    let mut changed = Vec::new();
    let mut tx = queue.library.write().await?;
    // Read again: a command may have come between, and it has the last word.
    for row in rows::queued(&mut *tx).await? {
        if let Some((state, wait)) = target(&row) {
            rows::set_state(&mut tx, row.id, state, Change::waiting(&row, wait)).await?;
            changed.push(row.id);
        }
    }
    tx.commit().await?;
    queue.publish(&changed).await
}

async fn network_changed(queue: &Queue, network: NetworkState) {
    match network {
        // A transfer would try for minutes and call it downloading; the queue names the cause and goes on by itself.
        NetworkState::Offline => queue.live.all().values().for_each(|fetch| fetch.control.pause()),
        NetworkState::Online => {
            queue.live.all().values().for_each(|fetch| fetch.control.reconnect());
            if let Err(error) = forgive(queue).await {
                tracing::error!(%error, "waits could not be ended");
            }
        }
        NetworkState::Limited | NetworkState::Unknown => {}
    }
}

/// Waits that a network or a service caused end when it is back.
async fn forgive(queue: &Queue) -> Result<(), EngineError> {
    let mut tx = queue.library.write().await?;
    sqlx::query(
        "UPDATE downloads SET retry_at = NULL, retry_reason = NULL
         WHERE retry_at IS NOT NULL AND retry_reason IN ('network', 'server')",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// How far transfers are, as it was last told.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
    views: BTreeMap<DownloadId, super::view::DownloadView>,
}

impl Told {
    fn next(&self) -> Instant {
        self.last.map_or_else(Instant::now, |last| last + TELL_EVERY)
    }

    async fn tell(&mut self, queue: &Queue) {
        self.last = Some(Instant::now());
        let ids: BTreeSet<_> = queue.live.all().values().flat_map(|fetch| fetch.serves.clone()).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let views = async {
            let rows = rows::of_ids(queue.library.readers(), &ids).await?;
            let views = queue.views(&rows).await?;
            Ok::<_, EngineError>(rows.into_iter().map(|row| row.profile_id).zip(views).collect::<Vec<_>>())
        };
        let Ok(views) = views.await else { return };
        let mut by_profile: BTreeMap<ProfileId, Vec<_>> = BTreeMap::new();
        self.views.retain(|id, _| ids.contains(id));
        for (profile, view) in views {
            if self.views.insert(view.id, view.clone()).as_ref() != Some(&view) {
                by_profile.entry(profile).or_default().push(view);
            }
        }
        for (profile_id, changed) in by_profile {
            queue.events.send(EngineEvent::Downloads { profile_id, changed, removed: Vec::new() });
        }
    }
}
