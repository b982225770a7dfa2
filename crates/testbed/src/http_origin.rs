//! An HTTP/1.1 origin that misbehaves on command: one blob on a raw socket.
//!
//! Written on the socket itself, because what a server library refuses to send – lying ranges, bodies cut in the middle,
//! headers without end – is what a download must survive. Each request takes the next [`Act`] of the script; when the
//! script is over, the act set with [`Origin::always`] is played (at first: serve well).

mod reply;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// What to do with one request. "Well" means: 206 with the range asked for, 200 with everything if none was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Answers well.
    Serve,
    /// Answers well, but closes after so many bytes of the body.
    CutAfter(u64),
    /// As [`CutAfter`](Self::CutAfter), with a TCP reset.
    ResetAfter(u64),
    /// Sends so many bytes of the body, then nothing for ever.
    StallAfter(u64),
    /// Sends the body byte by byte, one each time so many milliseconds have passed.
    Trickle(u64),
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
    /// Answers well, and sends so many bytes more than it announced.
    Extra(u64),
    /// Claims to send gzip.
    Gzip,
    /// Answers well in chunks; with a number, closes after so many bytes without the last chunk.
    Chunked(Option<u64>),
    /// Answers without any length and closes at the end; with a number, already after so many bytes.
    UntilClose(Option<u64>),
    /// Claims this text as Content-Length (and, in Content-Range, as size).
    Length(String),
    /// This status, with these header lines and this body.
    Status(u16, Vec<(String, String)>, Vec<u8>),
    /// Closes without an answer.
    Close,
    /// Reads the request and never answers.
    Silent,
    /// So many bytes of headers before the answer.
    Headers(usize),
    /// `100 Continue` without end.
    Endless1xx,
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
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The path with its query.
    pub path: String,
    /// The range asked for: first byte and, if given, last byte.
    pub range: Option<(u64, Option<u64>)>,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// The value of a header; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A running origin; it ends when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    stage: Arc<Stage>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Stage {
    content: Vec<u8>,
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    body_bytes: AtomicU64,
    /// Bytes per second and connection; 0: no limit.
    rate: AtomicU64,
}

#[derive(Debug)]
struct Script {
    next: VecDeque<Act>,
    always: Act,
}

impl Origin {
    /// Serves this content on a loopback port, well at first.
    pub async fn start(content: Vec<u8>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Mutex::new(Script { next: VecDeque::new(), always: Act::Serve });
        let stage = Arc::new(Stage {
            content,
            script,
            seen: Mutex::default(),
            body_bytes: AtomicU64::new(0),
            rate: AtomicU64::new(0),
        });
        let task = tokio::spawn(listen(listener, Arc::clone(&stage)));
        Ok(Self { address, stage, task })
    }

    /// An address at this origin.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Plays these acts, one for each request, before whatever comes always.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.stage.script.lock().unwrap_or_else(PoisonError::into_inner).next.extend(acts);
    }

    /// Plays this act whenever the script is over.
    pub fn always(&self, act: Act) {
        self.stage.script.lock().unwrap_or_else(PoisonError::into_inner).always = act;
    }

    /// Limits the bytes per second of each connection; 0 takes the limit off.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.stage.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.stage.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many bytes of bodies were written to sockets, what was never read included.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.stage.body_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, stage: Arc<Stage>) {
    // Owned by this task, so that open connections end with the origin.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let stage = Arc::clone(&stage);
        connections.spawn(async move {
            // A client that goes away is the point of most tests.
            converse(stream, &stage).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut stream: TcpStream, stage: &Stage) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(seen) = read_request(&mut stream).await? {
        let range = seen.range;
        stage.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        let act = {
            let mut script = stage.script.lock().unwrap_or_else(PoisonError::into_inner);
            script.next.pop_front().unwrap_or_else(|| script.always.clone())
        };
        if !reply::reply(&mut stream, stage, range, act).await? {
            break;
        }
    }
    Ok(())
}

/// Reads one request without a body; `None` when the client has gone.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Seen>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut seen = Seen { path, range: None, headers };
    seen.range = seen.header("range").and_then(|value| {
        let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()))
    });
    Ok(Some(seen))
}
