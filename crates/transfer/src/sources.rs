//! Where a blob can be had: addresses are asked for, and asked for again when they expire.
//!
//! The trait is the renewal hook of signed URLs. One blob may have several sources (service, mirror, a peer), tried in the
//! order given, and a renewed address may be on another host. Many fetches may resolve at once: an implementation is free
//! to gather those calls into one request.

use std::{fmt, time::Duration};

use carrel_model::{BlobHash, TimeMs};
use http::HeaderMap;
use url::Url;

/// One place that claims to have the blob.
#[derive(Clone)]
pub struct Source {
    /// Its address, `http` or `https`.
    pub url: Url,
    /// Headers to send there, and nowhere else: they are dropped when a redirect leaves the origin.
    pub headers: HeaderMap,
    /// When the address stops working; `None`: unknown or never. A hint, as the clocks may differ.
    pub expires_at: Option<TimeMs>,
}

impl Source {
    /// A source without headers and expiry.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, headers: HeaderMap::new(), expires_at: None }
    }
}

impl fmt::Debug for Source {
    // Signatures are in the query and tokens in the headers: neither belongs into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("origin", &self.url.origin().ascii_serialization())
            .field("path", &self.url.path())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResolveReason {
    /// The fetch begins.
    First,
    /// The addresses held have expired.
    Expired,
    /// The sources refused the addresses held (401, 403).
    Refused,
    /// No source held has the blob (404, 410).
    Gone,
    /// The sources held gave something else than the blob.
    Lied,
}

/// Why there are no addresses.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// Whoever asks may not have this blob (any more): signing in again or another learner's choice is needed.
    #[error("not authorised")]
    NotAuthorised,
    /// There is no such blob.
    #[error("no such blob")]
    Gone,
    /// The service that knows can't be asked now: unreachable, busy, failing.
    #[error("unavailable: {cause}")]
    Unavailable {
        /// When it may be asked again, if it said so.
        retry_after: Option<Duration>,
        /// What happened, for the log.
        cause: String,
    },
    /// Anything that waiting doesn't mend.
    #[error("{0}")]
    Failed(String),
}

/// Gives the places where a blob can be had.
#[async_trait::async_trait]
pub trait Sources: Send + Sync {
    /// The sources of a blob, best first. Called at the start of a fetch and each time all held sources are used up;
    /// an empty list means [`SourceError::Gone`].
    async fn resolve(&self, blob: BlobHash, reason: ResolveReason) -> Result<Vec<Source>, SourceError>;

    /// As [`resolve`](Self::resolve), for someone who says what he had: `held` is what the last call gave him. Where that
    /// has been replaced meanwhile he gets the newer addresses without anybody being asked.
    async fn renew(&self, blob: BlobHash, reason: ResolveReason, held: &[Source]) -> Result<Vec<Source>, SourceError> {
        let _ = held;
        self.resolve(blob, reason).await
    }
}

/// Addresses that never change.
#[derive(Debug, Clone)]
pub struct FixedSources(pub Vec<Url>);

#[async_trait::async_trait]
impl Sources for FixedSources {
    async fn resolve(&self, _: BlobHash, _: ResolveReason) -> Result<Vec<Source>, SourceError> {
        Ok(self.0.iter().cloned().map(Source::new).collect())
    }
}
