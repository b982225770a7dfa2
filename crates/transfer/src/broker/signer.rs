//! Who signs addresses: the one request a broker makes, as its caller implements it.

use carrel_model::{BlobHash, TimeMs};

use crate::{ResolveReason, Source, SourceError};

/// The most blobs of one [`Signer::sign`].
pub const MOST_PER_SIGN: usize = 200;

/// Addresses as a service gave them.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    /// An address for each blob; of several for one blob the best comes first. `expires_at` is in the service's time.
    pub urls: Vec<(BlobHash, Source)>,
    /// Blobs that were refused one by one, and why. What is neither here nor in `urls` counts as [`SourceError::Gone`].
    pub refused: Vec<(BlobHash, SourceError)>,
    /// The service's clock when it answered, from the body or the `Date` header: against it `expires_at` is judged.
    pub server_now: Option<TimeMs>,
}

/// Asks the service that knows for signed addresses.
#[async_trait::async_trait]
pub trait Signer: Send + Sync {
    /// Addresses of these blobs, 1 to [`MOST_PER_SIGN`], no blob twice. An error is meant for all of them.
    ///
    /// Never called again while a call is running. `reason` is the gravest of those who wait: a refusal may be worth
    /// signing in again.
    async fn sign(&self, wanted: Vec<BlobHash>, reason: ResolveReason) -> Result<Signed, SourceError>;
}
