//! When to send and fetch, and what follows an answer. Pure: events in, effects out; time and chance are arguments.
//! Public, so that the simulation plays this very planner.
//!
//! A run pushes until nothing is left that may go, then pulls the learner's own rows, then – where that was asked for –
//! what changed in the catalogue. One run at a time. What goes wrong is judged by the table in protocol.md ("Outbox: what
//! counts as a failure"): nothing here ever gives an op up.
//!
//! Times are monotonic milliseconds, so that turning the clock neither hurries nor holds up anything.

use carrel_model::{ErrorCode, op::MAX_BATCH_OPS};

use super::view::NetworkState;

/// A write waits so long for more of its kind.
const DEBOUNCE_MS: i64 = 1_000;
/// A run without other reason.
const PERIOD_MS: i64 = 5 * 60 * 1_000;
/// First and longest pause after failures (protocol.md, Backoff).
const BACKOFF_BASE_MS: i64 = 1_000;
const BACKOFF_CAP_MS: i64 = 300_000;
/// A batch that made the service fail so often is halved, to find the op it fails on.
const FAILURES_OF_ONE_BATCH: u32 = 3;
/// An op on which the service fails waits so long, and what comes after it goes ahead.
const HOLD_BACK_MS: i64 = 60 * 60 * 1_000;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The app started or somebody signed in.
    Started,
    /// The network changed.
    Network(NetworkState),
    /// Something was written.
    Written,
    /// The learner asked.
    SyncNow,
    /// Time passed.
    Tick,
    /// A push ended.
    Pushed(Pushed),
    /// A page of the learner's rows was kept, or not.
    PulledRecords(Result<Page, Failure>),
    /// The catalogue is up to date, or not.
    PulledUnits(Result<(), Failure>),
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// Nothing may go now; the next may in so many milliseconds.
    Nothing {
        /// None: nothing waits.
        next_in_ms: Option<i64>,
    },
    /// A batch was judged.
    Judged,
    /// A batch of so many was not.
    Failed {
        /// How many.
        ops: usize,
        /// Why.
        failure: Failure,
    },
}

/// A page that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Another one follows.
    pub has_more: bool,
    /// The courses in sight may have changed.
    pub enrolments_changed: bool,
}

/// Why a request had no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No network, name, TLS, answer in time; a portal.
    Unreachable(ErrorCode),
    /// 408, 425, 429, 5xx, and whatever else isn't named here.
    NotNow {
        /// The word.
        code: ErrorCode,
        /// Whether the service itself failed (5xx).
        failed: bool,
        /// The floor of the pause.
        retry_after_ms: Option<i64>,
    },
    /// 413
    TooLarge,
    /// 410
    CursorExpired,
    /// 409: this device's sequence went backwards.
    SeqRegressed,
    /// 401 after a renewal, 403 `device_revoked`, 426: stop, say so, keep everything.
    Stop(ErrorCode),
}

impl Failure {
    /// An answer with a status that isn't named otherwise. A 503 that says when to come back is the word of a service that is
    /// busy: it failed on nothing, and no batch is halved for it. A request that the service can't read (4xx) is as good as
    /// one it fails on: the poison op is found in the same way.
    #[must_use]
    pub fn of_status(status: u16, code: ErrorCode, retry_after_ms: Option<i64>) -> Self {
        let is_busy = matches!(status, 408 | 425 | 429) || status == 503 && retry_after_ms.is_some();
        Self::NotNow { code, failed: status >= 400 && !is_busy, retry_after_ms }
    }
}

/// What is to be done. After `Push`, `PullRecords` and `PullUnits` the driver reports back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send at most so many ops.
    Push {
        /// How many.
        limit: usize,
    },
    /// The last batch, a single op, waits so long.
    HoldBack {
        /// Milliseconds.
        for_ms: i64,
    },
    /// Fetch the next page of the learner's rows.
    PullRecords,
    /// Forget the cursor of the learner's rows: everything is pulled anew, and swept at the end.
    StartRecordsOver,
    /// Fetch what changed in the catalogue.
    PullUnits,
    /// Take a new device id for what was not sent.
    Rekey,
    /// Everything went through.
    Succeeded,
    /// It did not.
    Failed {
        /// The word.
        code: ErrorCode,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Pushing,
    PullingRecords,
    PullingUnits,
}

/// The planner of one learner.
#[derive(Debug, Clone)]
pub struct Planner {
    phase: Phase,
    network: NetworkState,
    stopped: Option<ErrorCode>,
    /// When the next run begins.
    due: Option<i64>,
    /// Nothing begins before; the channel is resting.
    rest_until: i64,
    failures: u32,
    limit: usize,
    failures_of_batch: u32,
    /// Something was written during the run.
    again: bool,
    wants_units: bool,
    /// When an op that was told to wait may go.
    op_due: Option<i64>,
    started_over: bool,
}

impl Default for Planner {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            network: NetworkState::Unknown,
            stopped: None,
            due: None,
            rest_until: i64::MIN,
            failures: 0,
            limit: MAX_BATCH_OPS,
            failures_of_batch: 0,
            again: false,
            wants_units: false,
            op_due: None,
            started_over: false,
        }
    }
}

impl Planner {
    /// When time alone makes something happen. None: only another event does.
    pub fn wakes_at(&self) -> Option<i64> {
        let runs = self.phase == Phase::Idle && self.stopped.is_none() && self.network == NetworkState::Online;
        self.due.filter(|_| runs).map(|due| due.max(self.rest_until))
    }

    /// Whether a run is under way.
    pub fn is_busy(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// Whether it waits because something went wrong.
    pub const fn is_resting(&self) -> bool {
        self.failures > 0
    }

    /// Takes an event in. `random` is in `0.0..1.0`.
    pub fn step(&mut self, event: Event, now: i64, random: f64) -> Vec<Effect> {
        match event {
            Event::Started => {
                self.stopped = None;
                self.wants_units = true;
                self.hurry(now);
                self.begin_if_due(now)
            }
            Event::Network(state) => {
                let came_back = state == NetworkState::Online && self.network != NetworkState::Online;
                self.network = state;
                if came_back {
                    self.wants_units = true;
                    self.hurry(now);
                }
                self.begin_if_due(now)
            }
            Event::Written => {
                if self.is_busy() {
                    self.again = true;
                } else {
                    self.due_by(now.saturating_add(DEBOUNCE_MS));
                }
                self.begin_if_due(now)
            }
            Event::SyncNow => {
                self.stopped = None;
                self.wants_units = true;
                self.again |= self.is_busy();
                self.hurry(now);
                // The learner may know better than the last probe; only without any network nothing is tried.
                if self.phase == Phase::Idle && self.network != NetworkState::Offline {
                    return self.begin();
                }
                Vec::new()
            }
            Event::Tick => self.begin_if_due(now),
            Event::Pushed(ended) => self.pushed(ended, now, random),
            Event::PulledRecords(Ok(page)) => {
                self.wants_units |= page.enrolments_changed;
                if page.has_more {
                    vec![Effect::PullRecords]
                } else if self.wants_units {
                    self.phase = Phase::PullingUnits;
                    vec![Effect::PullUnits]
                } else {
                    self.succeed(now)
                }
            }
            Event::PulledRecords(Err(Failure::CursorExpired)) if !self.started_over => {
                self.started_over = true;
                vec![Effect::StartRecordsOver, Effect::PullRecords]
            }
            Event::PulledUnits(Ok(())) => {
                self.wants_units = false;
                self.succeed(now)
            }
            Event::PulledRecords(Err(failure)) | Event::PulledUnits(Err(failure)) => self.fail(&failure, now, random),
        }
    }

    fn pushed(&mut self, ended: Pushed, now: i64, random: f64) -> Vec<Effect> {
        match ended {
            Pushed::Nothing { next_in_ms } => {
                self.op_due = next_in_ms.map(|ms| now.saturating_add(ms.max(DEBOUNCE_MS)));
                self.phase = Phase::PullingRecords;
                vec![Effect::PullRecords]
            }
            Pushed::Judged => {
                self.failures = 0;
                self.failures_of_batch = 0;
                self.limit = (self.limit.saturating_mul(2)).min(MAX_BATCH_OPS);
                vec![Effect::Push { limit: self.limit }]
            }
            Pushed::Failed { ops, failure: Failure::TooLarge } if ops > 1 => {
                self.limit = ops / 2;
                vec![Effect::Push { limit: self.limit }]
            }
            Pushed::Failed { failure: Failure::TooLarge, .. } => {
                vec![Effect::HoldBack { for_ms: HOLD_BACK_MS }, Effect::Push { limit: self.limit }]
            }
            Pushed::Failed { ops, failure } => {
                let mut effects = Vec::new();
                if matches!(failure, Failure::NotNow { failed: true, .. }) {
                    self.failures_of_batch += 1;
                    if self.failures_of_batch >= FAILURES_OF_ONE_BATCH {
                        self.failures_of_batch = 0;
                        if ops > 1 {
                            self.limit = ops.div_ceil(2);
                        } else {
                            effects.push(Effect::HoldBack { for_ms: HOLD_BACK_MS });
                            self.limit = MAX_BATCH_OPS;
                        }
                    }
                }
                if failure == Failure::SeqRegressed {
                    effects.push(Effect::Rekey);
                }
                effects.extend(self.fail(&failure, now, random));
                effects
            }
        }
    }

    fn begin_if_due(&mut self, now: i64) -> Vec<Effect> {
        match self.wakes_at() {
            Some(at) if at <= now => self.begin(),
            _ => Vec::new(),
        }
    }

    fn begin(&mut self) -> Vec<Effect> {
        self.phase = Phase::Pushing;
        self.due = None;
        self.again = false;
        self.started_over = false;
        vec![Effect::Push { limit: self.limit }]
    }

    fn succeed(&mut self, now: i64) -> Vec<Effect> {
        self.phase = Phase::Idle;
        self.failures = 0;
        self.rest_until = i64::MIN;
        self.wants_units |= !self.again && self.op_due.is_none();
        self.due = None;
        self.due_by(now.saturating_add(PERIOD_MS));
        if let Some(at) = self.op_due.take() {
            self.due_by(at);
        }
        if self.again {
            self.due_by(now.saturating_add(DEBOUNCE_MS));
        }
        vec![Effect::Succeeded]
    }

    fn fail(&mut self, failure: &Failure, now: i64, random: f64) -> Vec<Effect> {
        self.phase = Phase::Idle;
        self.failures = self.failures.saturating_add(1);
        let (code, floor) = match failure {
            Failure::Stop(code) => {
                self.stopped = Some(*code);
                (*code, None)
            }
            Failure::SeqRegressed => {
                self.stopped = Some(ErrorCode::SignInNeeded);
                (ErrorCode::DeviceSeqRegressed, None)
            }
            Failure::Unreachable(code) => (*code, None),
            Failure::NotNow { code, retry_after_ms, .. } => (*code, *retry_after_ms),
            Failure::TooLarge => (ErrorCode::ServiceFailed, None),
            Failure::CursorExpired => (ErrorCode::CursorExpired, None),
        };
        let pause = backoff(self.failures, random).max(floor.unwrap_or(0));
        self.rest_until = now.saturating_add(pause);
        self.due = Some(self.rest_until);
        vec![Effect::Failed { code }]
    }

    /// Now, and whatever rest was imposed by failures is over.
    fn hurry(&mut self, now: i64) {
        self.due_by(now);
        self.rest_until = i64::MIN;
        self.failures = 0;
    }

    fn due_by(&mut self, at: i64) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// Full jitter: anything from nothing to the doubled pause, capped.
fn backoff(failures: u32, random: f64) -> i64 {
    let ceiling = BACKOFF_BASE_MS.saturating_mul(1_i64 << failures.min(20)).min(BACKOFF_CAP_MS);
    (random.clamp(0.0, 1.0) * ceiling as f64) as i64
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
