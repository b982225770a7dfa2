//! Signed addresses for many fetches: kept while they hold, renewed together.

mod signer;

use std::{fmt, sync::Arc};

use carrel_model::{BlobHash, TimeMs};

pub use signer::{MOST_PER_SIGN, Signed, Signer};

use crate::{Clock, ResolveReason, Source, SourceError, Sources};

/// [`Sources`] over a [`Signer`]; clones share what is known.
#[derive(Clone)]
pub struct Broker {
    signer: Arc<dyn Signer>,
    #[expect(dead_code, reason = "judges expiry as soon as addresses are kept")]
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    /// A broker that knows nothing yet.
    #[must_use]
    pub fn new(signer: Arc<dyn Signer>, clock: Arc<dyn Clock>) -> Self {
        Self { signer, clock }
    }

    /// Keeps an address that came some other way, in place of what was known of the blob. `expires_at` is in the
    /// service's time, `server_now` the service's clock when it gave the address.
    pub fn keep(&self, blob: BlobHash, source: Source, server_now: Option<TimeMs>) {
        let _ = (blob, source, server_now);
    }

    /// Announces blobs that will be asked for soon: they ride along with the next request.
    pub fn want(&self, blobs: impl IntoIterator<Item = BlobHash>) {
        drop(blobs);
    }

    /// Forgets what is known of a blob, and that it was wanted: nobody will ask for it any more.
    pub fn forget(&self, blob: BlobHash) {
        let _ = blob;
    }
}

#[async_trait::async_trait]
impl Sources for Broker {
    async fn resolve(&self, blob: BlobHash, reason: ResolveReason) -> Result<Vec<Source>, SourceError> {
        let signed = self.signer.sign(vec![blob], reason).await?;
        let sources: Vec<Source> =
            signed.urls.into_iter().filter(|(hash, _)| *hash == blob).map(|(_, source)| source).collect();
        if sources.is_empty() { Err(SourceError::Gone) } else { Ok(sources) }
    }
}
