//! One fetch from start to end: drives the pure parts, the lanes and the part file.
//!
//! What an earlier run left is used like this: journalled pieces are *claimed* and not asked for; pieces the journal
//! doesn't know but the file holds are found by their hashes (so a kill costs only what was in the air; of a
//! slow piece the beginning is found as well). Before
//! the file counts as complete every claimed piece is hashed once, after the last byte arrived; and all of them when the
//! file was touched meanwhile. A file received in one run that nobody touched is not read again.
//!
//! The driver is one loop over events: a lane reports back, a wait is over, addresses have come, the caller wants
//! something, time has passed. Lanes are futures polled in the same task, so that dropping the fetch drops everything, and
//! a small blob costs no task. While one recovery (a wait, new addresses) is under way no lane is started, and those that
//! receive go on.

mod dispatch;
mod file;
pub(crate) mod lane;
pub(crate) mod pace;
pub(crate) mod places;
mod recovery;
pub(crate) mod shared;
mod unkept;

#[cfg(test)]
mod begun_tests;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Sleep, sleep};
use url::Origin;

use self::{
    lane::Back,
    recovery::Recovery,
    shared::{Shared, Wrong},
};
use crate::{
    Control, FetchError, FetchRequest, Fetched, Fetcher, Journal, Progress, Sources, State,
    client::Line,
    control::{Ears, Interruption},
    disk::{FileState, Opened, Part},
    rules::{
        hosts::Way,
        incoming::{Partial, Senders},
        lanes::Lanes,
        patience::Patience,
        plan::{LaneId, Plan},
        speed::Speed,
        supply::Supply,
    },
};

/// Blobs below this size share connections.
const SMALL_BYTES: u64 = 4 << 20;
/// A piece may come wrong once from each source and so many times more.
const WRONG_BEYOND_SOURCES: u32 = 2;
/// So many wrong pieces in a row, and what else the lanes would bring isn't worth reading before those are settled.
const WRONG_IN_A_ROW: u32 = 2;
/// How often the driver looks at lanes, speed and progress.
const TICK: Duration = Duration::from_millis(200);

type Future<T> = Pin<Box<dyn std::future::Future<Output = T> + Send>>;

pub(crate) struct Run {
    shared: Arc<Shared>,
    sources: Arc<dyn Sources>,
    journal: Arc<dyn Journal>,
    control: Control,
    ears: Ears,
    path: PathBuf,
    part: Part,
    files: u32,
    supply: Supply,
    patience: Patience,
    rule: Lanes,
    way: Way,
    lanes: FuturesUnordered<Future<Back>>,
    running: BTreeMap<LaneId, Running>,
    next_lane: LaneId,
    /// Connections whose lanes have reported back well.
    spare: Vec<Line>,
    recovery: Option<Recovery>,
    /// Waited for this moment of the host's patience already.
    waited_until: Duration,
    /// When a host asked this fetch for patience last.
    busy_at: Option<Duration>,
    /// Which servers gave a piece wrong.
    blamed: BTreeMap<u64, Vec<Origin>>,
    wrong_in_a_row: u32,
    looking: Option<Future<Result<FileState, FetchError>>>,
    looked_at: Duration,
    tick: Pin<Box<Sleep>>,
    round_trip: Duration,
    speed: Speed,
    per_second: u64,
    counted: u64,
    retries: u32,
    state: State,
}

/// A lane that is out.
struct Running {
    /// The server it asks.
    origin: Origin,
    /// Bytes it has received, and how many those were when it was looked at last.
    moved: Arc<AtomicU64>,
    seen: u64,
}

/// What woke the driver.
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way from a select to a match")]
enum Event {
    Interrupted(Interruption),
    Back(Back),
    Recovered(recovery::End),
    Looked(Result<FileState, FetchError>),
    News,
    Tick,
}

impl Run {
    pub(crate) async fn fetch(
        fetcher: &Fetcher,
        request: FetchRequest,
        sources: Arc<dyn Sources>,
        journal: Arc<dyn Journal>,
        control: Control,
    ) -> Result<Fetched, FetchError> {
        let FetchRequest { manifest, path, urgency } = request;
        let ears = control.ears().with(fetcher.nudges());
        ears.stop()?;
        let size = manifest.size();
        control.show(Progress { bytes_total: size, state: State::Checking, ..Progress::default() });

        let opened = fetcher.disk().open(Arc::clone(&manifest), path.clone(), Arc::clone(&journal)).await?;
        let shared = Shared::new(fetcher.clone(), manifest, control.urgency(urgency), control.pace());
        let (way, most) = if size < SMALL_BYTES { (Way::Shared, 1) } else { (Way::Own, fetcher.config().connections) };
        let mut run = Self {
            shared: Arc::new(shared),
            sources,
            journal,
            control,
            ears,
            path,
            part: opened.part.clone(),
            files: 1,
            supply: Supply::default(),
            patience: Patience::new(fetcher.limits()),
            rule: Lanes::new(most),
            way,
            lanes: FuturesUnordered::new(),
            running: BTreeMap::new(),
            next_lane: 0,
            spare: Vec::new(),
            recovery: None,
            waited_until: Duration::ZERO,
            busy_at: None,
            blamed: BTreeMap::new(),
            wrong_in_a_row: 0,
            looking: None,
            looked_at: fetcher.config().clock.elapsed(),
            tick: Box::pin(sleep(TICK)),
            round_trip: Duration::ZERO,
            speed: Speed::default(),
            per_second: 0,
            counted: 0,
            retries: 0,
            state: State::Checking,
        };
        run.take_in(opened);
        let outcome = run.work().await;
        run.end(outcome).await
    }

    /// Begins with what the file and the journal hold.
    fn take_in(&mut self, opened: Opened) {
        let mut core = self.shared.core();
        core.plan = Plan::new(Arc::clone(&self.shared.manifest));
        core.partials.clear();
        for piece in opened.found {
            core.plan.verified(piece);
        }
        for piece in opened.claimed.iter() {
            core.plan.claimed(piece);
        }
        for (piece, bytes) in opened.begun {
            core.plan.begun(piece, bytes.len());
            core.partials.insert(piece, Partial { bytes, from: Senders::unknown() });
        }
        drop(core);
        self.part = opened.part;
    }

    async fn work(&mut self) -> Result<(), FetchError> {
        loop {
            self.ears.stop()?;
            self.hear()?;
            if self.part.has_failed() {
                // `end` fetches the reason.
                return Err(io::Error::other("the checkpoint failed").into());
            }
            if !self.lanes.is_empty() && self.shared.core().plan.held().is_full() {
                // Whoever still receives has lost his race.
                self.drop_lanes();
            }
            self.start_lanes()?;
            if self.lanes.is_empty() && self.recovery.is_none() && !self.shared.core().plan.has_submitted() {
                // What came in since `hear` is looked at first.
                if self.has_news() {
                    continue;
                }
                if self.recheck().await? {
                    return Ok(());
                }
                continue;
            }
            match self.next_event().await {
                Event::Interrupted(Interruption::Stop) | Event::News => {}
                Event::Interrupted(Interruption::Reconnect) => self.reconnect(),
                Event::Back(back) => self.back(back)?,
                Event::Recovered(end) => self.recovered(end)?,
                Event::Looked(state) => {
                    self.looking = None;
                    self.looked(state?).await?;
                }
                Event::Tick => self.on_tick(),
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let Self { ears, lanes, recovery, looking, shared, tick, .. } = self;
        let has_recovery = recovery.is_some();
        let has_look = looking.is_some();
        tokio::select! {
            biased;
            what = ears.interrupted() => Event::Interrupted(what),
            Some(back) = lanes.next(), if !lanes.is_empty() => Event::Back(back),
            end = async { match recovery { Some(recovery) => recovery.end().await, None => recovery::End::Waited } },
                if has_recovery => Event::Recovered(end),
            state = async { match looking { Some(looking) => looking.await, None => Ok(FileState::Whole) } },
                if has_look => Event::Looked(state),
            () = shared.news.notified() => Event::News,
            () = tick.as_mut() => Event::Tick,
        }
    }

    fn has_news(&self) -> bool {
        let core = self.shared.core();
        !core.wrong.is_empty() || core.failed.is_some() || core.plan.has_gap() || core.plan.has_submitted()
    }

    /// Takes in what the writers found.
    fn hear(&mut self) -> Result<(), FetchError> {
        let mut core = self.shared.core();
        let (wrong, failed) = (std::mem::take(&mut core.wrong), core.failed.take());
        let received = std::mem::take(&mut core.received);
        drop(core);
        self.patience.received(received);
        if let Some(error) = failed {
            return Err(self.part.failure(error));
        }
        for Wrong { piece, times, from } in wrong {
            tracing::warn!(blob = %self.shared.manifest.hash(), piece, times, "a piece came wrong");
            self.retries += 1;
            self.wrong_in_a_row += 1;
            let sources = u32::try_from(self.supply.len()).unwrap_or(u32::MAX);
            if times >= sources.saturating_add(WRONG_BEYOND_SOURCES) {
                return Err(FetchError::Corrupt { piece });
            }
            // Two senders of one piece: nobody knows which of them lied.
            let Some(liar) = from.only() else { continue };
            let blamed = self.blamed.entry(piece).or_default();
            if !blamed.contains(liar) {
                blamed.push(liar.clone());
            }
            if self.supply.lied(liar) {
                let lanes: Vec<_> =
                    self.running.iter().filter(|(_, out)| out.origin == *liar).map(|(lane, _)| *lane).collect();
                self.revoke(&lanes);
            }
        }
        if self.wrong_in_a_row >= WRONG_IN_A_ROW {
            self.wrong_in_a_row = 0;
            let lanes: Vec<_> = self.running.keys().copied().collect();
            self.revoke(&lanes);
        }
        Ok(())
    }

    fn revoke(&self, lanes: &[LaneId]) {
        let mut core = self.shared.core();
        for lane in lanes {
            core.plan.revoke(*lane);
        }
    }

    /// Ends the fetch: everything handed to the writers is judged, made durable and recorded, however it went.
    async fn end(mut self, outcome: Result<(), FetchError>) -> Result<Fetched, FetchError> {
        self.drop_lanes();
        if outcome.is_ok() {
            self.show(State::Finishing);
        }
        let durable = self.part.finish(outcome.is_ok()).await;
        self.tell();
        match outcome {
            Ok(()) => durable?,
            Err(FetchError::Io(error)) => return Err(durable.err().unwrap_or(FetchError::Io(error))),
            Err(FetchError::Paused) => {
                durable?;
                return Err(FetchError::Paused);
            }
            Err(error) => return Err(error),
        }
        self.show(State::Complete);
        let bytes_fetched = self.shared.fetched.load(Ordering::Relaxed);
        Ok(Fetched { path: self.path, bytes: self.shared.manifest.size(), bytes_fetched, retries: self.retries })
    }

    /// Stops all lanes at once; what has arrived is kept, what they had before them is free.
    fn drop_lanes(&mut self) {
        self.lanes.clear();
        self.running.clear();
        self.spare.clear();
    }

    fn config(&self) -> &crate::FetcherConfig {
        self.shared.fetcher.config()
    }

    fn now(&self) -> Duration {
        self.config().clock.elapsed()
    }

    fn show(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.tell();
        }
    }

    fn tell(&self) {
        self.control.show(Progress {
            bytes_verified: self.shared.core().plan.held_bytes(),
            bytes_total: self.shared.manifest.size(),
            bytes_fetched: self.shared.fetched.load(Ordering::Relaxed),
            bytes_per_second: self.per_second,
            retries: self.retries,
            state: self.state,
        });
    }
}
