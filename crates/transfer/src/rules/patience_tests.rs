//! Waits grow and stay within bounds; nothing is tried for ever; progress forgives.

use std::time::Duration;

use proptest::prelude::*;

use super::{Limits, Patience, Setback, Step};
use crate::{FetchError, Lie, ResolveReason};

const LIMITS: Limits = Limits {
    attempts: 8,
    backoff_base: Duration::from_secs(1),
    backoff_cap: Duration::from_secs(60),
    longest_wait: Duration::from_secs(900),
};

fn wait(step: &Step) -> Option<u64> {
    if let Step::Again { wait, .. } = step { Some(wait.as_secs()) } else { None }
}

#[test]
fn waits_double_up_to_the_cap_and_end() {
    let mut patience = Patience::new(LIMITS);
    let steps: Vec<_> = (0..8).map(|_| patience.after(&Setback::Failed { status: 500 }, 1.0)).collect();
    let waits: Vec<_> = steps.iter().map(wait).collect();
    assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(16), Some(32), Some(60), None]);
    assert!(matches!(steps.last(), Some(Step::GiveUp(FetchError::Http { status: 500 }))));
}

#[test]
fn the_first_cut_is_retried_at_once() {
    let mut patience = Patience::new(LIMITS);
    assert_eq!(wait(&patience.after(&Setback::Cut, 1.0)), Some(0));
    assert_eq!(wait(&patience.after(&Setback::Cut, 1.0)), Some(2));
    patience.received(64 << 10);
    assert_eq!(wait(&patience.after(&Setback::Cut, 1.0)), Some(0));
}

#[test]
fn a_wait_longer_than_allowed_ends_with_the_wait_in_the_error() {
    let mut patience = Patience::new(Limits { longest_wait: Duration::from_secs(10), ..LIMITS });
    let busy = Setback::Busy { status: 503, retry_after: Some(Duration::from_secs(60)) };
    let Step::GiveUp(error) = patience.after(&busy, 0.0) else { panic!("it must end") };
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
}

#[test]
fn addresses_are_renewed_twice_without_progress() {
    let mut patience = Patience::new(LIMITS);
    assert!(matches!(patience.after(&Setback::Expired, 0.0), Step::Renew(ResolveReason::Expired)));
    assert!(matches!(patience.after(&Setback::Refused, 0.0), Step::Drop));
    assert!(matches!(patience.exhausted(&Setback::Refused), Step::Renew(ResolveReason::Refused)));
    assert!(matches!(patience.after(&Setback::Expired, 0.0), Step::GiveUp(FetchError::NotAuthorised)));
    patience.received(1 << 20);
    assert!(matches!(patience.after(&Setback::Expired, 0.0), Step::Renew(ResolveReason::Expired)));
}

fn setback() -> impl Strategy<Value = Setback> {
    prop_oneof![
        Just(Setback::Cut),
        Just(Setback::Unreachable(String::new())),
        Just(Setback::Stalled),
        Just(Setback::Tls(String::new())),
        Just(Setback::Page),
        Just(Setback::Expired),
        Just(Setback::Refused),
        Just(Setback::Gone),
        Just(Setback::Lied(Lie::Length)),
        Just(Setback::RangeIgnored),
        any::<u64>().prop_map(|ms| Setback::Busy { status: 429, retry_after: Some(Duration::from_millis(ms)) }),
        (500_u16..600).prop_map(|status| Setback::Failed { status }),
    ]
}

proptest! {
    #[test]
    fn without_progress_every_sequence_ends(setbacks in prop::collection::vec(setback(), 40), jitter in 0.0..1.0_f64) {
        let mut patience = Patience::new(LIMITS);
        let mut ended = None;
        for (at, setback) in setbacks.iter().enumerate() {
            let mut step = patience.after(setback, jitter);
            if matches!(step, Step::Drop) {
                // With one source every drop is the last.
                step = patience.exhausted(setback);
            }
            match step {
                Step::Again { wait, .. } => prop_assert!(wait <= LIMITS.longest_wait),
                Step::GiveUp(_) => {
                    ended = Some(at);
                    break;
                }
                Step::Renew(_) | Step::Drop => {}
            }
        }
        prop_assert!(ended.is_some_and(|at| at <= 10), "eight attempts and two renewals at most");
    }
}
