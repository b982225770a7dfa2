//! Over any stretch of time no more flows than the rate allows, and hardly less.

use std::time::Duration;

use proptest::prelude::*;

use super::Bucket;

const STEP: Duration = Duration::from_millis(1);

/// Takes as much as it can for so long; says how much that was in each tenth of a second.
fn flow(bucket: &mut Bucket, from: Duration, length: Duration, portion: u64) -> Vec<u64> {
    let mut tenths = vec![0; usize::try_from(length.as_millis() / 100).unwrap()];
    let mut now = from;
    while now < from + length {
        match bucket.take(portion, now) {
            Ok(given) => tenths[usize::try_from((now - from).as_millis() / 100).unwrap()] += given,
            // A timer that is a little late, as timers are.
            Err(wait) => now += wait.max(STEP) + STEP,
        }
    }
    tenths
}

#[test]
fn no_limit_gives_everything() {
    let mut bucket = Bucket::default();
    assert_eq!(bucket.take(u64::MAX, Duration::ZERO), Ok(u64::MAX));
    bucket.set(Some(1000), Duration::ZERO);
    assert!(bucket.take(1 << 20, Duration::ZERO).is_err());
    bucket.set(None, Duration::ZERO);
    assert_eq!(bucket.take(1 << 20, Duration::ZERO), Ok(1 << 20));
}

#[test]
fn a_pause_is_not_made_good_by_a_burst() {
    let mut bucket = Bucket::default();
    bucket.set(Some(1_000_000), Duration::ZERO);
    let tenths = flow(&mut bucket, Duration::from_secs(3600), Duration::from_secs(2), 1 << 16);
    assert!(tenths.iter().take(10).sum::<u64>() <= 1_260_000);
    assert!(tenths.iter().skip(10).all(|tenth| *tenth <= 150_000), "{tenths:?}");
}

#[test]
fn a_new_rate_holds_from_now_on() {
    let mut bucket = Bucket::default();
    bucket.set(Some(10_000_000), Duration::ZERO);
    flow(&mut bucket, Duration::ZERO, Duration::from_secs(1), 1 << 16);
    bucket.set(Some(1_000_000), Duration::from_secs(1));
    let after: u64 = flow(&mut bucket, Duration::from_secs(1), Duration::from_secs(2), 1 << 16).iter().sum();
    assert!((1_900_000..=2_300_000).contains(&after), "{after}");
}

#[test]
fn what_was_not_used_may_be_taken_again() {
    let mut bucket = Bucket::default();
    bucket.set(Some(40_000), Duration::ZERO);
    let given = bucket.take(1000, Duration::from_secs(1)).unwrap();
    bucket.give_back(given);
    let total: u64 = std::iter::from_fn(|| bucket.take(1000, Duration::from_secs(1)).ok()).sum();
    assert!((9_000..=10_000).contains(&total), "a quarter of a second's worth: {total}");
}

proptest! {
    #[test]
    fn the_rate_is_kept(rate in 100_u64..50_000_000, portion in 1_u64..1_048_576) {
        // Portions of a few bytes at a high rate would make this test count for ever.
        let portion = portion.max(rate / 1000);
        let mut bucket = Bucket::default();
        bucket.set(Some(rate), Duration::ZERO);
        let total: u64 = flow(&mut bucket, Duration::ZERO, Duration::from_secs(20), portion).iter().sum();
        prop_assert!(total <= rate * 20 + rate / 4 + 1, "{total}");
        prop_assert!(total * 100 >= rate * 20 * 95, "{total} of {}", rate * 20);
    }
}
