//! HTTP/2: the same acts in frames, many streams at once, and the ways only it has to stop.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, SendStream, server::SendResponse};
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::{sync::mpsc, time::sleep};

use super::{
    act::Act,
    answer::{Answer, End, Part, answer},
    content::Content,
    seen::Seen,
    stage::{Connection, inverted},
    wire::Wire,
};

/// How long frames that were handed to the connection get to leave it before it is broken off.
const FLUSH: Duration = Duration::from_millis(30);
const PORTION: u64 = 64 << 10;

/// What a stream asks of its connection.
enum Order {
    /// GOAWAY; what was begun goes on.
    Leave,
    /// GOAWAY with this reason, and the end.
    Break(Reason),
    /// The end without a word.
    Cut,
}

/// Serves one connection until it ends.
pub(super) async fn converse(wire: Wire, connection: Connection) -> io::Result<()> {
    let connection = Arc::new(connection);
    let mut server = h2::server::Builder::new();
    server.max_concurrent_streams(connection.stage.streams);
    let mut session = server.handshake::<_, Bytes>(wire).await.map_err(io::Error::other)?;
    let (orders, mut given) = mpsc::unbounded_channel();
    // Owned here, so that streams end with their connection.
    let mut streams = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            request = session.accept() => {
                let Some(request) = request else { return Ok(()) };
                let (request, respond) = request.map_err(io::Error::other)?;
                let talk = Talk { connection: Arc::clone(&connection), orders: orders.clone(), request: 0 };
                streams.spawn(talk.reply(request, respond));
            }
            Some(order) = given.recv() => match order {
                Order::Leave => session.graceful_shutdown(),
                Order::Break(reason) => session.abrupt_shutdown(reason),
                Order::Cut => return Ok(()),
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// One stream: a request and its answer.
struct Talk {
    connection: Arc<Connection>,
    orders: mpsc::UnboundedSender<Order>,
    request: usize,
}

impl Talk {
    async fn reply(mut self, request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let headers = request.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let seen = Seen {
            method: request.method().to_string(),
            path,
            headers: headers.collect(),
            http2: true,
            ..Seen::default()
        }
        .with_range();
        let (range, head_only) = (seen.range, seen.method == "HEAD");
        let (index, act, content) = self.connection.arrived(seen);
        self.request = index;
        let missing = Act::status(404);
        let (act, content) = match content {
            Some(content) => (act, content),
            None => (missing, Content::Zeros(0)),
        };
        // A client that goes away is the point of most tests.
        match answer(&act, &content, range).filter(|_| act != Act::NeedHttp1) {
            Some(answer) => {
                self.answer(answer, &content, head_only, &mut respond).await.ok();
            }
            None => self.oddity(&act, &mut respond).await,
        }
    }

    async fn oddity(&self, act: &Act, respond: &mut SendResponse<Bytes>) {
        match act {
            Act::Silent => std::future::pending().await,
            Act::RefuseStream => respond.send_reset(Reason::REFUSED_STREAM),
            Act::NeedHttp1 => respond.send_reset(Reason::HTTP_1_1_REQUIRED),
            Act::Calm => self.order(Order::Break(Reason::ENHANCE_YOUR_CALM)),
            Act::Endless1xx => {
                while let Ok(going_on) = Response::builder().status(103).body(())
                    && respond.send_informational(going_on).is_ok()
                {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Act::Headers(length) => {
                let mut response = Response::builder().status(206);
                for index in 0..length.div_ceil(100) {
                    response = response.header(format!("x-padding-{index}"), "x".repeat(87));
                }
                if let Ok(response) = response.body(()) {
                    respond.send_response(response, true).ok();
                }
            }
            _ => self.order(Order::Cut),
        }
    }

    /// The connection may be gone already, which is what was wanted.
    fn order(&self, order: Order) {
        self.orders.send(order).ok();
    }

    async fn answer(
        &self,
        answer: Answer,
        content: &Content,
        head_only: bool,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), h2::Error> {
        let mut response = Response::new(());
        *response.status_mut() = answer.status.try_into().unwrap_or_default();
        for (name, value) in &answer.headers {
            let (name, value) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
            if let (Ok(name), Ok(value)) = (name, value)
                && !matches!(name.as_str(), "connection" | "transfer-encoding")
            {
                response.headers_mut().append(name, value);
            }
        }
        if answer.head_every_ms > 0 {
            // A head is one frame here: it comes whole, and as late as its last byte would.
            sleep(Duration::from_millis(answer.head_every_ms * 100)).await;
        }
        let mut stream = respond.send_response(response, head_only)?;
        if head_only {
            return Ok(());
        }
        for part in answer.body {
            self.part(part, content, &mut stream).await?;
        }
        match answer.end {
            End::KeepOpen | End::Close => stream.send_data(Bytes::new(), true)?,
            End::Stall => std::future::pending().await,
            End::Reset => {
                sleep(FLUSH).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            }
            End::Break => {
                sleep(FLUSH).await;
                self.order(Order::Break(Reason::INTERNAL_ERROR));
            }
            End::Cut | End::HalfClose => {
                sleep(FLUSH).await;
                self.order(Order::Cut);
            }
        }
        Ok(())
    }

    async fn part(&self, part: Part, content: &Content, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        match part {
            Part::Blob(first, end) | Part::Wrong(first, end) => {
                let mut at = first;
                while at < end {
                    let next = end.min(at + PORTION.min(self.connection.portion()));
                    let wrong = matches!(part, Part::Wrong(..));
                    let bytes = if wrong { inverted(content, at, next) } else { content.read(at, next) };
                    self.bytes(bytes.unwrap_or_default(), Some(at), stream).await?;
                    at = next;
                }
            }
            Part::Drip(first, end, every_ms) => {
                for at in first..end {
                    self.bytes(content.read(at, at + 1).unwrap_or_default(), Some(at), stream).await?;
                    sleep(Duration::from_millis(every_ms)).await;
                }
            }
            Part::Text(text) => self.bytes(text, None, stream).await?,
            Part::HalfChunk => {}
            Part::GoAway => {
                sleep(FLUSH).await;
                self.order(Order::Leave);
            }
        }
        Ok(())
    }

    /// Sends as fast as the client opens its window.
    async fn bytes(
        &self,
        mut bytes: Bytes,
        mut at: Option<u64>,
        stream: &mut SendStream<Bytes>,
    ) -> Result<(), h2::Error> {
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
            let room = room.unwrap_or_else(|| Err(Reason::STREAM_CLOSED.into()))?;
            let now = bytes.split_to(room.min(bytes.len()));
            let length = now.len() as u64;
            stream.send_data(now, false)?;
            self.connection.sent(self.request, at, length);
            self.connection.pay(length).await;
            at = at.map(|at| at + length);
        }
        Ok(())
    }
}
