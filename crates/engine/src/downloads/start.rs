//! Asking for a unit or a lesson to be taken along.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::{
    BlobHash, DownloadId, ErrorCode, ProfileId,
    content::{Course, Quality, Unit},
    download::{DownloadAction, DownloadState},
    wire::downloads::{AuthorizeRequest, Authorized},
};
use tokio::sync::{Semaphore, mpsc};

use super::{
    items, line,
    queue::Queue,
    rows::{self, Change, DownloadRow},
    view::{DownloadView, StartDownload},
};
use crate::{EngineError, library::WriteTx};

/// Positions are spread, so that one can be put between two others without touching the rest.
pub(super) const POSITION_STEP: i64 = 1 << 20;

/// How many wishes are taken to the service at once.
const ASKED_AT_ONCE: usize = 8;
/// How many are written in one transaction.
const WRITTEN_AT_ONCE: usize = 128;
/// How long the first of them waits for the others.
const GATHERED_FOR: Duration = Duration::from_millis(400);

/// Authorises, reserves and queues; gives the download that is there already where that is what was asked for.
pub(super) async fn start(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
) -> Result<DownloadView, EngineError> {
    match look(queue, profile, request).await? {
        Wish::There(id) => queue.one(profile, id).await,
        Wish::Paused(id) => super::commands::resume(queue, profile, id).await,
        Wish::New(quality, there) => authorised(queue, profile, request, quality, there.map(|row| *row)).await,
    }
}

/// As [`start`] for many wishes: the service is asked for several at once, and what it grants is written together. Wishes
/// that are refused come back with their errors and keep no other from being queued.
pub(super) async fn start_all(
    queue: &Arc<Queue>,
    profile: ProfileId,
    mut requests: Vec<StartDownload>,
) -> Result<Vec<(StartDownload, EngineError)>, EngineError> {
    let mut refused = Vec::new();
    let mut seen = BTreeSet::new();
    requests.retain(|request| seen.insert((request.unit_id, request.lesson_id)));
    let mut asked = ask_for(queue, profile, requests);
    let mut answers = Vec::new();
    while asked.recv_many(&mut answers, WRITTEN_AT_ONCE).await > 0 {
        // Random places in the same trees: many together cost little more than a few.
        let gathered = tokio::time::Instant::now() + GATHERED_FOR;
        while answers.len() < WRITTEN_AT_ONCE
            && let Ok(Some(answer)) = tokio::time::timeout_at(gathered, asked.recv()).await
        {
            answers.push(answer);
        }
        let mut grants = Vec::new();
        for (request, answer) in answers.drain(..) {
            match answer {
                Ok(granted) => grants.extend(granted),
                Err(error) => refused.push((request, error)),
            }
        }
        match write(queue, profile, &grants).await {
            Ok(ids) => queue.publish(&ids).await?,
            // Together they are too much; one by one, as many as there is room for.
            Err(EngineError::StorageFull { .. }) if grants.len() > 1 => {
                for grant in grants {
                    let request = grant.0.request;
                    match write(queue, profile, std::slice::from_ref(&grant)).await {
                        Ok(ids) => queue.publish(&ids).await?,
                        Err(error @ EngineError::StorageFull { .. }) => refused.push((request, error)),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(EngineError::StorageFull { needed, available }) => {
                refused.extend(
                    grants.iter().map(|(grant, _)| (grant.request, EngineError::StorageFull { needed, available })),
                );
            }
            Err(error) => return Err(error),
        }
    }
    queue.settle().await?;
    queue.release().await?;
    Ok(refused)
}

type Answer = (StartDownload, Result<Option<(Grant, Option<DownloadRow>)>, EngineError>);

/// Asks for wishes, a few at once and not far ahead of what is written. As tasks of their own: a question that nobody polls
/// would keep a connection to the database that the writing waits for.
fn ask_for(queue: &Arc<Queue>, profile: ProfileId, requests: Vec<StartDownload>) -> mpsc::Receiver<Answer> {
    let (answered, answers) = mpsc::channel(ASKED_AT_ONCE);
    let (queue, places) = (Arc::clone(queue), Arc::new(Semaphore::new(ASKED_AT_ONCE)));
    tokio::spawn(async move {
        for request in requests {
            // Closed once nobody listens any more.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (queue, answered) = (Arc::clone(&queue), answered.clone());
            if answered.is_closed() {
                return;
            }
            tokio::spawn(async move {
                let answer = grant(&queue, profile, request).await;
                answered.send((request, answer)).await.ok();
                drop(place);
            });
        }
    });
    answers
}

/// What the service grants of a wish; nothing where it is there already.
async fn grant(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
) -> Result<Option<(Grant, Option<DownloadRow>)>, EngineError> {
    match look(queue, profile, request).await? {
        Wish::There(_) => Ok(None),
        Wish::Paused(id) => super::commands::resume(queue, profile, id).await.map(|_| None),
        Wish::New(quality, there) => Ok(Some((ask(queue, profile, request, quality).await?, there.map(|row| *row)))),
    }
}

async fn look(queue: &Queue, profile: ProfileId, request: StartDownload) -> Result<Wish, EngineError> {
    let quality = match request.quality {
        Some(quality) => quality,
        None => queue.rooms.settings(profile).await?.default_quality,
    };
    let there = rows::of_wish(queue.library.readers(), profile, request.unit_id, request.lesson_id).await?;
    if let Some(row) = there.as_ref().filter(|row| row.quality == quality) {
        if row.state.is_active() {
            return Ok(Wish::There(row.id));
        }
        if row.state == DownloadState::Paused {
            return Ok(Wish::Paused(row.id));
        }
        if row.state == DownloadState::Completed && !is_due(queue, row).await? {
            return Ok(Wish::There(row.id));
        }
    }
    Ok(Wish::New(quality, there.map(Box::new)))
}

/// What to do about a wish.
enum Wish {
    /// It is fulfilled, or on its way.
    There(DownloadId),
    /// It is there and was stopped.
    Paused(DownloadId),
    /// The service is to be asked, in this quality; and what there is of the wish already.
    New(Quality, Option<Box<DownloadRow>>),
}

/// Completed, but past its last day or behind the catalogue.
async fn is_due(queue: &Queue, row: &DownloadRow) -> Result<bool, EngineError> {
    use crate::catalogue::view::Availability;
    let now = queue.rooms.trusted_now();
    let states = super::offline_states(queue.library.readers(), row.profile_id, now).await?;
    let of_wish = row.lesson_id.map_or_else(|| states.unit(row.unit_id), |lesson| states.lesson(lesson));
    Ok(matches!(of_wish.availability, Availability::Expired | Availability::UpdateAvailable))
}

/// The whole way to the service, for a new wish or a new version of an old one.
pub(super) async fn authorised(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
    quality: Quality,
    there: Option<DownloadRow>,
) -> Result<DownloadView, EngineError> {
    let grant = ask(queue, profile, request, quality).await?;
    let ids = write(queue, profile, &[(grant, there)]).await?;
    let id = ids.first().copied().ok_or(EngineError::NotFound("download"))?;
    if !queue.settle().await?.contains(&id) {
        queue.release().await?;
        queue.publish(&ids).await?;
    }
    queue.one(profile, id).await
}

/// Asks the service.
async fn ask(
    queue: &Queue,
    profile: ProfileId,
    request: StartDownload,
    quality: Quality,
) -> Result<Grant, EngineError> {
    let (course, unit) = queue.rooms.unit(profile, request.unit_id).await?.ok_or(EngineError::NotFound("unit"))?;
    let title = match request.lesson_id {
        None => unit.title.clone(),
        Some(id) => {
            let lesson = unit.lessons.iter().find(|lesson| lesson.id == id);
            lesson.ok_or(EngineError::NotFound("lesson"))?.title.clone()
        }
    };
    let wish = AuthorizeRequest {
        unit_id: request.lesson_id.is_none().then_some(request.unit_id),
        lesson_id: request.lesson_id,
        quality: Some(quality),
        ..AuthorizeRequest::default()
    };
    let granted = queue.rooms.authorize(profile, wish).await?;
    Ok(Grant { request, quality, title, course, unit, granted })
}

/// Writes what was granted down: blobs, records and items in one transaction, durable when this returns.
async fn write(
    queue: &Queue,
    profile: ProfileId,
    grants: &[(Grant, Option<DownloadRow>)],
) -> Result<Vec<DownloadId>, EngineError> {
    let lock = queue.blobs.lock().await;
    reserve(queue, &grants.iter().map(|(grant, _)| &grant.granted).collect::<Vec<_>>()).await?;
    let mut tx = queue.library.write().await?;
    let mut ids = Vec::with_capacity(grants.len());
    // In the order of their hashes, so that each page of the tables is come to once.
    let mut blobs: Vec<_> = grants.iter().flat_map(|(grant, _)| &grant.granted.blobs).collect();
    blobs.sort_unstable_by_key(|blob| blob.manifest.hash());
    let expected: Vec<_> = blobs.into_iter().map(|blob| (&blob.manifest, blob.kind, blob.mime.as_str())).collect();
    queue.blobs.expect_all(&lock, &mut tx, &expected).await?;
    for (grant, there) in grants {
        let id = grant.record(queue, &mut tx, profile, there.as_ref()).await?;
        let items = items::expand(&grant.granted, &grant.unit, grant.request.lesson_id, grant.quality);
        items::insert(&mut tx, id, profile, &items).await?;
        items::recount(&mut tx, id).await?;
        ids.push(id);
    }
    tx.commit().await?;
    drop(lock);
    for (grant, _) in grants {
        queue.addresses.keep(profile, &grant.granted);
    }
    Ok(ids)
}

/// Refuses early, with the numbers, what the disk has no room for (S1).
async fn reserve(queue: &Queue, granted: &[&Authorized]) -> Result<(), EngineError> {
    let blobs = granted.iter().flat_map(|granted| &granted.blobs);
    let blobs: Vec<_> = blobs.map(|blob| (blob.manifest.hash(), blob.manifest.size())).collect();
    let begun = queue.blobs.begun().await?;
    let needed = line::needed_bytes(queue.library.readers(), &blobs, &begun).await?;
    let available = queue.space_for(needed).await?.available_bytes();
    if needed > available {
        return Err(EngineError::StorageFull { needed, available });
    }
    Ok(())
}

/// Of these blobs those that are not whole on disk.
async fn absent(queue: &Queue, blobs: &[(BlobHash, u64)]) -> Result<BTreeMap<BlobHash, u64>, EngineError> {
    let hashes: Vec<_> = blobs.iter().map(|(hash, _)| *hash).collect();
    let here =
        sqlx::query("SELECT hash FROM blobs WHERE state = 'present' AND hash IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&hashes)?)
            .fetch_all(queue.library.readers())
            .await?;
    let here: BTreeSet<BlobHash> = here.iter().map(crate::blobs::read_hash).collect::<Result<_, _>>()?;
    Ok(blobs.iter().copied().filter(|(hash, _)| !here.contains(hash)).collect())
}

/// Of these blobs, the bytes that are not on this device yet.
pub(super) async fn net_bytes(queue: &Queue, blobs: &[(BlobHash, u64)]) -> Result<u64, EngineError> {
    Ok(absent(queue, blobs).await?.values().copied().fold(0, u64::saturating_add))
}

/// A wish and what the service granted.
struct Grant {
    request: StartDownload,
    quality: Quality,
    title: String,
    course: Course,
    unit: Unit,
    granted: Authorized,
}

impl Grant {
    /// A new row, or a new generation of the one that is there.
    async fn record(
        &self,
        queue: &Queue,
        tx: &mut WriteTx,
        profile: ProfileId,
        there: Option<&DownloadRow>,
    ) -> Result<DownloadId, EngineError> {
        let total: u64 = self.granted.blobs.iter().map(|blob| blob.manifest.size()).fold(0, u64::saturating_add);
        let (now, new) = super::new_id(queue.clock.as_ref());
        let id = if let Some(row) = there {
            // Read again within the transaction: the runner may have moved it meanwhile.
            let row = rows::get(&mut **tx, profile, row.id).await?;
            let state = back_to_pending(&row)?;
            rows::set_state(tx, row.id, state, Change::default()).await?;
            sqlx::query("DELETE FROM download_items WHERE download_id = ? AND generation <> ?")
                .bind(row.id.to_string())
                .bind(row.usable_generation)
                .execute(&mut **tx)
                .await?;
            sqlx::query("UPDATE downloads SET generation = MAX(generation, usable_generation) + 1 WHERE id = ?")
                .bind(row.id.to_string())
                .execute(&mut **tx)
                .await?;
            row.id
        } else {
            sqlx::query(
                "INSERT INTO downloads (id, profile_id, course_id, unit_id, lesson_id, title, accent, quality, state,
                                        position, created_at)
                 VALUES (?, ?, ?, ?, ?, '', '', ?, 'pending', (SELECT COALESCE(MAX(position), 0) + ? FROM downloads), ?)",
            )
            .bind(new.to_string())
            .bind(profile.to_string())
            .bind(self.course.id.to_string())
            .bind(self.request.unit_id.to_string())
            .bind(self.request.lesson_id.map(|id| id.to_string()).unwrap_or_default())
            .bind(self.quality.as_str())
            .bind(POSITION_STEP)
            .bind(now.as_ms())
            .execute(&mut **tx)
            .await?;
            new
        };
        let cover = self.unit.cover.as_ref().or(self.course.cover.as_ref());
        sqlx::query(
            "UPDATE downloads SET title = ?, accent = ?, cover_asset_id = ?, course_is_open = ?, quality = ?,
                                  bytes_total = ?, expires_at = ? WHERE id = ?",
        )
        .bind(&self.title)
        .bind(&self.course.accent)
        .bind(cover.map(|asset| asset.id.to_string()))
        .bind(self.course.open)
        .bind(self.quality.as_str())
        .bind(total.cast_signed())
        .bind(self.granted.expires_at.map(carrel_model::TimeMs::as_ms))
        .bind(id.to_string())
        .execute(&mut **tx)
        .await?;
        Ok(id)
    }
}

fn back_to_pending(row: &DownloadRow) -> Result<DownloadState, EngineError> {
    let action = match row.state {
        DownloadState::Paused => DownloadAction::Resume,
        DownloadState::Pending | DownloadState::Downloading | DownloadState::Verifying => DownloadAction::Requeue,
        _ => DownloadAction::Retry,
    };
    row.state.after(action).ok_or(EngineError::Refused(ErrorCode::WrongState))
}
