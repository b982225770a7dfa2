//! How a fetch can end other than well: a closed set, so that every caller can name the cause and the next action.

use std::{io, time::Duration};

use crate::{JournalError, SourceError};

/// In which way the sources gave something else than the blob asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Lie {
    /// The length differs from the manifest's.
    #[error("another length than the manifest's")]
    Length,
    /// The range in the answer is not the one asked for.
    #[error("another range than the one asked for")]
    Range,
    /// The bytes came compressed although plain ones were asked for.
    #[error("an encoding nobody asked for")]
    Encoding,
    /// The bytes are wrong.
    #[error("wrong bytes")]
    Bytes,
}

/// Why there is no verified file.
///
/// Whatever the reason, every piece verified so far stays on disk and in the journal, and the next fetch goes on from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// [`Control::pause`](crate::Control::pause) was called; everything verified has been made durable.
    #[error("paused")]
    Paused,
    /// [`Control::cancel`](crate::Control::cancel) was called; the part file is the caller's to delete.
    #[error("cancelled")]
    Cancelled,
    /// The sources refuse although their addresses were renewed.
    #[error("not authorised to fetch this blob")]
    NotAuthorised,
    /// No source has the blob any more.
    #[error("no source has this blob any more")]
    Gone,
    /// Every source gave something that can't be this blob.
    #[error("the sources gave {0}")]
    SourceLied(Lie),
    /// A piece came wrong from every source, several times: the origin's file is not the manifest's.
    #[error("piece {piece} is wrong at every source")]
    Corrupt {
        /// Index of the piece.
        piece: u64,
    },
    /// Connections open but (nearly) nothing arrives.
    #[error("the transfer stalled")]
    Stalled,
    /// No trusted TLS connection: expired, wrong host, unknown issuer.
    #[error("no trusted connection: {0}")]
    Tls(String),
    /// A page came in place of the file, as captive portals do it.
    #[error("a web page came in place of the file; the network may ask for a sign-in")]
    NotAService,
    /// More than five redirects in a row.
    #[error("too many redirects")]
    TooManyRedirects,
    /// A redirect to another scheme than HTTP, from https to http, or to nowhere.
    #[error("a redirect to a place that is not allowed")]
    ForbiddenRedirect,
    /// The medium has no room for the file.
    #[error("the disk is full: {needed_bytes} bytes needed, {free_bytes} free")]
    DiskFull {
        /// Bytes the file still needs.
        needed_bytes: u64,
        /// Bytes free on its medium.
        free_bytes: u64,
    },
    /// The part file can't be opened, read, written or made durable.
    #[error("the file can't be written: {0}")]
    Io(#[from] io::Error),
    /// No connection to any source, or it breaks each time before anything arrives.
    #[error("no source can be reached: {0}")]
    Unreachable(String),
    /// The sources ask for patience for longer, or more often, than a fetch waits.
    #[error("the source is busy (HTTP {status})")]
    Busy {
        /// The status it answered with, 429 or 503.
        status: u16,
        /// When it may be asked again, clamped to 15 minutes.
        retry_after: Option<Duration>,
    },
    /// A status that leads nowhere.
    #[error("HTTP {status}")]
    Http {
        /// The status.
        status: u16,
    },
    /// The addresses can't be resolved.
    #[error("no address: {0}")]
    Sources(SourceError),
    /// The journal can't be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl FetchError {
    /// Whether the same fetch can go well later without anybody's action.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Stalled | Self::NotAService | Self::Unreachable(_) | Self::Busy { .. } => true,
            Self::Http { status } => *status >= 500 || matches!(status, 408 | 425),
            Self::Sources(error) => matches!(error, SourceError::Unavailable { .. }),
            _ => false,
        }
    }

    /// How long the service asked to be left alone, if it did; at most 15 minutes.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::Sources(SourceError::Unavailable { retry_after, .. }) => {
                *retry_after
            }
            _ => None,
        }
    }
}
