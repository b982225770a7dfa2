//! Performs what the planner of one learner decides, and tells it what came of it.

use std::{sync::Arc, time::Duration};

use carrel_model::{ErrorCode, ProfileId, wire::sync::PushRequest};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Pulse, Shared,
    planner::{Effect, Event, Failure, Page, Planner, Pushed},
    records,
    view::NetworkState,
};
use crate::{
    EngineEvent,
    outbox::{Batch, Verdicts},
    service_api::ApiError,
};

/// How often rows that differ from the service's are pulled anew.
const HEAL_EVERY_MS: i64 = 60 * 60 * 1_000;

/// What others ask of a driver.
#[derive(Debug)]
pub(super) enum Command {
    /// Somebody signed in (again).
    SignedIn,
    /// The learner asked; whoever waits is told when the run is over.
    SyncNow(Option<oneshot::Sender<()>>),
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    profile: ProfileId,
    planner: Planner,
    pulse: Arc<Pulse>,
    last_batch: Option<Batch>,
    /// When a difference to the service's rows was last answered by pulling everything (monotonic).
    healed_at: Option<i64>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, profile: ProfileId, pulse: Arc<Pulse>) -> Self {
        Self { shared, profile, planner: Planner::default(), pulse, last_batch: None, healed_at: None }
    }

    /// Runs until it is dropped or nobody commands it any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut network = self.shared.network.watch();
        let mut written = self.shared.outbox.written();
        network.mark_changed();
        written.mark_changed();
        self.take(Event::Started).await;
        loop {
            let wait = self.planner.wakes_at().map(|at| u64::try_from(at - self.now()).unwrap_or(0));
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::SignedIn) => self.take(Event::Started).await,
                    Some(Command::SyncNow(waiting)) => {
                        self.take(Event::SyncNow).await;
                        // Nobody may be waiting any more.
                        let _ = waiting.map(|waiting| waiting.send(()));
                    }
                },
                Ok(()) = network.changed() => {
                    let state = self.state_of(&mut network).await;
                    self.take(Event::Network(state)).await;
                }
                Ok(()) = written.changed() => self.look_for_writes().await,
                () = tokio::time::sleep(Duration::from_millis(wait.unwrap_or(0))), if wait.is_some() => {
                    self.take(Event::Tick).await;
                }
            }
        }
    }

    /// The badge speaks of one service; of another one nothing is known, and it is tried.
    async fn state_of(&self, network: &mut watch::Receiver<(NetworkState, carrel_model::TimeMs)>) -> NetworkState {
        let (state, _) = *network.borrow_and_update();
        let own = self.shared.accounts.service_url(self.profile).await.ok();
        match state {
            NetworkState::Offline => state,
            _ if own.is_some() && own != self.shared.network.service() => NetworkState::Online,
            _ => state,
        }
    }

    async fn look_for_writes(&mut self) {
        match self.shared.outbox.count(self.profile).await {
            Ok(count) if count.waiting > 0 => self.take(Event::Written).await,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the outbox can't be read"),
        }
    }

    /// Gives an event to the planner and performs everything that follows from it.
    async fn take(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let effects = self.planner.step(event, self.now(), self.random());
            self.feel_pulse();
            for effect in effects {
                // At most one effect of a step is answered, and it is the last.
                events.extend(self.perform(effect).await);
            }
        }
    }

    async fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Push { limit } => Some(Event::Pushed(self.push(limit).await)),
            Effect::PullRecords => Some(Event::PulledRecords(self.pull_records().await.map_err(judged))),
            Effect::PullUnits => Some(Event::PulledUnits(self.shared.fetching.all(self.profile).await.map_err(judged))),
            Effect::HoldBack { for_ms } => {
                self.hold_back(for_ms).await;
                None
            }
            Effect::StartRecordsOver => {
                match records::start_over(&self.shared.library, self.profile).await {
                    // What is to be sent again goes with the next run, not with the next period.
                    Ok(()) => self.shared.outbox.wake(),
                    Err(error) => tracing::warn!(%error, "a full pull can't begin"),
                }
                None
            }
            Effect::Rekey => {
                if let Err(error) = self.shared.rekey(self.profile).await {
                    tracing::warn!(%error, "no new device id could be taken");
                }
                None
            }
            Effect::Succeeded => {
                self.shared.note_end(self.profile, None).await;
                None
            }
            Effect::Failed { code } => {
                tracing::info!(%code, "sync did not go through");
                self.shared.note_end(self.profile, Some(code)).await;
                None
            }
        }
    }

    async fn push(&mut self, limit: usize) -> Pushed {
        let shared = Arc::clone(&self.shared);
        // Read before written: only who has a cursor learns that the service was put back to a backup, and so nothing that
        // was acknowledged before is taken for safe after.
        match records::cursor(shared.library.readers(), self.profile).await {
            Ok(Some(_)) => {}
            Ok(None) => return Pushed::Nothing { next_in_ms: Some(0) },
            Err(error) => return Pushed::Failed { ops: 0, failure: judged(error.into()) },
        }
        let batch = match shared.outbox.take_batch(self.profile, limit, shared.accounts.trusted_now()).await {
            Ok(Some(batch)) => batch,
            // Everything that may go under the old id is judged: what is left of it takes the new one along.
            Ok(None) if shared.outbox.has_regressed(self.profile).await.unwrap_or_default() => {
                return Pushed::Failed { ops: 0, failure: Failure::SeqRegressed };
            }
            Ok(None) => {
                let due = shared.outbox.next_due(self.profile).await.ok().flatten();
                let next_in_ms = due.map(|due| due.since(shared.accounts.trusted_now()).max(0));
                return Pushed::Nothing { next_in_ms };
            }
            Err(error) => return Pushed::Failed { ops: 0, failure: judged(error.into()) },
        };
        let request =
            PushRequest { device_id: batch.device_id, client_now: shared.clock.now(), ops: batch.ops.clone() };
        let answer = shared.api.push(self.profile, &request).await;
        let (verdicts, ended) = match answer {
            Ok(answer) => (Verdicts::Each(answer.results), Pushed::Judged),
            Err(ApiError::SeqRegressed { known, conflicting }) => {
                let conflicting = conflicting.unwrap_or_else(|| all_but(&known, &batch));
                (Verdicts::Regressed { known, conflicting }, Pushed::Judged)
            }
            Err(error) => {
                tracing::info!(%error, ops = batch.ops.len(), "a batch was not taken");
                (Verdicts::None, Pushed::Failed { ops: batch.ops.len(), failure: judged(error) })
            }
        };
        // Whatever the service said of it: what it said nothing of must not be asked again and again.
        let asked = |seq: &u64| batch.ops.iter().any(|op| op.seq == *seq);
        let judged_some = match &verdicts {
            Verdicts::Each(results) => results.iter().any(|result| asked(&result.seq)),
            Verdicts::Regressed { known, conflicting } => known.iter().chain(conflicting).any(asked),
            _ => true,
        };
        if let Err(error) = shared.outbox.settle(&batch, verdicts, shared.accounts.trusted_now()).await {
            return Pushed::Failed { ops: batch.ops.len(), failure: judged(error.into()) };
        }
        let ops = batch.ops.len();
        self.last_batch = Some(batch);
        shared.publish(self.profile).await;
        if judged_some {
            ended
        } else {
            let failure = Failure::NotNow { code: ErrorCode::NotAService, failed: true, retry_after_ms: None };
            Pushed::Failed { ops, failure }
        }
    }

    async fn pull_records(&mut self) -> Result<Page, ApiError> {
        let shared = Arc::clone(&self.shared);
        let cursor = records::cursor(shared.library.readers(), self.profile).await?;
        let page = shared.api.records_page(self.profile, cursor.as_deref()).await?;
        let records::Kept { lessons, differs } = records::keep(&shared.library, self.profile, &page).await?;
        if let Some(lease) = &page.lease
            && let Err(error) = shared.accounts.take_lease(self.profile, lease).await
        {
            tracing::warn!(%error, "a lease was not taken");
        }
        if !lessons.is_empty() {
            let lesson_ids = lessons.into_iter().collect();
            shared.events.send(EngineEvent::Learning { profile_id: self.profile, lesson_ids });
        }
        if differs {
            tracing::warn!(profile = %self.profile, "the rows here are not those of the service");
            // A rule that the two don't share would start over for ever; once in a while is enough to heal.
            let now = self.now();
            if self.healed_at.is_none_or(|at| now.saturating_sub(at) > HEAL_EVERY_MS) {
                self.healed_at = Some(now);
                return Err(ApiError::Refused {
                    status: 410,
                    code: ErrorCode::CursorExpired,
                    detail: "the checksums differ".to_owned(),
                    retry_after_ms: None,
                });
            }
        }
        Ok(Page { has_more: page.has_more, enrolments_changed: page.enrolments.is_some() })
    }

    async fn hold_back(&mut self, for_ms: i64) {
        let Some(batch) = &self.last_batch else { return };
        let now = self.shared.accounts.trusted_now();
        let verdicts = Verdicts::HoldBack { until: now.plus_ms(for_ms), error: ErrorCode::ServiceFailed };
        if let Err(error) = self.shared.outbox.settle(batch, verdicts, now).await {
            tracing::warn!(%error, "an op could not be held back");
        }
    }

    /// Tells others what can be seen from outside, when it changed.
    fn feel_pulse(&self) {
        let next = self.planner.wakes_at().filter(|_| self.planner.is_resting());
        let next = next.map(|at| self.shared.clock.now().plus_ms(at.saturating_sub(self.now()).max(0)));
        if self.pulse.set(self.planner.is_busy(), next) {
            self.shared.publish_soon();
        }
    }

    fn now(&self) -> i64 {
        self.shared.clock.read().monotonic_ms
    }
    fn random(&self) -> f64 {
        let mut bytes = [0; 8];
        self.shared.clock.fill_random(&mut bytes);
        (u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What a service that doesn't name the ops in conflict leaves: whatever it doesn't have.
fn all_but(known: &[u64], batch: &Batch) -> Vec<u64> {
    batch.ops.iter().map(|op| op.seq).filter(|seq| !known.contains(seq)).collect()
}

/// An error in the planner's words.
fn judged(error: ApiError) -> Failure {
    match error {
        ApiError::Offline | ApiError::Unreachable(_) | ApiError::NotAService(_) => Failure::Unreachable(error.code()),
        ApiError::SignInNeeded => Failure::Stop(ErrorCode::SignInNeeded),
        ApiError::Refused { status: 413, .. } => Failure::TooLarge,
        ApiError::Refused { code: ErrorCode::CursorExpired, .. } => Failure::CursorExpired,
        ApiError::SeqRegressed { .. } => Failure::SeqRegressed,
        ApiError::Refused { status, code, .. }
            if status == 426 || matches!(code, ErrorCode::DeviceRevoked | ErrorCode::UpgradeRequired) =>
        {
            Failure::Stop(code)
        }
        ApiError::Refused { status, code, retry_after_ms, .. } => {
            Failure::of_status(status, code, retry_after_ms.and_then(|ms| i64::try_from(ms).ok()))
        }
        ApiError::Here(error) => Failure::NotNow { code: error.code(), failed: false, retry_after_ms: None },
    }
}
