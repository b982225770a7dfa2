use super::*;
use crate::time::DAY_MS;

const START: TimeMs = TimeMs::from_ms(1_800_000_000_000);

fn reading(wall_offset_ms: i64, monotonic_ms: i64) -> Reading {
    Reading { wall: START.plus_ms(wall_offset_ms), monotonic_ms }
}

#[test]
fn turning_the_clock_back_gains_nothing() {
    let mut clock = TrustedClock::start(TrustedTime::default(), reading(0, 0));
    clock.service_said(START, reading(0, 0));
    assert_eq!(clock.now(reading(-10 * 365 * DAY_MS, 5_000)), START.plus_ms(5_000), "monotonic time goes on");
    assert_eq!(clock.wall_clock_off_by_ms().map(i64::signum), Some(-1), "and the wrong clock is reported");
    let mut next_run = TrustedClock::start(clock.kept(), reading(-3_650 * DAY_MS, 0));
    assert_eq!(next_run.now(reading(-3_650 * DAY_MS, 0)), START.plus_ms(5_000), "across restarts too");
}

#[test]
fn one_wrong_date_burns_no_lease() {
    let mut clock = TrustedClock::start(TrustedTime::default(), reading(0, 0));
    clock.service_said(START, reading(0, 0));
    let mut kept = clock.kept();
    for _ in 0..20 {
        let mut run = TrustedClock::start(kept, reading(3_650 * DAY_MS, 0));
        run.now(reading(3_650 * DAY_MS, 60_000));
        kept = run.kept();
    }
    let mut run = TrustedClock::start(kept, reading(0, 0));
    assert!(run.now(reading(0, 0)).since(START) <= MAX_UNSYNCED_JUMP_MS + 20 * 60_000, "at most the allowance in all");
    run.service_said(START.plus_ms(1_000), reading(0, 0));
    assert_eq!(run.now(reading(0, 10)), START.plus_ms(1_010), "the service's word puts it right");
}

#[test]
fn days_offline_with_an_honest_clock_count() {
    let mut kept = TrustedClock::start(TrustedTime::default(), reading(0, 0)).kept();
    for day in 1..=60 {
        let mut run = TrustedClock::start(kept, reading(day * 8 * HOUR_MS, 0));
        run.now(reading(day * 8 * HOUR_MS, 1));
        kept = run.kept();
    }
    let mut run = TrustedClock::start(kept, reading(20 * DAY_MS, 0));
    let counted = run.now(reading(20 * DAY_MS, 0)).since(START);
    assert!((20 * DAY_MS..20 * DAY_MS + 100).contains(&counted), "twenty days are twenty days: {counted}");
}
