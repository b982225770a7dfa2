//! The head of an HTTP/1.1 response: where it ends, what it says, and how long the body is. Pure.
//!
//! Strict where being lenient has been used to smuggle one response into another: a length that is no number and two
//! lengths that differ are refused, never guessed. `chunked` overrides a length beside it (RFC 9112, 6.3), and such a
//! connection is not used again; whether the bytes are right, the pieces tell.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use crate::{Lie, rules::patience::Setback};

/// The longest head that is read.
pub(super) const HEAD_LIMIT_BYTES: usize = 64 << 10;
const HEADERS: usize = 256;

/// Status and headers.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
    UntilClose,
}

/// Where the head ends in `bytes`; `from`: how far was looked before.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3);
    let fresh = bytes.get(from..)?;
    let mut line_ends = fresh.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    line_ends.find_map(|at| match fresh.get(at..) {
        Some([b'\n', ..]) => Some(from + at + 1),
        Some([b'\r', b'\n', ..]) => Some(from + at + 2),
        _ => None,
    })
}

/// Reads a whole head.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, Setback> {
    let mut lines = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut lines);
    let mut config = httparse::ParserConfig::default();
    // Obsolete, but whoever asks has to understand it (RFC 9112, 5.2).
    config.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = config.parse_response(&mut response, bytes);
    if !parsed.map_err(|error| unreadable(&error.to_string()))?.is_complete() {
        return Err(unreadable("it has no end"));
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| unreadable("status"))?;
    let version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    for line in response.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|error| unreadable(&error.to_string()))?;
        let value = HeaderValue::from_bytes(&unfolded(line.value)).map_err(|error| unreadable(&error.to_string()))?;
        headers.append(name, value);
    }
    Ok(Head { status, version, headers })
}

/// A value of several lines as one line.
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    let lines: Vec<&[u8]> = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    Cow::Owned(lines.join(&b' ').trim_ascii().to_vec())
}

impl Head {
    /// How the end of the body is known, or why it can't be. A length that doesn't count is taken out of the headers.
    pub(super) fn framing(&mut self) -> Result<Framing, Setback> {
        if self.status == StatusCode::NO_CONTENT || self.status == StatusCode::NOT_MODIFIED {
            return Ok(Framing::Length(0));
        }
        let mut codings = self.headers.get_all(TRANSFER_ENCODING).iter();
        if let Some(coding) = codings.next() {
            // We ask for no other coding, and HTTP/1.0 knows none.
            let chunked = coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
            if !chunked || self.version == Version::HTTP_10 {
                return Err(Setback::Lied(Lie::Encoding));
            }
            self.headers.remove(CONTENT_LENGTH);
            return Ok(Framing::Chunked);
        }
        let mut lengths = self.headers.get_all(CONTENT_LENGTH).iter().map(|value| number(value.as_bytes()));
        let Some(length) = lengths.next() else { return Ok(Framing::UntilClose) };
        match length {
            Some(length) if lengths.all(|other| other == Some(length)) => Ok(Framing::Length(length)),
            _ => Err(Setback::Lied(Lie::Length)),
        }
    }

    /// Whether the connection can be kept: the server means to, and where the body ends is beyond doubt.
    pub(super) fn is_kept(&self) -> bool {
        let mut words =
            self.headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        let closes = words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        let doubt = self.headers.contains_key(TRANSFER_ENCODING) && self.headers.contains_key(CONTENT_LENGTH);
        self.version == Version::HTTP_11 && !closes && !doubt
    }
}

/// Digits only: no sign, no list, no overflow.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn unreadable(why: &str) -> Setback {
    Setback::Unreachable(format!("the answer can't be read: {why}"))
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
