//! One lane: a place at the host, a request, and its body in pieces to the writer.
//!
//! A lane does one errand and reports back. It may be dropped at any moment: what has arrived of the piece it was at is kept
//! for whoever goes on, and what was before it is free for others.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use url::Origin;

use crate::{
    client::{Inquiry, Line, Response, error_body},
    clock::Moment,
    disk::{Beginning, Buffer, Part},
    rules::{
        answer::{Answer, Asked, judge, refusal},
        hosts::Way,
        incoming::{Partial, Senders},
        patience::Setback,
        plan::{Job, LaneId, Span},
        stall::Stall,
        supply::Chosen,
    },
    run::{
        places::Place,
        shared::{Live, Shared},
        unkept::Unkept,
    },
};

/// Unwanted bytes are read in portions of this size.
const SKIP_BYTES: usize = 64 << 10;

/// The beginning of the piece in the air is kept in the file when it takes longer than this: on a fast line the whole piece
/// is there first, and nothing is written twice.
const KEPT_EVERY: Duration = Duration::from_millis(2);

/// What a lane is sent for.
pub(crate) struct Errand {
    pub(crate) lane: LaneId,
    pub(crate) job: Job,
    pub(crate) chosen: Chosen,
    pub(crate) line: Line,
    pub(crate) way: Way,
    /// A place it has already; otherwise it waits for one.
    pub(crate) place: Option<Place>,
    pub(crate) part: Part,
    /// Counts the bytes it receives.
    pub(crate) moved: Arc<AtomicU64>,
}

/// What a lane reports.
pub(crate) struct Back {
    pub(crate) lane: LaneId,
    pub(crate) line: Line,
    pub(crate) chosen: Chosen,
    pub(crate) asked_at: Duration,
    /// How long it took from the request on.
    pub(crate) took: Duration,
    /// How long the answer took to begin; `None`: none came.
    pub(crate) round_trip: Option<Duration>,
    /// The address expired before the request was sent: nobody was asked.
    pub(crate) late: bool,
    pub(crate) outcome: Result<(), Setback>,
}

/// Does the errand.
pub(crate) async fn run(shared: Arc<Shared>, errand: Errand) -> Back {
    let Errand { lane, job, chosen, mut line, way, place, part, moved } = errand;
    let clock = Arc::clone(&shared.fetcher.config().clock);
    let mut trip = Trip { asked_at: clock.elapsed(), round_trip: None, late: false };
    let origin = chosen.source.url.origin();
    let mut receiving = Receiving {
        shared: Arc::clone(&shared),
        lane,
        moved,
        piece: job.span.first,
        buffer: None,
        inherited: 0,
        from: Senders::default(),
        origin: origin.clone(),
        beginning: Beginning::new(&shared.manifest, job.span.first),
        kept_at: Instant::now(),
        keeping: Arc::default(),
        unkept: Unkept::new(),
    };
    let outcome = async {
        let _place = match place {
            Some(place) => place,
            None => shared.fetcher.places().take(&origin, way, shared.urgency.clone()).await,
        };
        attempt(&mut receiving, &mut trip, job, &chosen, &mut line, &part).await
    };
    let outcome = outcome.await;
    let took = clock.elapsed().saturating_sub(trip.asked_at);
    Back { lane, line, chosen, asked_at: trip.asked_at, took, round_trip: trip.round_trip, late: trip.late, outcome }
}

struct Trip {
    asked_at: Duration,
    round_trip: Option<Duration>,
    late: bool,
}

async fn attempt(
    receiving: &mut Receiving,
    trip: &mut Trip,
    job: Job,
    chosen: &Chosen,
    line: &mut Line,
    part: &Part,
) -> Result<(), Setback> {
    let shared = Arc::clone(&receiving.shared);
    let config = shared.fetcher.config();
    let (disk, client) = (shared.fetcher.disk(), shared.fetcher.client());
    let mut inquiry = Inquiry::new(&chosen.source)?;
    let (response, asked, now) = loop {
        // Without a buffer: those whose turn it is may need it to come to their end.
        inquiry.turn(client, line).await?;
        // Before the request: a body nobody has room for would stand in the way of the others on its connection.
        receiving.buffer = Some(disk.buffer(receiving.length()).await);
        let now = Moment::now(&*config.clock);
        // Waiting for a place and a buffer may have taken long.
        if chosen.is_expired(now) {
            trip.late = true;
            return Ok(());
        }
        trip.asked_at = now.steady;
        let Some((start, end)) = receiving.prepare(job, trip.asked_at) else { return Ok(()) };
        let asked = Asked { start, size: shared.manifest.size(), any_skip: chosen.ignores_ranges };
        let sending = timeout(config.stall_after, inquiry.send(client, line, start, end));
        match sending.await.map_err(|_| Setback::Stalled)?? {
            Some(response) => break (response, asked, now),
            None => receiving.let_go(),
        }
    };
    trip.round_trip = Some(config.clock.elapsed().saturating_sub(trip.asked_at));
    match judge(asked, response.status(), response.headers(), now.wall) {
        Answer::Body { skip, page } => {
            shared.fetcher.places().served(&receiving.origin);
            let kept = receiving.arrived();
            let received = receive(receiving, response, skip, part, !page).await;
            match received {
                // What looked like a page and was too short for the file was a page: none of it is kept.
                Err(Setback::Cut | Setback::Unreachable(_)) if page => {
                    receiving.forget_after(if receiving.piece == job.span.first { kept } else { 0 });
                    Err(Setback::Page)
                }
                other => other,
            }
        }
        Answer::Refusal(status) => {
            trip.round_trip = None;
            let body = timeout(config.stall_after, error_body(response)).await;
            Err(refusal(status, &body.unwrap_or_default()))
        }
        Answer::Setback(setback) => {
            trip.round_trip = None;
            Err(setback)
        }
    }
}

/// Reads the body until the job of this lane is done; others may take a part of it meanwhile.
async fn receive(
    receiving: &mut Receiving,
    mut response: Response,
    mut skip: u64,
    part: &Part,
    keep: bool,
) -> Result<(), Setback> {
    let shared = Arc::clone(&receiving.shared);
    let _live = Live::count(&shared);
    let mut watchdog = Watchdog::new(&shared, Arc::clone(&receiving.moved));
    let mut thrown_away = Vec::new();
    while skip > 0 {
        thrown_away.clear();
        thrown_away.reserve_exact(SKIP_BYTES);
        let most = usize::try_from(skip).unwrap_or(SKIP_BYTES).min(SKIP_BYTES);
        skip -= read(&mut response, &mut thrown_away, most, &shared, &mut watchdog).await?;
    }
    drop(thrown_away);
    receiving.kept_at = Instant::now();
    receiving.unkept.begin();
    loop {
        let room = receiving.room();
        if room == 0 {
            let paused = Instant::now();
            if !receiving.hand_over(part).await {
                return Ok(());
            }
            watchdog.excuse(paused.elapsed());
            continue;
        }
        let Some(buffer) = &mut receiving.buffer else { return Ok(()) };
        let bytes = read(&mut response, buffer, room, &shared, &mut watchdog).await?;
        receiving.unkept.received(bytes);
        if keep {
            receiving.keep(part);
        }
        watchdog.excuse(receiving.unkept.settle().await);
    }
}

/// Reads once, at the pace allowed; never nothing.
async fn read(
    response: &mut Response,
    into: &mut Vec<u8>,
    most: usize,
    shared: &Shared,
    watchdog: &mut Watchdog,
) -> Result<u64, Setback> {
    let (mine, all) = (&*shared.pace, shared.fetcher.pace());
    let limited = mine.is_limited() || all.is_limited();
    let clock = &shared.fetcher.config().clock;
    let mut allowed = most as u64;
    if limited {
        let paused = Instant::now();
        loop {
            match mine.take(all, most as u64, clock.elapsed()) {
                Ok(given) => break allowed = given,
                Err(wait) => {
                    shared.held_back.store(true, Ordering::Relaxed);
                    tokio::time::sleep(wait).await;
                }
            }
        }
        watchdog.excuse(paused.elapsed());
    }
    let arrived = loop {
        tokio::select! {
            biased;
            read = response.read(into, usize::try_from(allowed).unwrap_or(most)) => break read?,
            stalled = watchdog.bark() => if stalled { return Err(Setback::Stalled) },
        }
    };
    if limited {
        let unused = allowed.saturating_sub(arrived as u64);
        mine.give_back(unused, clock.elapsed());
        all.give_back(unused, clock.elapsed());
    }
    if arrived == 0 {
        return Err(Setback::Cut);
    }
    watchdog.stall.arrived(arrived as u64);
    watchdog.moved.fetch_add(arrived as u64, Ordering::Relaxed);
    shared.fetched.fetch_add(arrived as u64, Ordering::Relaxed);
    Ok(arrived as u64)
}

/// The piece a lane receives.
struct Receiving {
    shared: Arc<Shared>,
    lane: LaneId,
    moved: Arc<AtomicU64>,
    piece: u64,
    buffer: Option<Buffer>,
    /// Bytes of the piece that an earlier lane received.
    inherited: usize,
    from: Senders,
    origin: Origin,
    beginning: Beginning,
    /// When the piece was begun, or its beginning kept last.
    kept_at: Instant,
    /// One step is being written.
    keeping: Arc<AtomicBool>,
    unkept: Unkept,
}

impl Receiving {
    /// Takes over what others received of the first piece; the bytes to ask for, unless the job has gone.
    fn prepare(&mut self, job: Job, now: Duration) -> Option<(u64, u64)> {
        let mut core = self.shared.core();
        let end = core.plan.end_of(self.lane)?;
        core.plan.asks(self.lane, now);
        let (mut start, end) = core.plan.bytes(Span { first: self.piece, end });
        let partial = core.partials.remove(&self.piece);
        drop(core);
        // A piece that came wrong before is taken from one sender as a whole, so that it is known who lies.
        let partial = partial.filter(|partial| !job.suspect || partial.from.only() == Some(&self.origin));
        if let (Some(partial), Some(buffer)) = (partial, &mut self.buffer) {
            buffer.extend_from_slice(&partial.bytes);
            self.from = partial.from;
            self.inherited = partial.bytes.len();
            start += self.inherited as u64;
        }
        self.from.add(&self.origin);
        Some((start, end))
    }

    /// Gives the buffer back; what others received is kept for whoever goes on.
    fn let_go(&mut self) {
        let from = std::mem::take(&mut self.from);
        self.inherited = 0;
        if let Some(buffer) = self.buffer.take().filter(|buffer| !buffer.is_empty()) {
            self.shared.core().partials.insert(self.piece, Partial { bytes: buffer.to_vec(), from });
        }
    }

    /// Has the beginning of a piece that takes its time kept in the file.
    fn keep(&mut self, part: &Part) {
        let length = self.length();
        let Some(buffer) = self.buffer.as_ref().filter(|buffer| buffer.len() < length) else { return };
        let grown = self.shared.manifest.piece_count() > 1 && self.beginning.has_grown(buffer.len(), length);
        if !grown || self.kept_at.elapsed() < KEPT_EVERY || self.keeping.swap(true, Ordering::AcqRel) {
            return;
        }
        self.kept_at = Instant::now();
        let keeping = Arc::clone(&self.keeping);
        match self.beginning.step(buffer, length) {
            Some(step) => {
                let writing = self.unkept.writing(buffer.len().saturating_sub(self.beginning.sealed()));
                part.keep(step, move || {
                    keeping.store(false, Ordering::Release);
                    drop(writing);
                });
            }
            None => keeping.store(false, Ordering::Release),
        }
    }

    /// The piece is complete: it goes to the writer. `false`: the job is done.
    async fn hand_over(&mut self, part: &Part) -> bool {
        let Some(next) = self.submit(part) else { return false };
        self.piece = next;
        self.buffer = Some(self.shared.fetcher.disk().next_buffer(self.length()).await);
        self.beginning = Beginning::new(&self.shared.manifest, next);
        self.kept_at = Instant::now();
        self.unkept.begin();
        true
    }

    /// Says which piece is next in this body.
    fn submit(&mut self, part: &Part) -> Option<u64> {
        let (piece, length) = (self.piece, self.length() as u64);
        let now = self.shared.fetcher.config().clock.elapsed();
        self.unkept.complete();
        let mut core = self.shared.core();
        core.received += length.saturating_sub(std::mem::take(&mut self.inherited) as u64);
        let arrived = core.plan.arrived(self.lane, now);
        drop(core);
        let mut from = Senders::default();
        from.add(&self.origin);
        std::mem::swap(&mut from, &mut self.from);
        if let (Some(buffer), true) = (self.buffer.take(), arrived.wanted) {
            let (shared, writing) = (Arc::clone(&self.shared), self.unkept.writing(0));
            part.submit(piece, buffer, move |judged| {
                shared.judged(piece, from, judged);
                drop(writing);
            });
        }
        arrived.next
    }

    fn length(&self) -> usize {
        usize::try_from(self.shared.manifest.piece_range(self.piece).1).unwrap_or(0)
    }

    fn arrived(&self) -> usize {
        self.buffer.as_ref().map_or(0, |buffer| buffer.len())
    }

    fn room(&self) -> usize {
        self.length().saturating_sub(self.arrived())
    }

    fn forget_after(&mut self, arrived: usize) {
        if let Some(buffer) = &mut self.buffer {
            buffer.truncate(arrived);
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut core = self.shared.core();
        core.plan.release(self.lane);
        let Some(buffer) = self.buffer.take().filter(|buffer| !buffer.is_empty()) else { return };
        if core.plan.is_wanted(self.piece) {
            core.received += buffer.len().saturating_sub(self.inherited) as u64;
            if core.partials.get(&self.piece).is_none_or(|kept| kept.bytes.len() < buffer.len()) {
                let partial = Partial { bytes: buffer.to_vec(), from: std::mem::take(&mut self.from) };
                core.plan.begun(self.piece, partial.bytes.len());
                core.partials.insert(self.piece, partial);
            }
        }
    }
}

/// Barks when too little arrives. Its timer is set once for many reads.
struct Watchdog {
    begun: Instant,
    stall: Stall,
    timer: Pin<Box<Sleep>>,
    moved: Arc<AtomicU64>,
}

impl Watchdog {
    fn new(shared: &Shared, moved: Arc<AtomicU64>) -> Self {
        let config = shared.fetcher.config();
        let begun = Instant::now();
        let stall = Stall::new(config.stall_after, config.stall_bytes, Duration::ZERO);
        let timer = Box::pin(sleep_until(begun + stall.next()));
        Self { begun, stall, timer, moved }
    }

    /// Whether the connection has stalled; says so, or that it hasn't, from time to time.
    async fn bark(&mut self) -> bool {
        self.timer.as_mut().await;
        let stalled = self.stall.look(self.begun.elapsed());
        self.timer.as_mut().reset(self.begun + self.stall.next());
        stalled
    }

    /// We did not read for so long.
    fn excuse(&mut self, paused: Duration) {
        if paused >= Duration::from_millis(1) {
            self.stall.excuse(paused);
            self.timer.as_mut().reset(self.begun + self.stall.next());
        }
    }
}
