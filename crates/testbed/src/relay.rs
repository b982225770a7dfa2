//! A relay between app and service: a network one can make slow, long, stormy, and switch off.
//!
//! It forwards bytes unchanged in both directions and takes note of what was asked and how many bytes of each answer went
//! through, because "nothing verified was fetched twice" is a claim about the wire, not about anybody's log. The app only
//! knows the relay's address; what happens at the relay is to it what happens to the service.
//!
//! A round trip is made of two delay lines (`wire`), the rate is that of one link shared by all connections, and what goes
//! wrong by itself ([`Weather`]) follows a seed: two programs sent through the same weather meet the same outages at the
//! same moments after their first connection.

mod passed;
mod weather;
mod wire;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use passed::Passed;
pub use weather::{Fate, Outage, OutageKind, Outages, Weather};
use wire::Link;

const BACKLOG: u32 = 1024;
/// How soon a port that is still taken is tried again after an outage.
const BIND_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// How the network is; the default is a perfect one.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// From the app to the service and back. A new connection costs one before its first byte, as it would without us.
    pub round_trip: Duration,
    /// Bytes per second towards the app, over all connections.
    pub rate: Option<u64>,
    /// Bytes per second towards the service, over all connections.
    pub rate_up: Option<u64>,
    /// What goes wrong by itself.
    pub weather: Option<Weather>,
    /// Bytes the system may hold for the app between the relay and it; small, when what the app never read should not
    /// count as handed on.
    pub socket_buffer: Option<u32>,
}

/// A running relay; it ends with this value.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

/// What has happened at a relay so far, beside the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Connections taken.
    pub connections: u64,
    /// Those that are open now.
    pub open: u64,
    /// Those that the weather ended.
    pub lost: u64,
    /// Bytes handed to the app, whatever they were.
    pub to_app_bytes: u64,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    round_trip: Duration,
    socket_buffer: Option<u32>,
    weather: Option<Weather>,
    /// Bytes per second towards the app, over all connections.
    rate: Mutex<Option<u64>>,
    link: Link,
    rate_up: Option<u64>,
    link_up: Link,
    /// Cancelled to cut every connection there is.
    cut: Mutex<CancellationToken>,
    passed: Mutex<Vec<Passed>>,
    /// Nothing passes while this is true.
    frozen: watch::Sender<bool>,
    /// Nobody listens while this is true.
    shut: watch::Sender<bool>,
    has_begun: AtomicBool,
    outages: Mutex<Vec<Outage>>,
    connections: AtomicU64,
    open: AtomicU64,
    lost: AtomicU64,
    to_app_bytes: AtomicU64,
}

impl Relay {
    /// Listens on a free port of the loopback and forwards to `target`.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        Self::through(target, Network::default()).await
    }

    /// As [`start`](Self::start), through a network that is not perfect.
    pub async fn through(target: SocketAddr, network: Network) -> io::Result<Self> {
        Self::through_at(SocketAddr::from(([127, 0, 0, 1], 0)), target, network).await
    }

    /// As [`through`](Self::through), at an address that the app knows already.
    pub async fn through_at(at: SocketAddr, target: SocketAddr, network: Network) -> io::Result<Self> {
        let state = Arc::new(State {
            target,
            round_trip: network.round_trip,
            socket_buffer: network.socket_buffer,
            weather: network.weather,
            rate: Mutex::new(network.rate),
            link: Link::default(),
            rate_up: network.rate_up,
            link_up: Link::default(),
            cut: Mutex::default(),
            passed: Mutex::default(),
            frozen: watch::Sender::new(false),
            shut: watch::Sender::new(false),
            has_begun: AtomicBool::new(false),
            outages: Mutex::default(),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            to_app_bytes: AtomicU64::new(0),
        });
        let listener = bind(at, network.socket_buffer)?;
        let address = listener.local_addr()?;
        let listening = Some(tokio::spawn(listen(listener, address, Arc::clone(&state))));
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
        self.state.cut();
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
            let listener = bind(self.address, self.state.socket_buffer)?;
            self.listening = Some(tokio::spawn(listen(listener, self.address, Arc::clone(&self.state))));
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

    /// The counts so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            connections: self.state.connections.load(Ordering::Relaxed),
            open: self.state.open.load(Ordering::Relaxed),
            lost: self.state.lost.load(Ordering::Relaxed),
            to_app_bytes: self.state.to_app_bytes.load(Ordering::Relaxed),
        }
    }

    /// The outages that have begun so far; their times count from the first connection.
    #[must_use]
    pub fn outages(&self) -> Vec<Outage> {
        lock(&self.state.outages).clone()
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

impl State {
    fn begin(&self, outage: OutageKind) {
        self.shut.send_replace(outage == OutageKind::Refused);
        self.frozen.send_replace(outage != OutageKind::Refused);
        if outage != OutageKind::Silent {
            self.cut();
        }
    }

    fn end_outage(&self) {
        self.frozen.send_replace(false);
        self.shut.send_replace(false);
    }

    fn cut(&self) {
        std::mem::take(&mut *lock(&self.cut)).cancel();
    }
}

fn bind(address: SocketAddr, send_buffer: Option<u32>) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Connections of before an outage linger; on Windows the option would mean something else.
    if cfg!(unix) {
        socket.set_reuseaddr(true)?;
    }
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn listen(first: TcpListener, address: SocketAddr, state: Arc<State>) {
    let mut shut = state.shut.subscribe();
    let mut listener = Some(first);
    loop {
        if *shut.borrow_and_update() {
            listener = None;
            if shut.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            match bind(address, state.socket_buffer) {
                Ok(bound) => listener = Some(bound),
                Err(_) => tokio::time::sleep(BIND_AGAIN_AFTER).await,
            }
            continue;
        };
        tokio::select! {
            accepted = open.accept() => {
                if let Ok((app, _)) = accepted {
                    take(app, &state);
                }
            }
            _ = shut.changed() => {}
        }
    }
}

/// Takes one connection; the first one starts the weather.
fn take(app: TcpStream, state: &Arc<State>) {
    if let Some(weather) = state.weather.clone()
        && !state.has_begun.swap(true, Ordering::Relaxed)
    {
        tokio::spawn(blow(weather, Arc::clone(state)));
    }
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let fate = state.weather.as_ref().map_or(Fate::Spared, |weather| weather.fate(number));
    let cut = lock(&state.cut).clone();
    let state = Arc::clone(state);
    tokio::spawn(async move {
        state.open.fetch_add(1, Ordering::Relaxed);
        let opened = Instant::now();
        wire::join(app, opened, fate, &cut, &state).await;
        state.open.fetch_sub(1, Ordering::Relaxed);
    });
}

/// Lets one outage after the other happen; ends with the relay's state, which nobody else holds then.
async fn blow(weather: Weather, state: Arc<State>) {
    let began = Instant::now();
    let state = {
        let weak = Arc::downgrade(&state);
        drop(state);
        weak
    };
    for outage in weather.outages() {
        tokio::time::sleep_until(began + outage.at).await;
        let Some(state) = state.upgrade() else { return };
        lock(&state.outages).push(outage);
        state.begin(outage.kind);
        tokio::time::sleep_until(began + outage.at + outage.length).await;
        state.end_outage();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
