//! One connection through the relay: two directions, each a delay line, towards the app over the shared link.
//!
//! A delay line holds at most [`HELD_BYTES`]: what is full makes the sender wait, as a window would. So no connection
//! needs more memory than that, and a round trip of 50 ms still lets about 160 MB per second through on each.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Fate, State, lock,
    passed::{Current, Requests},
};

/// Bytes that are forwarded at once.
const CHUNK: usize = 64 * 1024;
/// … while a rate is set; small, so that a kill hits close to the rate.
const SLOW_CHUNK: usize = 4 * 1024;
/// What one delay line holds at most.
const HELD_BYTES: usize = 4 << 20;
/// The link makes up for timers that ring late by so much.
const LATE: Duration = Duration::from_millis(20);

/// Forwards between the app and the service until one of them, the weather or the relay ends it.
pub(super) async fn join(app: TcpStream, opened: Instant, fate: Fate, cut: &CancellationToken, state: &State) {
    if fate == Fate::LostAtOnce {
        state.lost.fetch_add(1, Ordering::Relaxed);
        app.set_zero_linger().ok();
        return;
    }
    // A service that isn't there closes the connection at once, like a real one would refuse it.
    let Ok(service) = TcpStream::connect(state.target).await else { return };
    let _ = (app.set_nodelay(true), service.set_nodelay(true));
    let (from_app, mut to_app) = app.into_split();
    let (from_service, mut to_service) = service.into_split();
    let current = Current::default();
    let handed_on = AtomicU64::new(0);
    let up = async {
        let mut requests = Requests::default();
        let line = Line { state, ready: opened + state.round_trip, towards: Towards::Service };
        let sets_out = |bytes: &[u8]| requests.sent(bytes, &current, &state.passed);
        // A service that closes without reading everything may have answered all the same.
        line.carry(from_app, &mut to_service, sets_out, |_| true).await.ok();
        Ok(End::Said)
    };
    let down = async {
        let line = Line { state, ready: opened, towards: Towards::App };
        let arrived = |bytes: &[u8]| {
            current.answered(bytes, &state.passed);
            let length = bytes.len() as u64;
            state.to_app_bytes.fetch_add(length, Ordering::Relaxed);
            let sum = handed_on.fetch_add(length, Ordering::Relaxed) + length;
            !matches!(fate, Fate::LostAfterBytes(limit) if sum >= limit)
        };
        match line.carry(from_service, &mut to_app, |_| {}, arrived).await {
            Ok(End::Said) => Ok(End::Said),
            Ok(End::Struck) => Err(End::Struck),
            // The app has gone.
            Err(_) => Err(End::Said),
        }
    };
    let struck = async {
        match fate {
            Fate::LostAfter(age) => sleep_until(opened + age).await,
            _ => std::future::pending().await,
        }
    };
    let lost = tokio::select! {
        () = cut.cancelled() => false,
        () = struck => true,
        end = async { tokio::try_join!(up, down) } => end == Err(End::Struck),
    };
    if lost {
        state.lost.fetch_add(1, Ordering::Relaxed);
        to_app.as_ref().set_zero_linger().ok();
        // Dropped, it would say goodbye before the reset.
        to_app.forget();
    }
}

/// How a direction ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The sender has said everything.
    Said,
    /// Whoever was told what arrived has ended it.
    Struck,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Towards {
    App,
    Service,
}

/// One direction.
struct Line<'a> {
    state: &'a State,
    /// Nothing sets out before this.
    ready: Instant,
    towards: Towards,
}

/// Bytes on their way.
struct Flying {
    bytes: Vec<u8>,
    lands: Instant,
    _held: OwnedSemaphorePermit,
}

impl Line<'_> {
    /// Carries everything from one to the other. `sets_out` sees bytes before they are on the line, `arrived` once they
    /// are handed on; it ends the connection with `false`.
    async fn carry(
        &self,
        from: OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        mut sets_out: impl FnMut(&[u8]),
        mut arrived: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<End> {
        let one_way = self.state.round_trip / 2;
        if one_way.is_zero() {
            return self.carry_at_once(from, to, sets_out, arrived).await;
        }
        let (send, mut line) = mpsc::unbounded_channel::<Flying>();
        let room = Arc::new(Semaphore::new(HELD_BYTES));
        let sending = async {
            let mut from = from;
            loop {
                let mut bytes = vec![0; self.chunk()];
                let count = from.read(&mut bytes).await?;
                bytes.truncate(count);
                if bytes.is_empty() {
                    drop(send);
                    return io::Result::Ok(());
                }
                sets_out(&bytes);
                self.calm().await;
                self.pass(bytes.len()).await;
                let permits = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                let held = Arc::clone(&room).acquire_many_owned(permits).await.map_err(io::Error::other)?;
                let lands = Instant::now().max(self.ready) + one_way;
                if send.send(Flying { bytes, lands, _held: held }).is_err() {
                    return Ok(());
                }
            }
        };
        let receiving = async {
            while let Some(flying) = line.recv().await {
                sleep_until(flying.lands).await;
                self.calm().await;
                to.write_all(&flying.bytes).await?;
                if !arrived(&flying.bytes) {
                    return Ok(End::Struck);
                }
            }
            to.shutdown().await?;
            io::Result::Ok(End::Said)
        };
        tokio::pin!(sending, receiving);
        tokio::select! {
            end = &mut receiving => end,
            sent = &mut sending => {
                sent?;
                receiving.await
            }
        }
    }

    async fn carry_at_once(
        &self,
        mut from: OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        mut sets_out: impl FnMut(&[u8]),
        mut arrived: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<End> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let window = self.chunk();
            let count = from.read(buffer.get_mut(..window).unwrap_or_default()).await?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                to.shutdown().await?;
                return Ok(End::Said);
            }
            sets_out(bytes);
            self.calm().await;
            self.pass(bytes.len()).await;
            to.write_all(bytes).await?;
            if !arrived(bytes) {
                return Ok(End::Struck);
            }
        }
    }

    fn rate(&self) -> Option<u64> {
        match self.towards {
            Towards::App => *lock(&self.state.rate),
            Towards::Service => self.state.rate_up,
        }
    }

    fn chunk(&self) -> usize {
        if self.rate().is_some() { SLOW_CHUNK } else { CHUNK }
    }

    /// Waits until the link has carried so many bytes.
    async fn pass(&self, bytes: usize) {
        if let Some(rate) = self.rate() {
            let link = match self.towards {
                Towards::App => &self.state.link,
                Towards::Service => &self.state.link_up,
            };
            link.pass(bytes, rate).await;
        }
    }

    /// Waits until no outage keeps everything back.
    async fn calm(&self) {
        if !*self.state.frozen.borrow() {
            return;
        }
        let mut frozen = self.state.frozen.subscribe();
        // Fails only when the relay is gone, and this connection with it.
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }
}

/// What all connections share on their way in one direction: one sends at a time, in the order of asking.
#[derive(Debug, Default)]
pub(super) struct Link(Mutex<Option<Instant>>);

impl Link {
    async fn pass(&self, bytes: usize, rate: u64) {
        let mut free = self.0.lock().await;
        let now = Instant::now();
        // Time the link was idle is gone, but for what the last timer was late.
        let begins = free.map_or(now, |free| free.max(now.checked_sub(LATE).unwrap_or(now)));
        let ends = begins + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        *free = Some(ends);
        sleep_until(ends).await;
    }
}
