//! What part of a body is asked for (RFC 9110, sections 13 and 14).

use std::ops::Range;

use http::{HeaderMap, header};
use http_range_header::{EndPosition, StartPosition, parse_range_header};

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything.
    Whole,
    /// One part.
    Part(Range<u64>),
    /// A part that does not exist.
    Unsatisfiable,
    /// Nothing: the caller has these bytes already.
    NotModified,
}

/// Reads the conditions of a request for a body of `size` bytes with the strong tag `etag` (with its quotes).
///
/// A `Range` that can't be read, names several parts or comes with a stale `If-Range` asks for everything, as the RFC allows.
pub(super) fn wanted(headers: &HeaderMap, etag: &str, size: u64) -> Wanted {
    if let Some(tags) = text(headers, header::IF_NONE_MATCH)
        && tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    {
        return Wanted::NotModified;
    }
    let Some(range) = text(headers, header::RANGE) else { return Wanted::Whole };
    if headers.contains_key(header::IF_RANGE) && text(headers, header::IF_RANGE) != Some(etag) {
        return Wanted::Whole;
    }
    let Ok(parsed) = parse_range_header(range) else { return Wanted::Whole };
    let [only] = parsed.ranges.as_slice() else { return Wanted::Whole };
    let (start, end) = match (only.start, only.end) {
        (StartPosition::FromLast(0), _) => return Wanted::Unsatisfiable,
        (StartPosition::FromLast(count), _) => (size.saturating_sub(count), size),
        (StartPosition::Index(start), EndPosition::LastByte) => (start, size),
        (StartPosition::Index(start), EndPosition::Index(last)) if last < start => return Wanted::Whole,
        (StartPosition::Index(start), EndPosition::Index(last)) => (start, last.saturating_add(1).min(size)),
    };
    if start >= size { Wanted::Unsatisfiable } else { Wanted::Part(start..end) }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}
