//! What a response means. Pure: status and headers in, a verdict out.
//!
//! Nothing here makes a byte count as right – only the piece hash does. The verdict says where in the blob the body
//! begins, or why it is not worth reading. ETag, Last-Modified and Content-Disposition are never looked at.

use std::time::Duration;

use carrel_model::TimeMs;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RETRY_AFTER},
};

use crate::{Lie, rules::patience::Setback};

/// Bytes before the wanted ones that are read and thrown away rather than asked for again.
const SKIP_LIMIT_BYTES: u64 = 4 << 20;
/// The longest `Retry-After` that is believed.
pub(crate) const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) start: u64,
    /// The size of the blob.
    pub(crate) size: u64,
    /// Whether the source may send the blob from its start however far the wanted bytes are: it has ignored a range before.
    pub(crate) any_skip: bool,
}

/// The verdict on status and headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Read the body; so many bytes before the wanted ones are to be skipped.
    Body {
        skip: u64,
        /// It looks like a web page: if it ends early, it was one.
        page: bool,
    },
    /// Not this body. The status is one whose body may say more ([`refusal`]).
    Refusal(StatusCode),
    /// Not this body.
    Setback(Setback),
}

/// Judges a response that is not a redirect.
pub(crate) fn judge(asked: Asked, status: StatusCode, headers: &HeaderMap, now: TimeMs) -> Answer {
    match status.as_u16() {
        200 => whole(asked, headers),
        206 => partial(asked, headers),
        400 | 401 | 403 => Answer::Refusal(status),
        404 | 410 => Answer::Setback(Setback::Gone),
        // The wanted range lies within the manifest's size, so whatever is there is shorter than the blob.
        416 => Answer::Setback(Setback::Lied(Lie::Length)),
        429 | 503 => Answer::Setback(Setback::Busy { status: status.as_u16(), retry_after: retry_after(headers, now) }),
        511 => Answer::Setback(Setback::Page),
        408 | 425 | 500..=599 => Answer::Setback(Setback::Failed { status: status.as_u16() }),
        201..=299 => Answer::Setback(Setback::Lied(Lie::Length)),
        other => Answer::Setback(Setback::Rejected { status: other }),
    }
}

fn whole(asked: Asked, headers: &HeaderMap) -> Answer {
    let length = text(headers, &CONTENT_LENGTH).map(str::parse::<u64>);
    let fits = matches!(length, Some(Ok(length)) if length == asked.size);
    let page = !fits && is_page(headers);
    if page && (length.is_some() || is_encoded(headers)) {
        return Answer::Setback(Setback::Page);
    }
    if is_encoded(headers) {
        return Answer::Setback(Setback::Lied(Lie::Encoding));
    }
    if length.is_some() && !fits {
        return Answer::Setback(Setback::Lied(Lie::Length));
    }
    if asked.start > SKIP_LIMIT_BYTES && !asked.any_skip {
        return Answer::Setback(Setback::RangeIgnored);
    }
    Answer::Body { skip: asked.start, page }
}

fn partial(asked: Asked, headers: &HeaderMap) -> Answer {
    if is_encoded(headers) {
        return Answer::Setback(Setback::Lied(Lie::Encoding));
    }
    if text(headers, &CONTENT_TYPE).is_some_and(|kind| kind.starts_with("multipart/")) {
        return Answer::Setback(Setback::Lied(Lie::Range));
    }
    // A missing or unreadable Content-Range is forgiven: the hash of the first piece tells whether the offset is right.
    let Some(range) = text(headers, &CONTENT_RANGE).and_then(ContentRange::parse) else {
        return Answer::Body { skip: 0, page: false };
    };
    if range.size.is_some_and(|size| size != asked.size) {
        return Answer::Setback(Setback::Lied(Lie::Length));
    }
    let skip = asked.start.checked_sub(range.first);
    match skip {
        Some(skip) if range.last >= asked.start && skip <= SKIP_LIMIT_BYTES => Answer::Body { skip, page: false },
        _ => Answer::Setback(Setback::Lied(Lie::Range)),
    }
}

/// What a refusal means, its body (the beginning of it) included: object stores say there that an address has expired.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> Setback {
    const EXPIRED: [&str; 5] =
        ["ExpiredToken", "Request has expired", "RequestTimeTooSkewed", "AuthenticationFailed", "TokenRefreshRequired"];
    let body = String::from_utf8_lossy(body);
    if EXPIRED.iter().any(|sign| body.contains(sign)) {
        return Setback::Expired;
    }
    match status.as_u16() {
        401 | 403 => Setback::Refused,
        other => Setback::Rejected { status: other },
    }
}

/// `Retry-After` as seconds or date, clamped; `None` when it is missing or rubbish.
fn retry_after(headers: &HeaderMap, now: TimeMs) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
            Duration::from_millis(u64::try_from(date.saturating_sub(now.as_ms())).unwrap_or(0))
        }
    };
    Some(wait.min(RETRY_AFTER_LIMIT))
}

#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    size: Option<u64>,
}

impl ContentRange {
    fn parse(value: &str) -> Option<Self> {
        let (range, size) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let size = if size == "*" { None } else { Some(size.parse().ok()?) };
        let range = Self { first: first.parse().ok()?, last: last.parse().ok()?, size };
        (range.first <= range.last).then_some(range)
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_encoded(headers: &HeaderMap) -> bool {
    // Nothing, and `aws-chunked` – object stores repeat how a blob was uploaded – change no byte.
    let plain =
        |coding: &[u8]| [&b"identity"[..], b"aws-chunked", b""].iter().any(|name| coding.eq_ignore_ascii_case(name));
    let values = headers.get_all(CONTENT_ENCODING).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|coding| !plain(coding.trim_ascii()))
}

fn is_page(headers: &HeaderMap) -> bool {
    text(headers, &CONTENT_TYPE)
        .map(str::to_ascii_lowercase)
        .is_some_and(|kind| kind.starts_with("text/html") || kind.starts_with("application/xhtml"))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
