//! Signed addresses of blobs, asked of the service for many at once and kept while they hold.
//!
//! One [`Broker`] for each learner, since the service grants addresses to a learner: fetches of all their downloads share
//! its requests. What is in here is only how a learner's blob becomes a question to the service, and its answer an address.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use carrel_model::{BlobHash, ErrorCode, ProfileId, TimeMs, wire::content::UrlWanted};
use carrel_transfer::{Broker, ResolveReason, Signed, Signer, Source, SourceError};
use url::Url;

use super::{grant::Granted, rooms::Rooms};
use crate::{EngineError, blobs::read_hash, library::Library, ports::Clock, rows::parsed};

/// The brokers of all learners.
#[derive(Debug)]
pub(super) struct Addresses {
    library: Library,
    rooms: Arc<dyn Rooms>,
    clock: Arc<dyn Clock>,
    desks: Mutex<BTreeMap<ProfileId, Desk>>,
}

/// A learner's broker, and what the service last refused with: a transfer's own error has no room for it.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) broker: Broker,
    said: Arc<Mutex<Option<ErrorCode>>>,
}

impl Desk {
    /// The code the service refused with.
    pub(super) fn said(&self) -> Option<ErrorCode> {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Addresses {
    pub(super) fn new(library: Library, rooms: Arc<dyn Rooms>, clock: Arc<dyn Clock>) -> Self {
        Self { library, rooms, clock, desks: Mutex::default() }
    }

    /// The desk of a learner.
    pub(super) fn of(&self, profile: ProfileId) -> Desk {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let said = Arc::default();
            let signer = ServiceSigner {
                library: self.library.clone(),
                rooms: Arc::clone(&self.rooms),
                profile,
                said: Arc::clone(&said),
            };
            Desk { broker: Broker::new(Arc::new(signer), Arc::new(SameClock(Arc::clone(&self.clock)))), said }
        };
        desks.entry(profile).or_insert_with(new).clone()
    }

    /// Keeps what came with an authorisation. An address that can't be read is asked for again when its turn comes.
    pub(super) fn keep(&self, profile: ProfileId, granted: &Granted) {
        let desk = self.of(profile);
        for (hash, address, expires_at) in &granted.addresses {
            if let Some(source) = source(address, *expires_at) {
                desk.broker.keep(*hash, source, Some(granted.server_time));
            }
        }
    }

    /// Nobody fetches these any more.
    pub(super) fn forget(&self, profile: ProfileId, hash: BlobHash) {
        self.of(profile).broker.forget(hash);
    }
}

fn source(url: &str, expires_at: TimeMs) -> Option<Source> {
    let url = Url::parse(url).ok()?;
    Some(Source { expires_at: Some(expires_at), ..Source::new(url) })
}

/// Asks the service for a learner's addresses.
#[derive(Debug)]
struct ServiceSigner {
    library: Library,
    rooms: Arc<dyn Rooms>,
    profile: ProfileId,
    said: Arc<Mutex<Option<ErrorCode>>>,
}

#[async_trait]
impl Signer for ServiceSigner {
    async fn sign(&self, wanted: Vec<BlobHash>, _: ResolveReason) -> Result<Signed, SourceError> {
        let answer = self.ask(&wanted).await;
        if answer.is_ok() {
            // What it refused with before, say that nobody is signed in, is no reason any more.
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        answer.map_err(|error| self.refused(&error))
    }
}

impl ServiceSigner {
    async fn ask(&self, wanted: &[BlobHash]) -> Result<Signed, EngineError> {
        let by_asset = self.renditions(wanted).await?;
        let items = by_asset.keys().map(|(asset_id, quality)| UrlWanted { asset_id: *asset_id, quality: *quality });
        let answer = self.rooms.urls(self.profile, items.collect()).await?;
        let urls = answer.urls.into_iter().filter_map(|signed| {
            // Another hash: the asset has changed at the service, and what was authorised is not there any more.
            let same = by_asset.get(&(signed.asset_id, signed.quality)) == Some(&signed.hash);
            Some((signed.hash, source(&signed.url, signed.expires_at)?)).filter(|_| same)
        });
        Ok(Signed { urls: urls.collect(), server_now: Some(answer.server_time), ..Signed::default() })
    }

    /// As which renditions of which assets the learner's downloads have these blobs.
    async fn renditions(
        &self,
        wanted: &[BlobHash],
    ) -> Result<BTreeMap<(carrel_model::AssetId, carrel_model::content::Quality), BlobHash>, EngineError> {
        let rows = sqlx::query(
            "SELECT i.hash, i.asset_id, i.quality FROM json_each(?1) j
             CROSS JOIN download_items i INDEXED BY download_items_by_hash ON i.hash = j.value
             CROSS JOIN downloads d ON d.id = i.download_id AND d.generation = i.generation
             WHERE i.profile_id = ?2 AND d.deleted_at IS NULL GROUP BY i.hash",
        )
        .bind(serde_json::to_string(wanted)?)
        .bind(self.profile.to_string())
        .fetch_all(self.library.readers())
        .await?;
        rows.iter().map(|row| Ok(((parsed(row, "asset_id")?, parsed(row, "quality")?), read_hash(row)?))).collect()
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

/// The engine's clock in the words of transfers.
#[derive(Debug)]
struct SameClock(Arc<dyn Clock>);

#[async_trait]
impl carrel_transfer::Clock for SameClock {
    fn now(&self) -> TimeMs {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.read().monotonic_ms).unwrap_or(0))
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        let mut bytes = [0; 4];
        self.0.fill_random(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}
