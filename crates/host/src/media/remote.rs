//! A part of a file at the service, passed through.
//!
//! The address is signed and short-lived, and it stays here: a front end never sees it.

use std::{io, ops::Range, time::Duration};

use bytes::Bytes;
use carrel_engine::model::ErrorCode;
use futures_util::{Stream, StreamExt as _, stream};
use http::{StatusCode, header};

use crate::HostError;

/// A service that sends nothing for this long has gone away.
const IDLE: Duration = Duration::from_secs(30);

/// The bytes of `range` of the `size` bytes at `url`; an error where the service sends fewer.
pub(super) async fn open(
    client: &reqwest::Client,
    url: url::Url,
    range: Range<u64>,
    size: u64,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, HostError> {
    let whole = range == (0..size);
    let mut request = client.get(url).header(header::ACCEPT_ENCODING, "identity");
    if !whole {
        request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
    }
    let answer = tokio::time::timeout(IDLE, request.send()).await;
    let answer = answer.map_err(|_| unreachable("no answer"))?.map_err(|error| unreachable(error.without_url()))?;
    match answer.status() {
        StatusCode::OK if whole => {}
        StatusCode::PARTIAL_CONTENT if starts_at(&answer, range.start) => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            return Err(HostError::new(ErrorCode::Gone, "the service no longer has these bytes"));
        }
        status => return Err(HostError::new(ErrorCode::ServiceFailed, format!("the service answered {status}"))),
    }
    let body = Box::pin(answer.bytes_stream());
    Ok(stream::try_unfold((body, range.end - range.start), |(mut body, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let next = tokio::time::timeout(IDLE, body.next()).await.map_err(|_| io::ErrorKind::TimedOut)?;
        let mut chunk = next.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
        // Nothing past the part asked for, whatever the service sends.
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - chunk.len() as u64;
        Ok(Some((chunk, (body, left))))
    }))
}

fn starts_at(answer: &reqwest::Response, start: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {start}-")))
}

fn unreachable(error: impl std::fmt::Display) -> HostError {
    HostError::new(ErrorCode::ServiceUnreachable, error.to_string())
}
