//! Lanes sent out and called back: as many as gain something, where there is a place, and as long as nobody needs it more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Run, Running, TICK,
    lane::{self, Errand},
};
use crate::{
    FetchError, ResolveReason, State, WaitCause,
    client::Line,
    clock::Moment,
    rules::{
        hosts::Way,
        lanes::Sight,
        plan::{LaneId, Worth},
        supply::Chosen,
    },
};

/// How often it is looked whether the path still leads to the file.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Work of less than this is not taken from a lane that moves.
const WORTH_TIME_SECONDS: f64 = 0.5;
const SHORTEST_SLOW: Duration = Duration::from_secs(2);

impl Run {
    /// Sends lanes out while there is work for them and room.
    pub(super) fn start_lanes(&mut self) -> Result<(), FetchError> {
        while self.recovery.is_none() && self.lanes.len() < self.rule.wanted() {
            let first = self.lanes.is_empty();
            let now = self.now();
            if first && !self.shared.core().plan.has_gap() {
                return Ok(());
            }
            if self.supply.is_empty() || self.supply.is_expired(Moment::now(&*self.config().clock)) {
                let reason = if self.supply.is_empty() { ResolveReason::First } else { ResolveReason::Expired };
                self.resolve(reason);
                return Ok(());
            }
            let Some(current) = self.supply.current() else { return Err(FetchError::Gone) };
            let origin = current.source.url.origin();
            let gate = self.shared.fetcher.places().not_before(&origin);
            if gate > now && gate > self.waited_until {
                if !first {
                    return Ok(());
                }
                let wait = gate - now;
                if wait > self.config().longest_wait {
                    return Err(FetchError::Busy { status: 503, retry_after: Some(wait) });
                }
                self.waited_until = gate;
                self.wait(wait, WaitCause::Source);
                return Ok(());
            }
            let mut place = None;
            if !first {
                place = self.shared.fetcher.places().try_take(&origin, self.way, *self.shared.urgency.borrow());
                if place.is_none() {
                    return Ok(());
                }
            }
            let (lane, worth) = (self.next_lane, self.worth());
            let Some(job) = self.shared.core().plan.assign(lane, now, worth) else { return Ok(()) };
            self.next_lane += 1;
            let chosen = self.choose(current, job.suspect.then_some(job.span.first));
            self.supply.note_asked(chosen.id);
            let origin_chosen = chosen.source.url.origin();
            if origin_chosen != origin {
                place = None;
            }
            let (line, way, part) = (self.line(), self.way, self.part.clone());
            let moved = Arc::<AtomicU64>::default();
            self.running.insert(lane, Running { origin: origin_chosen, moved: Arc::clone(&moved), seen: 0 });
            let errand = Errand { lane, job, chosen, line, way, place, part, moved };
            self.lanes.push(Box::pin(lane::run(Arc::clone(&self.shared), errand)));
            self.show(State::Fetching);
        }
        Ok(())
    }

    fn choose(&self, current: Chosen, suspect: Option<u64>) -> Chosen {
        let blamed = suspect.and_then(|piece| self.blamed.get(&piece));
        blamed.and_then(|blamed| self.supply.other_than(blamed)).unwrap_or(current)
    }

    fn line(&mut self) -> Line {
        self.spare.pop().unwrap_or_else(|| match self.way {
            Way::Own => Line::own(),
            Way::Shared => Line::shared(),
        })
    }

    /// When it is worth taking work from another lane, by the speed of late.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    fn worth(&self) -> Worth {
        let lanes = self.running.len().max(1) as f64;
        let pieces_per_second = self.per_second as f64 / lanes / (1 << 20) as f64;
        let split_pieces = (pieces_per_second * WORTH_TIME_SECONDS).ceil() as u64;
        let typical = self.shared.core().plan.typical().unwrap_or_default();
        let slow_after = typical + 2 * self.round_trip;
        Worth { split_pieces: split_pieces.max(1), slow_after: slow_after.max(SHORTEST_SLOW) }
    }

    /// A few times per second: what has moved, how many lanes there should be, whether others need the place more.
    pub(super) fn on_tick(&mut self) {
        self.tick.as_mut().reset(Instant::now() + TICK);
        let now = self.now();
        let received = self.shared.fetched.load(Ordering::Relaxed);
        self.speed.add(received - self.counted);
        self.counted = received;
        self.per_second = self.speed.at(now);
        self.tell();
        if self.looking.is_none() && now.saturating_sub(self.looked_at) >= LOOK_EVERY {
            self.looked_at = now;
            let part = self.part.clone();
            self.looking = Some(Box::pin(async move { part.state().await }));
        }
        let mut core = self.shared.core();
        for (lane, out) in &mut self.running {
            let moved = out.moved.load(Ordering::Relaxed);
            if std::mem::replace(&mut out.seen, moved) != moved {
                core.plan.moves(*lane, now);
            }
        }
        let remaining = self.shared.manifest.size().saturating_sub(core.plan.held_bytes());
        drop(core);
        let limited = self.shared.held_back.swap(false, Ordering::Relaxed);
        let (live, round_trip) = (self.shared.live(), self.round_trip);
        if self.recovery.is_none() {
            self.rule.look(Sight { now, received, live, remaining, round_trip, limited });
        }
        let urgency = *self.shared.urgency.borrow();
        let places = self.shared.fetcher.places();
        let mut leave: Vec<LaneId> = self.running.keys().copied().skip(self.rule.wanted()).collect();
        for (nth, (lane, out)) in self.running.iter().enumerate() {
            if places.is_wanted(&out.origin, self.way, urgency, nth > 0) {
                leave.push(*lane);
            }
        }
        self.revoke(&leave);
    }
}
