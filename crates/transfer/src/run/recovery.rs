//! What follows when something went wrong: a wait, new addresses, another source, fewer lanes, or the end.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Future, Run, lane::Back};
use crate::{
    FetchError, ResolveReason, Source, SourceError, State, WaitCause,
    clock::Moment,
    rules::patience::{Setback, Step},
};

/// What is under way; one at a time.
pub(super) struct Recovery {
    what: What,
    end: Future<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Waiting, for addresses with the reason to ask for them.
    Wait(Option<ResolveReason>),
    Resolve(ResolveReason),
}

/// How it ended.
pub(super) enum End {
    Waited,
    Resolved(Result<Vec<Source>, SourceError>),
}

impl Recovery {
    /// When it is over; may be dropped and called again.
    pub(super) async fn end(&mut self) -> End {
        self.end.as_mut().await
    }
}

impl Run {
    /// A lane has reported back.
    pub(super) fn back(&mut self, back: Back) -> Result<(), FetchError> {
        let Back { lane, line, chosen, asked_at, took, round_trip, late, outcome } = back;
        self.running.remove(&lane);
        // What it brought counts before what went wrong.
        self.hear()?;
        if let Some(round_trip) = round_trip {
            self.round_trip = round_trip;
        }
        if late {
            // It may be another source than the one preferred, so it is not looked at again before.
            if self.recovery.is_none() && self.supply.holds(chosen.id) {
                self.resolve(ResolveReason::Expired);
            }
            return Ok(());
        }
        let setback = match outcome {
            Ok(()) => {
                if self.spare.len() + self.running.len() < self.rule.wanted() {
                    self.spare.push(line);
                }
                return Ok(());
            }
            Err(setback) => setback,
        };
        let now = self.now();
        let origin = chosen.source.url.origin();
        tracing::info!(blob = %self.shared.manifest.hash(), ?setback, "an attempt failed");
        self.retries += 1;
        match &setback {
            Setback::Busy { retry_after, .. } => {
                // A host that serves others meanwhile has only too much to do: there is a turn for this one as well.
                let served = self.shared.fetcher.places().served_at(&origin);
                if retry_after.is_none() && served > self.busy_at {
                    self.patience.forgive();
                }
                self.busy_at = Some(now);
                self.shared.fetcher.places().busy(&origin, asked_at, *retry_after);
                self.rule.fewer(now);
            }
            Setback::Stalled => self.rule.stalled(),
            Setback::RangeIgnored => {
                self.supply.note_range_ignored(chosen.id);
                self.rule.only_one();
            }
            _ => {}
        }
        // A further connection that isn't let in is no reason to stop the one that is.
        let never_open = round_trip.is_none() && self.shared.live() > 0;
        if never_open && is_about_one_connection(&setback) {
            if !matches!(setback, Setback::Busy { .. }) {
                self.rule.refused(now);
            }
            return Ok(());
        }
        // The source has been replaced meanwhile, or another lane's trouble is being dealt with: that covers this one.
        if self.recovery.is_some() || !self.supply.holds(chosen.id) {
            return Ok(());
        }
        let mut step = self.patience.after(&setback, took, self.config().clock.jitter());
        if matches!(step, Step::Drop) {
            self.supply.drop_source(chosen.id);
            if !self.supply.is_empty() {
                return Ok(());
            }
            step = self.patience.exhausted(&setback);
        }
        match step {
            Step::Again { wait, cause, switch } => {
                if switch {
                    self.supply.turn_from(chosen.id);
                }
                if let Setback::Busy { retry_after, .. } = setback {
                    if retry_after.is_some() && self.is_elsewhere(&origin) {
                        return Ok(());
                    }
                    let gate = self.shared.fetcher.places().not_before(&origin);
                    // This wait is the one the host asked for, unless it has asked somebody else for more.
                    if gate <= self.now() + wait {
                        self.waited_until = gate;
                    }
                }
                self.wait(wait, cause);
            }
            Step::Renew(reason) => self.resolve(reason),
            Step::GiveUp(error) => return Err(error),
            Step::Drop => {}
        }
        Ok(())
    }

    /// Whether the source asked next is at another host, which didn't ask for patience.
    fn is_elsewhere(&self, origin: &url::Origin) -> bool {
        self.supply.current().is_some_and(|next| {
            let other = next.source.url.origin();
            other != *origin && self.shared.fetcher.places().not_before(&other) <= self.now()
        })
    }

    /// Waits before the next lane is started.
    pub(super) fn wait(&mut self, wait: Duration, cause: WaitCause) {
        self.wait_for(wait, cause, None);
    }

    fn wait_for(&mut self, wait: Duration, cause: WaitCause, resolve: Option<ResolveReason>) {
        if wait.is_zero() {
            return;
        }
        if self.running.is_empty() {
            self.show(State::Retrying { cause, wait });
        }
        let clock = Arc::clone(&self.config().clock);
        let end: Future<End> = Box::pin(async move {
            clock.sleep(wait).await;
            End::Waited
        });
        self.recovery = Some(Recovery { what: What::Wait(resolve), end });
    }

    /// Asks for addresses.
    pub(super) fn resolve(&mut self, reason: ResolveReason) {
        if self.running.is_empty() {
            self.show(State::Resolving);
        }
        let (sources, blob) = (Arc::clone(&self.sources), self.shared.manifest.hash());
        let held = self.supply.answer().to_vec();
        let limit = self.config().resolve_timeout;
        let end: Future<End> = Box::pin(async move {
            let asking = async {
                // Who never had any has nothing to renew.
                if held.is_empty() {
                    sources.resolve(blob, reason).await
                } else {
                    sources.renew(blob, reason, &held).await
                }
            };
            let late = || Err(SourceError::Unavailable { retry_after: None, cause: "no answer in time".to_owned() });
            End::Resolved(timeout(limit, asking).await.unwrap_or_else(|_| late()))
        });
        self.recovery = Some(Recovery { what: What::Resolve(reason), end });
    }

    /// A wait is over, or addresses have come.
    pub(super) fn recovered(&mut self, end: End) -> Result<(), FetchError> {
        let Some(Recovery { what, .. }) = self.recovery.take() else { return Ok(()) };
        let reason = match what {
            What::Wait(None) => return Ok(()),
            What::Wait(Some(reason)) => {
                self.resolve(reason);
                return Ok(());
            }
            What::Resolve(reason) => reason,
        };
        let End::Resolved(answer) = end else { return Ok(()) };
        let setback = match answer {
            Ok(sources) => {
                self.supply.replace(sources, Moment::now(&*self.config().clock));
                return if self.supply.is_empty() { Err(FetchError::Gone) } else { Ok(()) };
            }
            Err(SourceError::NotAuthorised) => return Err(FetchError::NotAuthorised),
            Err(SourceError::Gone) => return Err(FetchError::Gone),
            Err(SourceError::Unavailable { retry_after, cause }) => Setback::Addresses { retry_after, cause },
            Err(error @ SourceError::Failed(_)) => return Err(FetchError::Sources(error)),
        };
        self.retries += 1;
        match self.patience.after(&setback, Duration::ZERO, self.config().clock.jitter()) {
            Step::Again { wait, cause, .. } if !wait.is_zero() => self.wait_for(wait, cause, Some(reason)),
            Step::GiveUp(error) => return Err(error),
            _ => self.resolve(reason),
        }
        Ok(())
    }

    /// The network has changed: connections and waits are given up and made anew.
    pub(super) fn reconnect(&mut self) {
        self.shared.fetcher.forget_connections();
        self.drop_lanes();
        self.rule.restart();
        self.patience.refresh();
        match self.recovery.take().map(|recovery| recovery.what) {
            Some(What::Resolve(reason) | What::Wait(Some(reason))) => self.resolve(reason),
            Some(What::Wait(None)) | None => {
                // What a host asked for holds on any network.
                self.waited_until = Duration::ZERO;
            }
        }
    }
}

/// Whether it may concern this connection alone.
const fn is_about_one_connection(setback: &Setback) -> bool {
    matches!(
        setback,
        Setback::Cut
            | Setback::Unreachable(_)
            | Setback::Stalled
            | Setback::Busy { .. }
            | Setback::Failed { .. }
            | Setback::Rejected { .. }
            | Setback::Refused
            | Setback::Gone
            | Setback::RangeIgnored
    )
}
