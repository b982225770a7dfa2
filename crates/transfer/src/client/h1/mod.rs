//! One HTTP/1.1 connection: a request out, a response in, the body straight into the caller's buffer.
//!
//! Written here rather than taken from hyper because of the path of a large body. hyper reads into a buffer of its own,
//! hands out pieces of it through a channel to another task and leaves copying to us; here a read is one system call from
//! the socket into the piece that will be hashed and written, about one for each MiB (`cargo xtask bench` measures it).
//! `httparse` reads the head, and only GET is spoken, so what is left is the framing of bodies: [`head`] and [`chunks`].
//!
//! Every method is cancel-safe as long as the connection is dropped with a request that was not answered to the end.

mod chunks;
#[cfg(any(test, fuzzing))]
pub(in crate::client) mod fuzzing;
mod head;

use std::{io, task::Poll, time::Duration};

use bytes::BufMut as _;
use chunks::Place;
pub(crate) use head::{Framing, Head};
use http::{HeaderMap, HeaderValue};
use tokio::{
    io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf},
    time::Instant,
};

use super::wire::Wire;
use crate::rules::patience::Setback;

/// What is read at once while a head is expected.
const HEAD_READ_BYTES: usize = 16 << 10;
/// So many `1xx` before an answer, and it isn't one.
const INTERIM_ANSWERS: u32 = 16;
/// An unread rest of up to so many bytes is read away rather than paid for with a new connection.
const LITTLE_BYTES: u64 = 64 << 10;
/// Servers and middleboxes forget connections; asking over a forgotten one costs a round trip.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(55);

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    /// Set on connections to a proxy that forwards: requests name the whole address, with these credentials.
    forward: Option<Forward>,
    /// Received beyond the head or line wanted: `ahead[taken..]`.
    ahead: Vec<u8>,
    taken: usize,
    body: Body,
    kept: bool,
    last_used: Instant,
}

/// How requests are written for a forwarding proxy.
#[derive(Debug, Clone)]
pub(crate) struct Forward {
    pub(crate) authorization: Option<HeaderValue>,
}

/// What is to be asked: GET with these headers.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// Scheme and authority, for a forwarding proxy.
    pub(crate) base: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Silence {
    /// The connection ended before a byte of the answer: on one that was kept, the request was never seen.
    Closed(String),
    Setback(Setback),
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Length(u64),
    Chunked(Place),
    UntilClose,
}

impl Connection {
    pub(crate) fn new(wire: Wire, forward: Option<Forward>) -> Self {
        let (ahead, body) = (Vec::new(), Body::Length(0));
        Self { wire, forward, ahead, taken: 0, body, kept: true, last_used: Instant::now() }
    }

    /// Asks, and reads the head of the answer.
    pub(crate) async fn ask(&mut self, ask: &Ask<'_>) -> Result<Head, Silence> {
        let request = self.request(ask);
        let written = async {
            self.wire.write_all(&request).await?;
            self.wire.flush().await
        };
        written.await.map_err(|error: io::Error| Silence::Closed(error.to_string()))?;
        let mut interim = 0;
        loop {
            let mut head = self.head().await?;
            if !head.status.is_informational() {
                let kept = head.is_kept();
                let framing = head.framing().map_err(Silence::Setback)?;
                self.body = match framing {
                    Framing::Length(length) => Body::Length(length),
                    Framing::Chunked => Body::Chunked(Place::default()),
                    Framing::UntilClose => Body::UntilClose,
                };
                self.kept = kept && framing != Framing::UntilClose;
                return Ok(head);
            }
            interim += 1;
            if interim > INTERIM_ANSWERS || head.status == http::StatusCode::SWITCHING_PROTOCOLS {
                return Err(Silence::Setback(Setback::Unreachable("interim answers without end".to_owned())));
            }
        }
    }

    /// Appends at most `most` bytes of the body to `into`, within its capacity; 0 at the end of the body.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Setback> {
        let most = most.min(into.capacity() - into.len());
        loop {
            let left = match self.body {
                Body::Length(left) => left,
                Body::Chunked(Place::Chunk(left)) => left,
                Body::Chunked(Place::End) => 0,
                Body::UntilClose => u64::MAX,
                Body::Chunked(place) => {
                    let line = self.line().await?;
                    let next = line.and_then(|line| place.after_line(line.as_slice()));
                    self.body = Body::Chunked(next.ok_or(Setback::Cut)?);
                    continue;
                }
            };
            let most = most.min(usize::try_from(left).unwrap_or(usize::MAX));
            if most == 0 {
                return Ok(0);
            }
            let bytes = self.take(into, most).await.map_err(|_| Setback::Cut)?;
            match &mut self.body {
                Body::UntilClose => {}
                _ if bytes == 0 => return Err(Setback::Cut),
                Body::Length(left) => *left -= bytes as u64,
                Body::Chunked(place) => *place = place.after_bytes(bytes as u64),
            }
            return Ok(bytes);
        }
    }

    /// Whether all of the body has been read.
    pub(crate) const fn is_at_end(&self) -> bool {
        matches!(self.body, Body::Length(0) | Body::Chunked(Place::End))
    }

    /// Whether it is worth keeping for another request.
    pub(crate) const fn is_reusable(&self) -> bool {
        self.kept
            && match self.body {
                Body::Length(left) | Body::Chunked(Place::Chunk(left)) => left <= LITTLE_BYTES,
                Body::Chunked(_) => true,
                Body::UntilClose => false,
            }
    }

    /// Notes that it was used until now.
    pub(crate) fn rest(&mut self) {
        self.last_used = Instant::now();
    }

    /// For how long nobody has used it.
    pub(crate) fn unused_for(&self) -> Duration {
        self.last_used.elapsed()
    }

    /// Looks, without waiting, whether a kept connection can take a request: it is open, nothing came that nobody asked
    /// for, and what was left of the last body is there and can be read away.
    pub(crate) async fn is_ready(&mut self) -> bool {
        if self.unused_for() > IDLE_LIMIT || !self.is_reusable() {
            return false;
        }
        let mut rest = Vec::with_capacity(16 << 10);
        while !self.is_at_end() {
            rest.clear();
            let read = self.read(&mut rest, 16 << 10);
            let mut read = std::pin::pin!(read);
            let polled = std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
            if !matches!(polled, Poll::Ready(Ok(_))) {
                return false;
            }
        }
        let mut byte = [0];
        let polled = std::future::poll_fn(|cx| {
            Poll::Ready(std::pin::Pin::new(&mut self.wire).poll_read(cx, &mut ReadBuf::new(&mut byte)))
        });
        self.taken == self.ahead.len() && polled.await.is_pending()
    }

    fn request(&self, ask: &Ask<'_>) -> Vec<u8> {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(b"GET ");
        if self.forward.is_some() {
            text.extend_from_slice(ask.base.as_bytes());
        }
        text.extend_from_slice(ask.path.as_bytes());
        text.extend_from_slice(b" HTTP/1.1\r\n");
        let authorization = self.forward.as_ref().and_then(|forward| forward.authorization.as_ref());
        let proxy = authorization.map(|value| (&http::header::PROXY_AUTHORIZATION, value));
        for (name, value) in ask.headers.iter().chain(proxy) {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        text
    }

    async fn head(&mut self) -> Result<Head, Silence> {
        self.forget_taken();
        let mut looked = 0;
        loop {
            if let Some(end) = head::end(&self.ahead, looked) {
                let head = head::parse(self.ahead.get(..end).unwrap_or_default()).map_err(Silence::Setback)?;
                self.taken = end;
                return Ok(head);
            }
            looked = self.ahead.len();
            if looked >= head::HEAD_LIMIT_BYTES {
                return Err(Silence::Setback(Setback::Unreachable("headers without end".to_owned())));
            }
            let failed = match self.fill(HEAD_READ_BYTES).await {
                Ok(1..) => continue,
                Ok(0) => "closed without an answer".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(if looked == 0 {
                Silence::Closed(failed)
            } else {
                Silence::Setback(Setback::Unreachable(failed))
            });
        }
    }

    /// A line without its end; `None`: there is none.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, Setback> {
        loop {
            let held = self.ahead.get(self.taken..).unwrap_or_default();
            if let Some(at) = held.iter().position(|byte| *byte == b'\n') {
                let line = held.get(..at).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.taken += at + 1;
                return Ok(Some(line));
            }
            if held.len() > chunks::LINE_LIMIT_BYTES {
                return Ok(None);
            }
            self.forget_taken();
            if self.fill(chunks::LINE_LIMIT_BYTES).await.map_err(|_| Setback::Cut)? == 0 {
                return Err(Setback::Cut);
            }
        }
    }

    /// At most `most` bytes of the body: what is held first, then straight from the wire.
    async fn take(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let held = self.ahead.get(self.taken..).unwrap_or_default();
        if held.is_empty() {
            return self.wire.read_buf(&mut into.limit(most)).await;
        }
        let part = held.get(..most).unwrap_or(held);
        into.extend_from_slice(part);
        self.taken += part.len();
        Ok(part.len())
    }

    async fn fill(&mut self, bytes: usize) -> io::Result<usize> {
        self.ahead.reserve(bytes);
        self.wire.read_buf(&mut (&mut self.ahead).limit(bytes)).await
    }

    fn forget_taken(&mut self) {
        self.ahead.drain(..self.taken);
        self.taken = 0;
    }
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
