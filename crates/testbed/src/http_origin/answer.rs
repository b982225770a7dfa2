//! What an [`Act`] makes of a request: status, headers, body and the end of it. Pure, and the same for both protocols.

use bytes::Bytes;

use super::{act::Act, content::Content};

/// An answer that is still to be written.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<Part>,
    pub(super) end: End,
    /// Written in chunks, where the protocol has them.
    pub(super) chunked: bool,
    /// Milliseconds between two bytes of the head.
    pub(super) head_every_ms: u64,
}

/// A part of a body.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// These bytes of the blob.
    Blob(u64, u64),
    /// As many bytes, each another than the blob's.
    Wrong(u64, u64),
    /// These bytes of the blob one by one, so many milliseconds after each.
    Drip(u64, u64, u64),
    /// Bytes that aren't the blob's.
    Text(Bytes),
    /// The beginning of a chunk that announces more than follows.
    HalfChunk,
    /// From here on no new request is taken on this connection (HTTP/2: GOAWAY).
    GoAway,
}

/// What follows the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The next request.
    KeepOpen,
    /// The connection is closed properly.
    Close,
    /// The connection is closed in the middle.
    Cut,
    /// TCP reset, or the stream's.
    Reset,
    /// Our half of the connection ends.
    HalfClose,
    /// Nothing, for ever.
    Stall,
    /// GOAWAY with an error, then the end of the connection.
    Break,
}

type Range = Option<(u64, Option<u64>)>;

/// The answer to a request; `None` for the acts that are no answer.
pub(super) fn answer(act: &Act, content: &Content, range: Range) -> Option<Answer> {
    let size = content.size();
    let well = well(size, range);
    let (first, end) = well.bounds();
    Some(match act {
        Act::Serve | Act::NeedHttp1 => well,
        Act::CutAfter(length) => well.cut(*length, End::Cut),
        Act::ResetAfter(length) => well.cut(*length, End::Reset),
        Act::HalfCloseAfter(length) => well.cut(*length, End::HalfClose),
        Act::StallAfter(length) => well.cut(*length, End::Stall),
        Act::BreakAfter(length) => well.cut(*length, End::Break),
        Act::GoAwayAfter(length) => {
            let middle = end.min(first.saturating_add(*length));
            let body = vec![Part::Blob(first, middle), Part::GoAway, Part::Blob(middle, end)];
            Answer { body, end: End::Close, ..well }
        }
        Act::Trickle(every_ms) => Answer { body: vec![Part::Drip(first, end, *every_ms)], ..well },
        Act::SlowHead(every_ms) => Answer { head_every_ms: *every_ms, ..well },
        Act::Whole => whole(size),
        Act::Beside { shift, honest: true } => {
            let from = first.saturating_add_signed(*shift).min(size);
            partial(size, from, end.max(from))
        }
        Act::Beside { shift, honest: false } => {
            // As long as announced: where the blob has no more bytes, others follow.
            let from = first.saturating_add_signed(*shift).min(size);
            let to = (from + (end - first)).min(size);
            let missing = (end - first) - (to - from);
            let body = vec![Part::Blob(from, to), Part::Wrong(end - missing, end)];
            Answer { body, ..partial(size, first, end) }
        }
        Act::NoContentRange => well.without("Content-Range"),
        Act::Shorter(length) => partial(size, first, end.min(first.saturating_add(*length))),
        Act::Changed(offsets) => {
            let mut offsets: Vec<u64> = offsets.iter().copied().filter(|at| (first..end).contains(at)).collect();
            offsets.sort_unstable();
            let mut body = Vec::new();
            let mut at = first;
            for offset in offsets {
                body.extend([Part::Blob(at, offset), Part::Wrong(offset, offset + 1)]);
                at = offset + 1;
            }
            body.push(Part::Blob(at, end));
            Answer { body, ..well }
        }
        Act::Swapped => Answer { body: vec![Part::Wrong(first, end)], ..well },
        Act::Extra(length) => {
            let mut answer = well;
            answer.body.push(Part::Text(vec![b'!'; usize::try_from(*length).unwrap_or(0)].into()));
            answer.end = End::Close;
            answer
        }
        Act::Gzip => well.with("Content-Encoding", "gzip"),
        Act::Chunked(cut) => {
            let mut answer = well.without("Content-Length").with("Transfer-Encoding", "chunked");
            answer.chunked = true;
            match cut {
                Some(length) => answer.cut(*length, End::Cut),
                None => answer,
            }
        }
        Act::ChunkCutAfter(length) => {
            let mut answer = answer(&Act::Chunked(Some(*length)), content, range)?;
            answer.body.push(Part::HalfChunk);
            answer
        }
        Act::UntilClose(cut) => {
            let answer = well.without("Content-Length").with("Connection", "close");
            match cut {
                Some(length) => answer.cut(*length, End::Cut),
                None => Answer { end: End::Close, ..answer },
            }
        }
        Act::Length(text) => {
            let mut answer = well;
            for (name, value) in &mut answer.headers {
                match name.as_str() {
                    "Content-Length" => value.clone_from(text),
                    "Content-Range" => *value = format!("bytes {first}-{}/{text}", end.saturating_sub(1)),
                    _ => {}
                }
            }
            Answer { end: End::Close, ..answer }
        }
        Act::Status(status, headers, body) => Answer {
            status: *status,
            headers: headers.clone(),
            body: vec![Part::Text(body.clone().into())],
            ..partial(0, 0, 0)
        }
        .with("Content-Length", &body.len().to_string()),
        Act::With(headers, act) => {
            let mut answer = answer(act, content, range)?;
            answer.headers.extend(headers.iter().cloned());
            answer
        }
        Act::Close | Act::Silent | Act::Headers(_) | Act::Endless1xx | Act::RefuseStream | Act::Calm => return None,
    })
}

fn well(size: u64, range: Range) -> Answer {
    match range {
        None => whole(size),
        Some((first, _)) if first >= size => {
            let headers = vec![
                ("Content-Range".to_owned(), format!("bytes */{size}")),
                ("Content-Length".to_owned(), "0".to_owned()),
            ];
            Answer { status: 416, headers, body: Vec::new(), ..whole(size) }
        }
        Some((first, last)) => partial(size, first, last.map_or(size, |last| last.saturating_add(1).min(size))),
    }
}

fn whole(size: u64) -> Answer {
    let headers =
        vec![("Content-Length".to_owned(), size.to_string()), ("Accept-Ranges".to_owned(), "bytes".to_owned())];
    let body = vec![Part::Blob(0, size)];
    Answer { status: 200, headers, body, end: End::KeepOpen, chunked: false, head_every_ms: 0 }
}

fn partial(size: u64, first: u64, end: u64) -> Answer {
    let headers = vec![
        ("Content-Length".to_owned(), (end - first).to_string()),
        ("Content-Range".to_owned(), format!("bytes {first}-{}/{size}", end.saturating_sub(1))),
    ];
    Answer { status: 206, headers, body: vec![Part::Blob(first, end)], ..whole(size) }
}

impl Answer {
    /// The bytes of the blob in an answer that is one part.
    fn bounds(&self) -> (u64, u64) {
        match self.body.first() {
            Some(Part::Blob(first, end)) => (*first, *end),
            _ => (0, 0),
        }
    }

    /// Ends the body of one part after so many bytes in this way.
    fn cut(mut self, length: u64, end: End) -> Self {
        if let Some(Part::Blob(first, last)) = self.body.first_mut() {
            *last = (*last).min(first.saturating_add(length));
        }
        self.end = end;
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, dropped: &str) -> Self {
        self.headers.retain(|(name, _)| name != dropped);
        self
    }
}
