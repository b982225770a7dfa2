//! What a scripted origin can be told to do: with a request ([`Act`]), with a connection ([`Meeting`]).

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

/// What to do with one request. "Well" means: 206 with the range asked for, 200 with everything if none was.
///
/// Over HTTP/2 an act does what comes nearest: what closes a connection in HTTP/1.1 closes the whole connection there
/// too, and what is written only in HTTP/1.1 (chunks, `100 Continue` without end) is served without a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Answers well.
    Serve,
    /// Answers well, but closes after so many bytes of the body; over TLS without saying goodbye.
    CutAfter(u64),
    /// As [`CutAfter`](Self::CutAfter), with a TCP reset; over HTTP/2 only the stream is reset (`INTERNAL_ERROR`).
    ResetAfter(u64),
    /// Ends its half of the connection after so many bytes and goes on listening.
    HalfCloseAfter(u64),
    /// Sends so many bytes of the body, then nothing for ever.
    StallAfter(u64),
    /// Sends the body byte by byte, one each time so many milliseconds have passed.
    Trickle(u64),
    /// Sends the head byte by byte, one each time so many milliseconds have passed, then answers well.
    SlowHead(u64),
    /// 200 with the whole blob, whatever was asked for.
    Whole,
    /// 206 that begins so many bytes beside the offset asked for; `honest`: and says so.
    Beside {
        /// Added to the offset.
        shift: i64,
        /// Whether Content-Range tells the truth.
        honest: bool,
    },
    /// 206 without Content-Range.
    NoContentRange,
    /// 206 with at most so many bytes of what was asked for, honestly.
    Shorter(u64),
    /// Answers well, with other bytes at these offsets of the blob.
    Changed(Vec<u64>),
    /// Answers well, with another file of the same length: no byte is the blob's.
    Swapped,
    /// Answers well, and sends so many bytes more than it announced.
    Extra(u64),
    /// Claims to send gzip and sends the plain bytes.
    Gzip,
    /// Answers well in chunks; with a number, closes after so many bytes without the last chunk.
    Chunked(Option<u64>),
    /// Answers well in chunks and closes in the middle of one, after so many bytes.
    ChunkCutAfter(u64),
    /// Answers without any length and closes at the end; with a number, already after so many bytes.
    UntilClose(Option<u64>),
    /// Claims this text as Content-Length (and, in Content-Range, as size).
    Length(String),
    /// This status, with these header lines and this body.
    Status(u16, Vec<(String, String)>, Vec<u8>),
    /// This act with these header lines added.
    With(Vec<(String, String)>, Box<Act>),
    /// Closes without an answer.
    Close,
    /// Reads the request and never answers.
    Silent,
    /// So many bytes of headers before the answer.
    Headers(usize),
    /// `100 Continue` without end.
    Endless1xx,
    /// HTTP/2: says GOAWAY after so many bytes, and serves what it has begun to its end (HTTP/1.1: serves and closes).
    GoAwayAfter(u64),
    /// HTTP/2: says GOAWAY with `INTERNAL_ERROR` after so many bytes and closes (HTTP/1.1: cuts).
    BreakAfter(u64),
    /// HTTP/2: RST_STREAM with `REFUSED_STREAM` (HTTP/1.1: closes).
    RefuseStream,
    /// HTTP/2: GOAWAY with `ENHANCE_YOUR_CALM` (HTTP/1.1: closes).
    Calm,
    /// HTTP/2: RST_STREAM with `HTTP_1_1_REQUIRED` (HTTP/1.1: answers well).
    NeedHttp1,
}

impl Act {
    /// A status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), Vec::new())
    }

    /// A status with `Retry-After`.
    #[must_use]
    pub fn retry_after(status: u16, value: &str) -> Self {
        Self::Status(status, vec![("Retry-After".to_owned(), value.to_owned())], Vec::new())
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self::Status(302, vec![("Location".to_owned(), to.to_owned())], Vec::new())
    }

    /// The page of a captive portal.
    #[must_use]
    pub fn portal() -> Self {
        let page = b"<!doctype html><title>Welcome to the train</title><p>Please accept our terms.".to_vec();
        Self::Status(200, vec![("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned())], page)
    }

    /// 403 as an object store says that a signed address has expired.
    #[must_use]
    pub fn expired() -> Self {
        let body =
            b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
        Self::Status(403, vec![("Content-Type".to_owned(), "application/xml".to_owned())], body.to_vec())
    }

    /// 400 as an object store says that the token in a signed address has expired.
    #[must_use]
    pub fn expired_token() -> Self {
        let body = b"<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code></Error>";
        Self::Status(400, vec![("Content-Type".to_owned(), "application/xml".to_owned())], body.to_vec())
    }

    /// 200 with the whole file, packed with gzip indeed, whatever was asked for. Packed here and now, so that the answer
    /// isn't late.
    #[must_use]
    pub fn gzipped(content: &[u8]) -> Self {
        let mut packer = GzEncoder::new(Vec::new(), Compression::none());
        // Writing into memory can't fail.
        packer.write_all(content).ok();
        let packed = packer.finish().unwrap_or_default();
        Self::Status(200, vec![("Content-Encoding".to_owned(), "gzip".to_owned())], packed)
    }

    /// This act with one header line added.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        Self::With(vec![(name.to_owned(), value.to_owned())], Box::new(self))
    }
}

/// What to do with one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meeting {
    /// Serves it.
    Welcome,
    /// Serves it, playing these acts before those of the origin's script.
    Scripted(Vec<Act>),
    /// Closes it at once.
    Close,
    /// Resets it at once.
    Reset,
    /// Takes it and never says a word, not even of a TLS greeting.
    Mute,
    /// Sends these bytes to whatever was asked, and closes: an answer in plain HTTP to a TLS greeting, rubbish, frames
    /// that make no sense.
    Says(Vec<u8>),
}
