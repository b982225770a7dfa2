//! What all connections of an origin share – library, script, records – and the side of it that one connection sees.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;

use super::{
    act::{Act, Meeting},
    content::{Content, Library},
    seen::{Records, Seen},
};

/// How far a connection may run ahead to make up for a timer that came late.
const CATCH_UP: Duration = Duration::from_millis(20);
const PORTION: u64 = 256 << 10;
/// With a rate, portions are small so that the flow is even.
const SLOW_PORTION: u64 = 16 << 10;

pub(super) struct Stage {
    pub(super) library: Library,
    pub(super) tls: Option<TlsAcceptor>,
    /// HTTP/2: how many streams a client may have open.
    pub(super) streams: u32,
    pub(super) script: Mutex<Script>,
    pub(super) records: Mutex<Records>,
    pub(super) body_bytes: AtomicU64,
    pub(super) knocks: AtomicUsize,
    /// Connections being served.
    pub(super) served_now: AtomicUsize,
    /// Bytes per second and connection; 0: no limit.
    pub(super) rate: AtomicU64,
}

pub(super) struct Script {
    pub(super) next: VecDeque<Act>,
    pub(super) next_at: HashMap<String, VecDeque<Act>>,
    pub(super) always: Act,
    pub(super) meetings: VecDeque<Meeting>,
    pub(super) always_meeting: Meeting,
    /// How those are met that come while so many are served.
    pub(super) crowd: Option<(usize, Meeting)>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            next: VecDeque::new(),
            next_at: HashMap::new(),
            always: Act::Serve,
            meetings: VecDeque::new(),
            always_meeting: Meeting::Welcome,
            crowd: None,
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection's view of the stage.
pub(super) struct Connection {
    pub(super) stage: Arc<Stage>,
    number: usize,
    acts: Mutex<VecDeque<Act>>,
    /// When what was sent so far is paid for.
    paid: Mutex<Instant>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stage.served_now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    pub(super) fn new(stage: &Arc<Stage>, acts: Vec<Act>) -> Self {
        let number = {
            let mut records = lock(&stage.records);
            records.connections += 1;
            records.connections - 1
        };
        stage.served_now.fetch_add(1, Ordering::Relaxed);
        Self { stage: Arc::clone(stage), number, acts: Mutex::new(acts.into()), paid: Mutex::new(Instant::now()) }
    }

    /// Notes a request; says its index, what to do with it and what it asks for.
    pub(super) fn arrived(&self, mut seen: Seen) -> (usize, Act, Option<Content>) {
        seen.connection = self.number;
        let content = self.stage.library.find(&seen.path).cloned();
        let act = lock(&self.acts).pop_front().unwrap_or_else(|| {
            let mut script = lock(&self.stage.script);
            let path = seen.path.split('?').next().unwrap_or_default();
            let here = script.next_at.get_mut(path).and_then(VecDeque::pop_front);
            here.or_else(|| script.next.pop_front()).unwrap_or_else(|| script.always.clone())
        });
        let mut records = lock(&self.stage.records);
        records.seen.push(seen);
        (records.seen.len() - 1, act, content)
    }

    /// How much to write at once.
    pub(super) fn portion(&self) -> u64 {
        if self.stage.rate.load(Ordering::Relaxed) > 0 { SLOW_PORTION } else { PORTION }
    }

    /// Whether no rate is set at the moment.
    #[cfg(target_os = "linux")]
    pub(super) fn is_unlimited(&self) -> bool {
        self.stage.rate.load(Ordering::Relaxed) == 0
    }

    /// Counts bytes of a body that were written; `at`: where in the blob they belong, if they are of it.
    pub(super) fn sent(&self, request: usize, at: Option<u64>, length: u64) {
        self.stage.body_bytes.fetch_add(length, Ordering::Relaxed);
        if let Some(first) = at.filter(|_| length > 0) {
            lock(&self.stage.records).sent(request, first, length);
        }
    }

    /// Waits until so many bytes more may be sent.
    pub(super) async fn pay(&self, length: u64) {
        let rate = self.stage.rate.load(Ordering::Relaxed);
        let Some(micros) = length.saturating_mul(1_000_000).checked_div(rate) else { return };
        let until = {
            let mut paid = lock(&self.paid);
            let earliest = Instant::now().checked_sub(CATCH_UP).unwrap_or(*paid);
            *paid = (*paid).max(earliest) + Duration::from_micros(micros);
            *paid
        };
        sleep_until(until).await;
    }
}

/// The bytes of a part, each another than the blob's.
pub(super) fn inverted(content: &Content, first: u64, end: u64) -> io::Result<bytes::Bytes> {
    Ok(content.read(first, end)?.iter().map(|byte| !byte).collect::<Vec<_>>().into())
}
