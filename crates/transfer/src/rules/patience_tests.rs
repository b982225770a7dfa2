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

const TOOK: Duration = Duration::from_millis(1);

fn wait(step: &Step) -> Option<u64> {
    if let Step::Again { wait, .. } = step { Some(wait.as_secs()) } else { None }
}

#[test]
fn waits_double_up_to_the_cap_and_end() {
    let mut patience = Patience::new(LIMITS);
    let steps: Vec<_> = (0..8).map(|_| patience.after(&Setback::Failed { status: 500 }, TOOK, 1.0)).collect();
    let waits: Vec<_> = steps.iter().map(wait).collect();
    assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(16), Some(32), Some(60), None]);
    assert!(matches!(steps.last(), Some(Step::GiveUp(FetchError::Http { status: 500 }))));
}

#[test]
fn a_broken_network_is_probed_fast_and_then_slower() {
    let mut patience = Patience::new(LIMITS);
    let mut waits = Vec::new();
    let error = loop {
        match patience.after(&Setback::Cut, Duration::ZERO, 0.5) {
            Step::Again { wait, .. } => waits.push(wait),
            Step::GiveUp(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(error, FetchError::Unreachable(_)));
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[1] >= Duration::from_millis(100) && waits[1] <= Duration::from_millis(300));
    let (fast, slow) = waits.split_at(waits.len() - 7);
    assert!(fast.iter().all(|wait| *wait <= Duration::from_secs(1)));
    assert!(fast.is_sorted() && fast.iter().sum::<Duration>() >= Duration::from_secs(14));
    assert_eq!(slow[0], Duration::from_millis(500), "from here on as after any failure, with full jitter");
    assert_eq!(slow[6], Duration::from_secs(30));
}

#[test]
fn little_of_the_time_after_an_outage_is_lost() {
    for outage_ms in [1000_u64, 2000, 3000] {
        let mut patience = Patience::new(LIMITS);
        let mut at = Duration::ZERO;
        let mut probes = 0;
        while at < Duration::from_millis(outage_ms) {
            let Step::Again { wait, .. } = patience.after(&Setback::Unreachable(String::new()), TOOK, 1.0) else {
                panic!("too early to give up")
            };
            at += wait;
            probes += 1;
        }
        let lost = at - Duration::from_millis(outage_ms);
        assert!(lost <= Duration::from_millis(outage_ms / 6), "{lost:?} after {outage_ms} ms");
        assert!(probes <= 20, "{probes} probes in {outage_ms} ms");
    }
}

#[test]
fn progress_and_a_new_network_make_probes_fast_again() {
    let mut patience = Patience::new(LIMITS);
    assert_eq!(wait(&patience.after(&Setback::Cut, TOOK, 1.0)), Some(0));
    let slow = patience.after(&Setback::Cut, Duration::from_secs(60), 1.0);
    assert_eq!(wait(&slow), Some(1), "a minute without an answer is no short outage");
    patience.refresh();
    let Step::Again { wait: fast, .. } = patience.after(&Setback::Cut, TOOK, 1.0) else { panic!("again") };
    assert_eq!(fast, Duration::ZERO);
    patience.received(64 << 10);
    assert_eq!(wait(&patience.after(&Setback::Failed { status: 500 }, TOOK, 1.0)), Some(1));
}

#[test]
fn a_wait_longer_than_allowed_ends_with_the_wait_in_the_error() {
    let mut patience = Patience::new(Limits { longest_wait: Duration::from_secs(10), ..LIMITS });
    let busy = Setback::Busy { status: 503, retry_after: Some(Duration::from_secs(60)) };
    let Step::GiveUp(error) = patience.after(&busy, TOOK, 0.0) else { panic!("it must end") };
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
}

#[test]
fn addresses_are_renewed_twice_without_progress() {
    let mut patience = Patience::new(LIMITS);
    assert!(matches!(patience.after(&Setback::Expired, TOOK, 0.0), Step::Renew(ResolveReason::Expired)));
    assert!(matches!(patience.after(&Setback::Refused, TOOK, 0.0), Step::Drop));
    assert!(matches!(patience.exhausted(&Setback::Refused), Step::Renew(ResolveReason::Refused)));
    assert!(matches!(patience.after(&Setback::Expired, TOOK, 0.0), Step::GiveUp(FetchError::NotAuthorised)));
    patience.received(1 << 20);
    assert!(matches!(patience.after(&Setback::Expired, TOOK, 0.0), Step::Renew(ResolveReason::Expired)));
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
    fn without_progress_every_sequence_ends(setbacks in prop::collection::vec(setback(), 60), jitter in 0.0..1.0_f64) {
        let mut patience = Patience::new(LIMITS);
        let mut ended = None;
        for (at, setback) in setbacks.iter().enumerate() {
            let mut step = patience.after(setback, Duration::from_secs(1), jitter);
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
        prop_assert!(ended.is_some_and(|at| at <= 24), "fifteen seconds of probes, eight attempts, two renewals at most");
    }
}

#[test]
fn who_alone_is_refused_is_not_forgiven_for_ever() {
    let mut patience = Patience::new(LIMITS);
    let busy = Setback::Busy { status: 503, retry_after: None };
    let tries = (0..200).take_while(|_| {
        patience.forgive();
        !matches!(patience.after(&busy, Duration::ZERO, 0.0), Step::GiveUp(_))
    });
    assert!((20..100).contains(&tries.count()));
}
