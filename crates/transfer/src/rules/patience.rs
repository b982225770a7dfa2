//! When to try again, with what, and when to give up. Pure: setbacks and a random number in, a step out.
//!
//! A broken network is probed fast at first: most outages last seconds, and every second of waiting too long is lost. Only
//! when it stays broken, and for everything a server says itself, waits grow with full jitter. Bytes that arrive reset the
//! count, so a bad line that moves forward is never given up; addresses are renewed at most twice without any progress, so
//! a refusal is never asked for ever.

use std::time::Duration;

use crate::{FetchError, Lie, ResolveReason, SourceError, WaitCause};

/// What went wrong with one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setback {
    /// The body ended early.
    Cut,
    Unreachable(String),
    Stalled,
    Tls(String),
    /// A web page in place of the file.
    Page,
    TooManyRedirects,
    ForbiddenRedirect,
    Expired,
    Refused,
    Gone,
    Busy {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// A status that may pass.
    Failed {
        status: u16,
    },
    /// A status that won't.
    Rejected {
        status: u16,
    },
    Lied(Lie),
    /// The connections were forgotten while the request waited for one.
    Interrupted,
    /// The whole blob although a far range was asked for.
    RangeIgnored,
    /// The addresses could not be resolved now.
    Addresses {
        retry_after: Option<Duration>,
        cause: String,
    },
}

/// What to do about it.
#[derive(Debug)]
pub(crate) enum Step {
    /// Ask again after a wait; with `switch` from the next source.
    Again {
        wait: Duration,
        cause: WaitCause,
        switch: bool,
    },
    /// This source is of no use; if it was the last, ask [`Patience::exhausted`].
    Drop,
    /// Get new addresses.
    Renew(ResolveReason),
    GiveUp(FetchError),
}

/// The limits a fetch keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) attempts: u32,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_cap: Duration,
    pub(crate) longest_wait: Duration,
}

/// Received bytes that count as progress.
const PROGRESS_BYTES: u64 = 64 << 10;
const RENEWALS_WITHOUT_PROGRESS: u32 = 2;
/// So long a broken network is probed fast.
const PROBING: Duration = Duration::from_secs(15);
const SHORTEST_PROBE: Duration = Duration::from_millis(120);
const LONGEST_PROBE: Duration = Duration::from_millis(800);
/// The wait between two probes, as a part of the time without a network: few of it is lost, and few probes are made.
const PROBE_PART: f64 = 0.12;
/// A portal doesn't go away by asking: fewer attempts, so that the learner hears of it soon.
const PAGE_ATTEMPTS: u32 = 3;
/// So often a fetch of which nothing came is forgiven because others are served: it may be the only one refused, for ever.
const FORGIVEN: u32 = 30;

#[derive(Debug)]
pub(crate) struct Patience {
    limits: Limits,
    failures: u32,
    renewals: u32,
    forgiven: u32,
    received: u64,
    /// How long the network has been broken: attempts and waits since the first failure.
    broken: Option<Duration>,
}

impl Patience {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self { limits, failures: 0, renewals: 0, forgiven: 0, received: 0, broken: None }
    }

    /// So many wanted bytes have arrived.
    pub(crate) const fn received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
        if self.received >= PROGRESS_BYTES {
            self.failures = 0;
            self.renewals = 0;
            self.forgiven = 0;
            self.received = 0;
            self.broken = None;
        }
    }

    /// What failed until now says nothing about this fetch: others are served.
    pub(crate) const fn forgive(&mut self) {
        if self.forgiven < FORGIVEN {
            self.forgiven += 1;
            self.failures = 0;
        }
    }

    /// The network is another one: it is probed fast again.
    pub(crate) const fn refresh(&mut self) {
        self.broken = None;
    }

    /// What to do after an attempt that took so long and ended so; `jitter` in `0.0..1.0`.
    pub(crate) fn after(&mut self, setback: &Setback, took: Duration, jitter: f64) -> Step {
        match setback {
            Setback::Expired => self.renew(ResolveReason::Expired, setback),
            Setback::Tls(_)
            | Setback::TooManyRedirects
            | Setback::ForbiddenRedirect
            | Setback::Refused
            | Setback::Gone
            | Setback::Rejected { .. }
            | Setback::Lied(_) => Step::Drop,
            Setback::Cut | Setback::Interrupted | Setback::Unreachable(_) => {
                self.probe(setback, took, jitter).unwrap_or_else(|| self.again(setback, jitter))
            }
            _ => self.again(setback, jitter),
        }
    }

    /// The next fast probe of a broken network, while it is time for that.
    fn probe(&mut self, setback: &Setback, took: Duration, jitter: f64) -> Option<Step> {
        let wait = match self.broken {
            // A line that worked until now is most often back at once.
            None => Duration::ZERO,
            Some(broken) if broken + took < PROBING => {
                let even = (broken + took).mul_f64(PROBE_PART).clamp(SHORTEST_PROBE, LONGEST_PROBE);
                even.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
            }
            Some(_) => return None,
        };
        // What came before the first failure was no outage.
        self.broken = Some(self.broken.map_or(Duration::ZERO, |broken| broken + took) + wait);
        Some(Step::Again { wait, cause: WaitCause::Network, switch: *setback != Setback::Cut })
    }

    /// What to do when the last source has been dropped for this reason.
    pub(crate) fn exhausted(&mut self, setback: &Setback) -> Step {
        match setback {
            Setback::Refused => self.renew(ResolveReason::Refused, setback),
            Setback::Gone => self.renew(ResolveReason::Gone, setback),
            Setback::Lied(_) => self.renew(ResolveReason::Lied, setback),
            _ => Step::GiveUp(error_of(setback)),
        }
    }

    fn renew(&mut self, reason: ResolveReason, setback: &Setback) -> Step {
        self.renewals += 1;
        if self.renewals > RENEWALS_WITHOUT_PROGRESS {
            return Step::GiveUp(error_of(setback));
        }
        Step::Renew(reason)
    }

    fn again(&mut self, setback: &Setback, jitter: f64) -> Step {
        let failures = self.failures;
        self.failures += 1;
        let attempts = if *setback == Setback::Page { PAGE_ATTEMPTS } else { self.limits.attempts };
        if self.failures >= attempts {
            return Step::GiveUp(error_of(setback));
        }
        // A line that worked until now is most often back at once.
        let first_cut = failures == 0 && matches!(setback, Setback::Stalled | Setback::RangeIgnored);
        let backoff = if first_cut { Duration::ZERO } else { self.backoff(failures).mul_f64(jitter.clamp(0.0, 1.0)) };
        let asked = match setback {
            Setback::Busy { retry_after, .. } | Setback::Addresses { retry_after, .. } => *retry_after,
            _ => None,
        };
        let wait = asked.map_or(backoff, |asked| asked.min(crate::rules::answer::RETRY_AFTER_LIMIT).max(backoff));
        if wait > self.limits.longest_wait {
            return Step::GiveUp(error_of(setback));
        }
        let cause = match setback {
            Setback::Busy { .. } | Setback::Failed { .. } => WaitCause::Source,
            Setback::Addresses { .. } => WaitCause::Addresses,
            _ => WaitCause::Network,
        };
        Step::Again { wait, cause, switch: *setback != Setback::Cut }
    }

    fn backoff(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.limits.backoff_base.saturating_mul(factor).min(self.limits.backoff_cap)
    }
}

/// The error a fetch ends with when it ends for this setback.
fn error_of(setback: &Setback) -> FetchError {
    match setback.clone() {
        Setback::Cut => FetchError::Unreachable("the connection breaks each time".to_owned()),
        Setback::Unreachable(cause) => FetchError::Unreachable(cause),
        Setback::Interrupted => FetchError::Unreachable("interrupted".to_owned()),
        Setback::Stalled => FetchError::Stalled,
        Setback::Tls(cause) => FetchError::Tls(cause),
        Setback::Page => FetchError::NotAService,
        Setback::TooManyRedirects => FetchError::TooManyRedirects,
        Setback::ForbiddenRedirect => FetchError::ForbiddenRedirect,
        Setback::Expired | Setback::Refused => FetchError::NotAuthorised,
        Setback::Gone => FetchError::Gone,
        Setback::Busy { status, retry_after } => FetchError::Busy { status, retry_after },
        Setback::Failed { status } | Setback::Rejected { status } => FetchError::Http { status },
        Setback::Lied(lie) => FetchError::SourceLied(lie),
        Setback::RangeIgnored => FetchError::SourceLied(Lie::Range),
        Setback::Addresses { retry_after, cause } => {
            FetchError::Sources(SourceError::Unavailable { retry_after, cause })
        }
    }
}

#[cfg(test)]
#[path = "patience_tests.rs"]
mod tests;
