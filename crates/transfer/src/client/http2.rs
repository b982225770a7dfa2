//! One HTTP/2 connection: many requests at once.
//!
//! Over `h2` itself, on which hyper is built as well: hyper keeps to itself why a stream ended, and it matters here
//! whether a request was refused unseen (ask again at once), the server leaves (ask over a new connection) or wants quiet
//! (slow down). A task of its own drives the connection until nobody holds it and its last stream has ended.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use h2::{PingPong, Reason, RecvStream, client::SendRequest};
use http::Request;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{h1::Head, wire::Wire};
use crate::rules::patience::Setback;

/// What one stream may be ahead of its reader: 40 MB/s at 50 ms.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// What all streams together may be ahead of their readers.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const FRAME_BYTES: u32 = 64 << 10;
const HEADERS_BYTES: u32 = 64 << 10;
/// More at once win nothing, however many the server allows.
pub(super) const STREAMS: usize = 200;
/// A connection in use that doesn't answer a ping for so long is dead. Well under the patience with a silent body.
const PING_EVERY: Duration = Duration::from_secs(8);
const PONG_WITHIN: Duration = Duration::from_secs(8);
/// Streams hear of the end of their connection just before its task does.
const ENDS_WITHIN: Duration = Duration::from_millis(200);

/// A connection; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    /// Set when no new request may use it.
    leaving: Arc<AtomicBool>,
    /// Says, when the connection has ended, whether because the server wants quiet.
    calmed: watch::Receiver<Option<bool>>,
    /// Held by every stream, so that pings are sent only while somebody waits.
    in_use: Arc<()>,
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    receive: RecvStream,
    /// Arrived and not asked for yet.
    rest: Bytes,
    connection: Connection,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server hasn't looked at the request; over another connection, if this one is `leaving`, it may be asked again at once.
    Unseen(String),
    /// It answers this over HTTP/1.1 alone.
    NeedsHttp1,
    Setback(Setback),
}

impl Connection {
    /// Speaks HTTP/2 on this wire. Nothing is waited for: requests travel with the first bytes.
    pub(super) async fn start(wire: Wire) -> Result<Self, Setback> {
        Self::watched(wire, PING_EVERY, PONG_WITHIN).await
    }

    async fn watched(wire: Wire, every: Duration, within: Duration) -> Result<Self, Setback> {
        let shaken = h2::client::Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_header_list_size(HEADERS_BYTES)
            .handshake::<Wire, Bytes>(wire)
            .await;
        let (send, mut connection) = shaken.map_err(|error| Setback::Unreachable(error.to_string()))?;
        let pings = connection.ping_pong();
        let (calm, calmed) = watch::channel(None);
        let started = Self { send, leaving: Arc::default(), calmed, in_use: Arc::default() };
        let (leaving, in_use) = (Arc::clone(&started.leaving), Arc::downgrade(&started.in_use));
        let idle_holders = 1;
        tokio::spawn(async move {
            // Dropped with this task, the connection ends all its streams with an error.
            let ended = tokio::select! {
                ended = connection => ended,
                () = dead(pings, every, within, move || in_use.strong_count() > idle_holders) => {
                    tracing::info!("an HTTP/2 connection doesn't answer pings; it is given up");
                    Ok(())
                }
            };
            let reason = ended.err().and_then(|error| error.reason());
            calm.send_replace(Some(reason == Some(Reason::ENHANCE_YOUR_CALM)));
            leaving.store(true, Ordering::Relaxed);
        });
        Ok(started)
    }

    /// Whether new requests may use it.
    pub(super) fn is_open(&self) -> bool {
        !self.leaving.load(Ordering::Relaxed)
    }

    /// How many streams the server allows, as far as it has said by now.
    pub(super) fn streams_allowed(&self) -> usize {
        self.send.current_max_send_streams()
    }

    pub(super) async fn ask(&self, request: Request<()>) -> Result<(Head, Stream), Refusal> {
        let connection = self.clone();
        let asking = async {
            let mut send = self.send.clone().ready().await?;
            let (answer, _) = send.send_request(request, true)?;
            answer.await
        };
        match asking.await {
            Ok(answer) => {
                let (parts, receive) = answer.into_parts();
                let head = Head { status: parts.status, version: parts.version, headers: parts.headers };
                Ok((head, Stream { receive, rest: Bytes::new(), connection }))
            }
            Err(error) => Err(self.refusal(&error).await),
        }
    }

    async fn refusal(&self, error: &h2::Error) -> Refusal {
        let reset = error.is_reset() && error.is_remote();
        if self.wants_quiet(error).await {
            return Refusal::Setback(CALM);
        }
        match error.reason() {
            Some(Reason::HTTP_1_1_REQUIRED) if error.is_remote() => Refusal::NeedsHttp1,
            Some(Reason::REFUSED_STREAM) => Refusal::Unseen(error.to_string()),
            // Leaving, it answers what it has taken up; to ask for the rest elsewhere is what it wants.
            _ if error.is_go_away() && error.is_remote() => Refusal::Unseen(error.to_string()),
            _ if reset || error.is_library() => Refusal::Setback(Setback::Unreachable(error.to_string())),
            // The connection was gone already, or ended without an answer: most likely it was forgotten on the way.
            _ => Refusal::Unseen(error.to_string()),
        }
    }
}

impl Connection {
    /// Whether a stream ended because the server wants quiet. If it ended with its connection, only that knows.
    async fn wants_quiet(&self, error: &h2::Error) -> bool {
        if error.is_reset() && error.is_remote() {
            return error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        }
        self.leaving.store(true, Ordering::Relaxed);
        if error.is_go_away() {
            return error.reason() == Some(Reason::ENHANCE_YOUR_CALM);
        }
        let mut calmed = self.calmed.clone();
        let ended = timeout(ENDS_WITHIN, calmed.wait_for(Option::is_some)).await;
        matches!(ended, Ok(Ok(calmed)) if *calmed == Some(true))
    }
}

/// What a server means by ENHANCE_YOUR_CALM, in the words of HTTP.
const CALM: Setback = Setback::Busy { status: 429, retry_after: None };

impl Stream {
    /// Appends at most `most` bytes to `into`, within its capacity; 0 at the end of the body.
    pub(super) async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Setback> {
        let most = most.min(into.capacity() - into.len());
        match poll_fn(|cx| self.poll_read(cx, into, most)).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if self.connection.wants_quiet(&error).await => Err(CALM),
            Err(_) => Err(Setback::Cut),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>, most: usize) -> Poll<Result<usize, h2::Error>> {
        let mut bytes = 0;
        loop {
            let part = self.rest.len().min(most - bytes);
            into.extend_from_slice(self.rest.get(..part).unwrap_or_default());
            self.rest.advance(part);
            bytes += part;
            if part > 0 {
                self.receive.flow_control().release_capacity(part)?;
            }
            if bytes == most {
                return Poll::Ready(Ok(bytes));
            }
            match self.receive.poll_data(cx) {
                Poll::Ready(Some(Ok(frame))) => self.rest = frame,
                // What came before counts; the next read says how it ended.
                _ if bytes > 0 => return Poll::Ready(Ok(bytes)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(0)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Ends when the peer is found dead.
async fn dead(pings: Option<PingPong>, every: Duration, within: Duration, in_use: impl Fn() -> bool) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(every).await;
        if in_use() && !matches!(timeout(within, pings.ping(h2::Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
