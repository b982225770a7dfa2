//! A proxy for HTTP that treats requests as bad networks do: cuts them before they arrive, loses their answers, cuts answers
//! in the middle, holds both up, and delivers requests a second time, later, when nobody expects them any more.
//!
//! A request that has come in whole is delivered even when its sender is gone meanwhile – a killed app's last words still
//! arrive. Each one goes over a connection of its own. What happens follows a seed, request by request; which request is the
//! n-th depends on whoever sends them.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// The longest head of a request.
const LONGEST_HEAD: usize = 64 * 1024;
/// The service may take so long; then it is taken for gone.
const PATIENCE: Duration = Duration::from_secs(70);

/// How often what happens; the chances of one request, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mischief {
    /// It never arrives.
    pub lost: f64,
    /// It arrives, its answer doesn't.
    pub answer_lost: f64,
    /// Its answer is cut in the middle.
    pub answer_cut: f64,
    /// It is held up, and its answer as well.
    pub late: f64,
    /// It arrives a second time.
    pub twice: f64,
    /// The longest delay, of each.
    pub longest_delay: Duration,
}

impl Mischief {
    /// A network that nobody would call usable.
    pub const RAGE: Self = Self {
        lost: 0.1,
        answer_lost: 0.12,
        answer_cut: 0.08,
        late: 0.3,
        twice: 0.2,
        longest_delay: Duration::from_millis(700),
    };
}

/// What has been done to requests so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Requests that came in whole.
    pub requests: u64,
    /// Those that were never delivered.
    pub lost: u64,
    /// Those whose answers were thrown away or cut.
    pub answers_cut: u64,
    /// Those that were delivered twice.
    pub twice: u64,
    /// Those that were held up.
    pub late: u64,
}

/// A running proxy; it takes no more connections when this value goes.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    mischief: Mischief,
    calm: AtomicBool,
    random: Mutex<StdRng>,
    requests: AtomicU64,
    lost: AtomicU64,
    answers_cut: AtomicU64,
    twice: AtomicU64,
    late: AtomicU64,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    lost: bool,
    hold: Duration,
    again_after: Option<Duration>,
    hold_answer: Duration,
    /// How much of the answer is handed on; all of it without a number.
    hand_on: Option<f64>,
}

impl ChaosProxy {
    /// Listens on a free port of the loopback; calm at first.
    pub async fn start(target: SocketAddr, mischief: Mischief, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            target,
            mischief,
            calm: AtomicBool::new(true),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            requests: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            answers_cut: AtomicU64::new(0),
            twice: AtomicU64::new(0),
            late: AtomicU64::new(0),
        });
        let serving = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Whose connection ends early has its reasons.
                tokio::spawn(handle(client, Arc::clone(&serving)));
            }
        });
        Ok(Self { address, state, listening })
    }

    /// Where the app finds the service.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on everything passes, or no longer.
    pub fn be_calm(&self, calm: bool) {
        self.state.calm.store(calm, Ordering::SeqCst);
    }

    /// The counts so far.
    #[must_use]
    pub fn done(&self) -> Done {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Done {
            requests: of(&self.state.requests),
            lost: of(&self.state.lost),
            answers_cut: of(&self.state.answers_cut),
            twice: of(&self.state.twice),
            late: of(&self.state.late),
        }
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    fn fate(&self) -> Fate {
        if self.calm.load(Ordering::SeqCst) {
            return Fate::default();
        }
        let Mischief { lost, answer_lost, answer_cut, late, twice, longest_delay } = self.mischief;
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut delay = |chance: f64| {
            let part = random.random::<f64>();
            if random.random_bool(chance) { longest_delay.mul_f64(part) } else { Duration::ZERO }
        };
        let (hold, hold_answer) = (delay(late), delay(late));
        let again_after = random.random_bool(twice).then(|| longest_delay.mul_f64(4.0 * random.random::<f64>()));
        let hand_on = match random.random::<f64>() {
            chance if chance < answer_lost => Some(0.0),
            chance if chance < answer_lost + answer_cut => Some(random.random()),
            _ => None,
        };
        let fate = Fate { lost: random.random_bool(lost), hold, again_after, hold_answer, hand_on };
        let count = |counter: &AtomicU64, happened: bool| counter.fetch_add(u64::from(happened), Ordering::Relaxed);
        count(&self.lost, fate.lost);
        count(&self.answers_cut, !fate.lost && fate.hand_on.is_some());
        count(&self.twice, !fate.lost && fate.again_after.is_some());
        count(&self.late, !fate.hold.is_zero() || !fate.hold_answer.is_zero());
        fate
    }
}

/// One connection, one request: the answer ends it.
async fn handle(mut client: TcpStream, state: Arc<State>) -> io::Result<()> {
    let Some(request) = read_request(&mut client).await? else { return Ok(()) };
    state.requests.fetch_add(1, Ordering::Relaxed);
    let fate = state.fate();
    if fate.lost {
        return Ok(());
    }
    // Not part of this connection: it arrives whatever becomes of whoever sent it.
    let delivery = tokio::spawn(deliver(state.target, request, fate));
    let answer = delivery.await.map_err(io::Error::other)??;
    let length = fate.hand_on.map_or(answer.len(), |part| (answer.len() as f64 * part) as usize);
    client.write_all(answer.get(..length).unwrap_or_default()).await?;
    client.shutdown().await
}

async fn deliver(target: SocketAddr, request: Vec<u8>, fate: Fate) -> io::Result<Vec<u8>> {
    sleep(fate.hold).await;
    let answer = exchange(target, &request).await;
    if let Some(after) = fate.again_after {
        tokio::spawn(async move {
            sleep(after).await;
            // Nobody waits for this answer; a service that is down is none.
            exchange(target, &request).await.ok();
        });
    }
    sleep(fate.hold_answer).await;
    answer
}

async fn exchange(target: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let mut service = TcpStream::connect(target).await?;
        service.write_all(request).await?;
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    timeout(PATIENCE, exchange).await?
}

/// Reads a whole request, and asks in it for the connection to be closed after the answer. None: nothing came.
async fn read_request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let head_ends = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
        if bytes.len() > LONGEST_HEAD {
            return Err(io::Error::other("a head without end"));
        }
    };
    let body = bytes.split_off(head_ends + 4);
    let head = String::from_utf8_lossy(bytes.get(..head_ends).unwrap_or_default()).into_owned();
    let field = |line: &&str, wanted: &str| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
    };
    let length = head.split("\r\n").find(|line| field(line, "content-length"));
    let length = length.and_then(|line| line.split_once(':')?.1.trim().parse().ok()).unwrap_or(0_usize);
    let kept: Vec<&str> = head.split("\r\n").filter(|line| !field(line, "connection")).collect();
    let mut request = format!("{}\r\nConnection: close\r\n\r\n", kept.join("\r\n")).into_bytes();
    let missing = length.saturating_sub(body.len());
    request.extend_from_slice(&body);
    let begins = request.len();
    request.resize(begins + missing, 0);
    client.read_exact(request.get_mut(begins..).unwrap_or_default()).await?;
    Ok(Some(request))
}

#[cfg(test)]
#[path = "chaos_tests.rs"]
mod tests;
