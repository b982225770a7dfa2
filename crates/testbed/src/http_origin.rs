//! An origin that misbehaves on command: HTTP/1.1, TLS and HTTP/2 on a raw socket.
//!
//! HTTP/1.1 is written on the socket itself, because what a server library refuses to send – lying ranges, bodies cut in
//! the middle, headers without end – is what a download must survive. Each request takes the next [`Act`] of the script;
//! when the script is over, the act set with [`Origin::always`] is played (at first: serve well). Connections have a
//! script of their own ([`Meeting`]). What was asked and what was sent is written down where it happens, on the wire.

mod act;
mod answer;
mod content;
mod http1;
mod http2;
mod identity;
mod seen;
mod stage;
mod wire;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

pub use act::{Act, Meeting};
pub use content::{Content, Library};
pub use identity::{Flaw, Identity};
pub use seen::{Seen, Served, sent_twice};
use stage::{Connection, Script, Stage, lock};
use wire::Wire;

/// How an origin is set up.
#[derive(Debug)]
pub struct Setup {
    library: Library,
    identity: Option<Arc<Identity>>,
    http2: bool,
    streams: u32,
}

impl Setup {
    /// Plain, serving this.
    #[must_use]
    pub fn new(library: impl Into<Library>) -> Self {
        Self { library: library.into(), identity: None, http2: true, streams: 256 }
    }

    /// Over TLS, as this.
    #[must_use]
    pub fn tls(self, identity: Arc<Identity>) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Over TLS, offers HTTP/2 or doesn't. (A plain client may always speak it, without being offered.)
    #[must_use]
    pub fn http2(self, http2: bool) -> Self {
        Self { http2, ..self }
    }

    /// HTTP/2: so many streams at once.
    #[must_use]
    pub fn streams(self, streams: u32) -> Self {
        Self { streams, ..self }
    }

    /// Starts it on a free port of the loopback, serving well at first.
    pub async fn start(self) -> io::Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let tls = self.identity.map(|identity| identity.acceptor(self.http2)).transpose()?;
        let stage = Arc::new(Stage {
            library: self.library,
            tls,
            streams: self.streams,
            script: Mutex::new(Script::default()),
            records: Mutex::default(),
            body_bytes: AtomicU64::new(0),
            knocks: AtomicUsize::new(0),
            served_now: AtomicUsize::new(0),
            rate: AtomicU64::new(0),
        });
        let (open, opened) = watch::channel(true);
        let task = tokio::spawn(listen(listener, Arc::clone(&stage), opened));
        Ok(Origin { address, stage, open, task })
    }
}

/// A running origin; it ends when dropped.
pub struct Origin {
    address: SocketAddr,
    stage: Arc<Stage>,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Origin {
    /// Serves this content on a loopback port, plainly and well at first.
    pub async fn start(content: Vec<u8>) -> io::Result<Self> {
        Setup::new(content).start().await
    }

    /// An address at this origin.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.stage.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plays these acts, one for each request, before whatever comes always.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.stage.script).next.extend(acts);
    }

    /// Plays these acts for requests of this path (without its query), before the script of all.
    pub fn script_at(&self, path: &str, acts: impl IntoIterator<Item = Act>) {
        lock(&self.stage.script).next_at.entry(path.to_owned()).or_default().extend(acts);
    }

    /// Plays this act whenever the script is over.
    pub fn always(&self, act: Act) {
        lock(&self.stage.script).always = act;
    }

    /// Meets the next connections like this, one after the other.
    pub fn meet(&self, meetings: impl IntoIterator<Item = Meeting>) {
        lock(&self.stage.script).meetings.extend(meetings);
    }

    /// Meets all further connections like this.
    pub fn meet_always(&self, meeting: Meeting) {
        lock(&self.stage.script).always_meeting = meeting;
    }

    /// Serves so many connections at a time; whoever comes while they are served is met like this.
    pub fn serve_at_most(&self, connections: usize, beyond: Meeting) {
        lock(&self.stage.script).crowd = Some((connections, beyond));
    }

    /// Forgets what is left of all scripts, and every limit; serves well again.
    pub fn recover(&self) {
        *lock(&self.stage.script) = Script::default();
        self.throttle(0);
        self.open.send_replace(true);
    }

    /// Refuses new connections (nobody listens any more), or listens again on the same port. Those that are open stay.
    pub fn refuse_connections(&self, refuse: bool) {
        self.open.send_replace(!refuse);
    }

    /// Limits the bytes per second of each connection; 0 takes the limit off.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.stage.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// The act of serving what is here packed ([`Act::gzipped`]).
    #[must_use]
    pub fn gzipped(&self) -> Act {
        let content = self.stage.library.find("/").and_then(|content| content.read(0, content.size()).ok());
        Act::gzipped(&content.unwrap_or_default())
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.stage.records).seen.clone()
    }

    /// The bytes of blobs sent so far, range by range.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        lock(&self.stage.records).served.clone()
    }

    /// How many connections were made, those that were turned away included.
    #[must_use]
    pub fn knocks(&self) -> usize {
        self.stage.knocks.load(Ordering::Relaxed)
    }

    /// How many connections were served.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.stage.records).connections
    }

    /// How many bytes of bodies were written to sockets, what was never read included.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.stage.body_bytes.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, stage: Arc<Stage>, mut open: watch::Receiver<bool>) {
    let address = listener.local_addr();
    let mut listener = Some(listener);
    // Owned by this task, so that open connections end with the origin.
    let mut connections = JoinSet::new();
    loop {
        let Some(listening) = &listener else {
            // Somebody else may have taken the port meanwhile; then nobody is there, as before.
            if open.wait_for(|open| *open).await.is_err() {
                return;
            }
            if let Ok(address) = address {
                listener = TcpListener::bind(address).await.ok();
            }
            if listener.is_none() {
                return;
            }
            continue;
        };
        tokio::select! {
            biased;
            closed = open.wait_for(|open| !*open) => {
                if closed.is_err() {
                    return;
                }
                drop(closed);
                listener = None;
            }
            accepted = listening.accept() => {
                let Ok((stream, _)) = accepted else { return };
                stage.knocks.fetch_add(1, Ordering::Relaxed);
                let meeting = {
                    let mut script = lock(&stage.script);
                    let served = stage.served_now.load(Ordering::Relaxed);
                    match &script.crowd {
                        Some((most, beyond)) if served >= *most => beyond.clone(),
                        _ => script.meetings.pop_front().unwrap_or_else(|| script.always_meeting.clone()),
                    }
                };
                let stage = Arc::clone(&stage);
                connections.spawn(async move {
                    // A client that goes away is the point of most tests.
                    converse(stream, &stage, meeting).await.ok();
                });
                while connections.try_join_next().is_some() {}
            }
        }
    }
}

async fn converse(mut stream: TcpStream, stage: &Arc<Stage>, meeting: Meeting) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let acts = match meeting {
        Meeting::Welcome => Vec::new(),
        Meeting::Scripted(acts) => acts,
        Meeting::Close => return Ok(()),
        Meeting::Reset => return stream.set_zero_linger(),
        Meeting::Mute => {
            stream.readable().await?;
            return std::future::pending().await;
        }
        Meeting::Says(text) => {
            stream.readable().await?;
            stream.write_all(&text).await?;
            stream.shutdown().await?;
            // Closing with something unread would be a reset, and what was said might be lost.
            return tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(|_| ());
        }
    };
    let connection = Connection::new(stage, acts);
    let wire = match &stage.tls {
        None => Wire::Plain(stream),
        Some(acceptor) => Wire::Tls(Box::new(acceptor.accept(stream).await?)),
    };
    if wire.speaks_http2().await? {
        http2::converse(wire, connection).await
    } else {
        http1::converse(wire, &connection).await
    }
}
