//! A relay between app and service: a network one can slow down, cut, and switch off.
//!
//! It forwards bytes unchanged in both directions and takes note of what was asked and how many bytes of each answer went
//! through, because "nothing verified was fetched twice" is a claim about the wire, not about anybody's log. The app only
//! knows the relay's address; what happens at the relay is to it what happens to the service.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Bytes that are forwarded at once while a rate is set; small, so that a kill hits close to the rate.
const SLOW_CHUNK: usize = 4 * 1024;
/// Longest request head that is understood; longer ones are forwarded all the same.
const LONGEST_HEAD: usize = 64 * 1024;

/// A running relay; it ends with this value.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

/// One HTTP/1.1 request that went through, and how much of its answer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// Bytes of the answer's body that were handed on.
    pub body_bytes: u64,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    /// Bytes per second towards the app, over all connections.
    rate: Mutex<Option<u64>>,
    /// Held while a slow chunk is on its way, so that the rate is that of the whole link.
    link: tokio::sync::Mutex<()>,
    /// Cancelled to cut every connection there is.
    cut: Mutex<CancellationToken>,
    passed: Mutex<Vec<Passed>>,
}

impl Relay {
    /// Listens on a free port of the loopback and forwards to `target`.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let state = Arc::new(State {
            target,
            rate: Mutex::new(None),
            link: tokio::sync::Mutex::new(()),
            cut: Mutex::new(CancellationToken::new()),
            passed: Mutex::new(Vec::new()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listening = Some(tokio::spawn(accept(listener, Arc::clone(&state))));
        Ok(Self { address, state, listening })
    }

    /// Where the app finds the service.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Limits what reaches the app to so many bytes per second over all connections; `None` lifts the limit.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        *lock(&self.state.rate) = bytes_per_second;
    }

    /// Cuts every connection there is; new ones are taken.
    pub fn cut(&self) {
        std::mem::take(&mut *lock(&self.state.cut)).cancel();
    }

    /// Cuts every connection and refuses new ones, as when the service is down.
    pub async fn go_down(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            // An aborted task answers with an error; what counts is that the listener is gone.
            let _ = listening.await;
        }
        self.cut();
    }

    /// Listens again, on the same port.
    pub async fn come_back(&mut self) -> io::Result<()> {
        if self.listening.is_none() {
            let listener = TcpListener::bind(self.address).await?;
            self.listening = Some(tokio::spawn(accept(listener, Arc::clone(&self.state))));
        }
        Ok(())
    }

    /// What went through so far, in the order asked.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        lock(&self.state.passed).clone()
    }

    /// Bytes of bodies handed to the app in answer to the requests that `select` picks.
    #[must_use]
    pub fn bytes_of(&self, select: impl Fn(&Passed) -> bool) -> u64 {
        lock(&self.state.passed).iter().filter(|passed| select(passed)).map(|passed| passed.body_bytes).sum()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((app, _)) = listener.accept().await {
        let cut = lock(&state.cut).clone();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A service that isn't there closes the connection at once, like a real one would refuse it.
            let Ok(service) = TcpStream::connect(state.target).await else { return };
            let _ = (app.set_nodelay(true), service.set_nodelay(true));
            let (from_app, to_app) = app.into_split();
            let (from_service, to_service) = service.into_split();
            let current = Current::default();
            tokio::select! {
                () = cut.cancelled() => {}
                _ = async {
                    tokio::join!(
                        requests(from_app, to_service, &state, &current),
                        answers(from_service, to_app, &state, &current),
                    )
                } => {}
            }
        });
    }
}

/// Which request of the connection is being answered, and how much of the end of the answer's head has been seen.
#[derive(Debug, Default)]
struct Current(Mutex<(Option<usize>, HeadEnd)>);

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, current: &Current) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut head = Vec::new();
    loop {
        let count = from.read(&mut buffer).await?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        for byte in bytes {
            head.push(*byte);
            if head.ends_with(b"\r\n\r\n") || head.len() > LONGEST_HEAD {
                if let Some(request) = read_head(&head) {
                    let mut passed = lock(&state.passed);
                    passed.push(request);
                    *lock(&current.0) = (Some(passed.len() - 1), HeadEnd::default());
                }
                head.clear();
            }
        }
        to.write_all(bytes).await?;
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, current: &Current) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let rate = *lock(&state.rate);
        let window = if rate.is_some() { SLOW_CHUNK } else { buffer.len() };
        let count = from.read(buffer.get_mut(..window).unwrap_or_default()).await?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        if let Some(rate) = rate {
            let _link = state.link.lock().await;
            tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate.max(1) as f64)).await;
        }
        to.write_all(bytes).await?;
        let mut passed = lock(&state.passed);
        let (request, head) = &mut *lock(&current.0);
        let body = bytes.iter().filter(|byte| head.is_body(**byte)).count() as u64;
        if let Some(passed) = request.and_then(|request| passed.get_mut(request)) {
            passed.body_bytes += body;
        }
    }
}

/// Finds the empty line at the end of a head.
#[derive(Debug, Default)]
struct HeadEnd {
    matched: usize,
}

impl HeadEnd {
    /// Takes the next byte of an answer; whether it belongs to the body.
    fn is_body(&mut self, byte: u8) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        if self.matched == END.len() {
            return true;
        }
        self.matched = match END.get(self.matched) {
            Some(expected) if *expected == byte => self.matched + 1,
            _ => usize::from(byte == b'\r'),
        };
        false
    }
}

/// Reads a request's head; what comes before it is the body of the request before.
fn read_head(bytes: &[u8]) -> Option<Passed> {
    const METHODS: [&str; 6] = ["GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE "];
    let text = String::from_utf8_lossy(bytes);
    let start = METHODS.iter().filter_map(|method| text.find(method)).min()?;
    let mut lines = text.get(start..)?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let range = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| value.trim().to_owned())
    });
    version.starts_with("HTTP/1").then(|| Passed {
        method: method.to_owned(),
        target: target.to_owned(),
        range,
        body_bytes: 0,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
