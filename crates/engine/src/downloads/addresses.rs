//! Signed addresses of blobs: kept while they hold, renewed in one request for many.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use carrel_model::{
    BlobHash, DownloadId, ErrorCode, ProfileId, TimeMs,
    wire::content::{MAX_URL_ITEMS, UrlWanted},
};
use carrel_transfer::{ResolveReason, Source, SourceError, Sources};
use sqlx::SqlitePool;
use url::Url;

use super::queue::Queue;
use crate::{EngineError, blobs::read_hash, rows::parsed};

/// An address that expires sooner than this is not begun with.
const MARGIN_MS: i64 = 20_000;

/// Addresses by blob, with the end of each by this device's clock.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: Mutex<BTreeMap<BlobHash, (Url, TimeMs)>>,
    /// One renewal at a time: whoever waited finds what the one before brought.
    renewing: tokio::sync::Mutex<()>,
}

impl Addresses {
    /// Keeps an absolute address; one that can't be read is asked for again when its turn comes. `server_now` and `now` are the two clocks at one moment, so that a wrong clock here does no harm.
    pub(super) fn keep(&self, hash: BlobHash, url: &str, expires_at: TimeMs, server_now: TimeMs, now: TimeMs) {
        if let Ok(url) = Url::parse(url) {
            self.lock().insert(hash, (url, now.plus_ms(expires_at.since(server_now))));
        }
    }

    fn get(&self, hash: BlobHash, now: TimeMs) -> Option<(Url, TimeMs)> {
        self.lock().get(&hash).filter(|(_, end)| end.since(now) > MARGIN_MS).cloned()
    }

    fn forget(&self, hash: BlobHash) {
        self.lock().remove(&hash);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<BlobHash, (Url, TimeMs)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one blob of a download can be had.
#[derive(Debug)]
pub(super) struct SignedSources {
    pub(super) queue: Arc<Queue>,
    pub(super) profile: ProfileId,
    pub(super) download: DownloadId,
    /// What the service last refused with: a transfer's own error has no room for it.
    pub(super) said: Arc<Mutex<Option<ErrorCode>>>,
}

#[async_trait]
impl Sources for SignedSources {
    async fn resolve(&self, blob: BlobHash, reason: ResolveReason) -> Result<Vec<Source>, SourceError> {
        let addresses = &self.queue.addresses;
        if reason != ResolveReason::First {
            addresses.forget(blob);
        }
        let found = match addresses.get(blob, self.queue.clock.now()) {
            Some(found) => found,
            None => {
                let _turn = addresses.renewing.lock().await;
                if addresses.get(blob, self.queue.clock.now()).is_none() {
                    self.renew(blob).await.map_err(|error| self.refused(&error))?;
                }
                addresses.get(blob, self.queue.clock.now()).ok_or(SourceError::Gone)?
            }
        };
        Ok(vec![Source { expires_at: Some(found.1), ..Source::new(found.0) }])
    }
}

impl SignedSources {
    /// Asks for this blob and, in the same request, for others of the download that will be wanted next.
    async fn renew(&self, blob: BlobHash) -> Result<(), EngineError> {
        let wanted = wanted(self.queue.library.readers(), self.download, blob).await?;
        let by_asset: BTreeMap<_, _> =
            wanted.iter().map(|(hash, item)| ((item.asset_id, item.quality), *hash)).collect();
        let items = wanted.into_iter().map(|(_, item)| item).collect();
        let answer = self.queue.rooms.urls(self.profile, items).await?;
        let now = self.queue.clock.now();
        for signed in answer.urls {
            // Another hash: the asset has changed at the service, and what was authorised is not there any more.
            if by_asset.get(&(signed.asset_id, signed.quality)) == Some(&signed.hash) {
                self.queue.addresses.keep(signed.hash, &signed.url, signed.expires_at, answer.server_time, now);
            }
        }
        Ok(())
    }

    fn refused(&self, error: &EngineError) -> SourceError {
        let code = error.code();
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        match (code, error) {
            (ErrorCode::NotFound | ErrorCode::Gone, _) => SourceError::Gone,
            (_, EngineError::Service { retry_after_ms, .. }) if error.is_retryable() => SourceError::Unavailable {
                retry_after: retry_after_ms.map(Duration::from_millis),
                cause: error.to_string(),
            },
            _ if error.is_retryable() => SourceError::Unavailable { retry_after: None, cause: error.to_string() },
            (ErrorCode::Internal, _) => SourceError::Failed(error.to_string()),
            _ => SourceError::NotAuthorised,
        }
    }
}

/// The rendition this blob is, and those of the download's other missing blobs.
async fn wanted(
    readers: &SqlitePool,
    download: DownloadId,
    first: BlobHash,
) -> Result<Vec<(BlobHash, UrlWanted)>, EngineError> {
    let rows = sqlx::query(
        "SELECT i.hash, i.asset_id, i.quality FROM downloads d
         JOIN download_items i ON i.download_id = d.id AND i.generation = d.generation
         JOIN blobs b USING (hash)
         WHERE d.id = ?1 AND b.state <> 'present' GROUP BY i.hash ORDER BY i.hash <> ?2, MIN(i.ordinal) LIMIT ?3",
    )
    .bind(download.to_string())
    .bind(first.to_string())
    .bind(i64::try_from(MAX_URL_ITEMS).unwrap_or(i64::MAX))
    .fetch_all(readers)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((read_hash(row)?, UrlWanted { asset_id: parsed(row, "asset_id")?, quality: parsed(row, "quality")? }))
        })
        .collect()
}
