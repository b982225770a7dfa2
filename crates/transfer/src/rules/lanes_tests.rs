//! Lanes come while they gain and go when they don't.

use std::time::Duration;

use proptest::prelude::*;

use super::{Lanes, QUIET, Sight};

const TICK: Duration = Duration::from_millis(200);

/// A line on which `speed(lanes)` bytes arrive per second.
struct Line {
    lanes: Lanes,
    now: Duration,
    received: u64,
    remaining: u64,
    round_trip: Duration,
}

impl Line {
    fn new(most: usize) -> Self {
        Self {
            lanes: Lanes::new(most),
            now: Duration::from_secs(50),
            received: 0,
            remaining: 10 << 30,
            round_trip: Duration::from_millis(20),
        }
    }

    /// Lets time pass; all wanted lanes are there at once.
    fn pass(&mut self, seconds: u64, speed: impl Fn(usize) -> u64) -> usize {
        let mut most = 0;
        for _ in 0..seconds * 5 {
            self.now += TICK;
            self.received += speed(self.lanes.wanted()) / 5;
            let (now, received, remaining, round_trip) = (self.now, self.received, self.remaining, self.round_trip);
            let live = self.lanes.wanted();
            self.lanes.look(Sight { now, received, live, remaining, round_trip, limited: false });
            most = most.max(self.lanes.wanted());
        }
        most
    }
}

#[test]
fn more_lanes_while_each_gains() {
    let mut line = Line::new(4);
    assert_eq!(line.pass(0, |_| 0), 0);
    assert_eq!(line.lanes.wanted(), 1, "one at first");
    line.pass(20, |lanes| lanes as u64 * 1_000_000);
    assert_eq!(line.lanes.wanted(), 4);
}

#[test]
fn goes_back_when_a_lane_gains_nothing_and_rests() {
    let mut line = Line::new(4);
    assert_eq!(line.pass(8, |_| 1_000_000), 2, "it was tried");
    assert_eq!(line.lanes.wanted(), 1);
    assert_eq!(line.pass(10, |_| 1_000_000), 1, "and is not tried again soon");
    assert_eq!(line.pass(30, |_| 1_000_000), 2, "but later");
    let mut line = Line::new(4);
    line.pass(30, |lanes| lanes.min(2) as u64 * 1_000_000);
    assert_eq!(line.lanes.wanted(), 2, "two gain, three don't");
}

#[test]
fn a_tenth_is_not_enough() {
    let mut line = Line::new(4);
    line.pass(10, |lanes| 1_000_000 + (lanes as u64 - 1) * 80_000);
    assert_eq!(line.lanes.wanted(), 1);
}

#[test]
fn no_lane_for_the_last_moments_or_behind_a_limit() {
    let mut line = Line::new(4);
    line.remaining = 1_500_000;
    assert_eq!(line.pass(10, |lanes| lanes as u64 * 1_000_000), 1);
    let mut lanes = Lanes::new(4);
    for tick in 0..50 {
        let sight = Sight {
            now: TICK * tick,
            received: u64::from(tick) * 100_000,
            live: 1,
            remaining: 1 << 30,
            round_trip: TICK,
            limited: true,
        };
        lanes.look(sight);
    }
    assert_eq!(lanes.wanted(), 1);
}

#[test]
fn a_refused_connection_is_not_asked_for_again_soon() {
    let mut line = Line::new(4);
    while line.lanes.wanted() == 1 {
        line.pass(1, |_| 1_000_000);
    }
    line.lanes.refused(line.now);
    assert_eq!(line.pass(15, |lanes| lanes as u64 * 1_000_000), 1);
    assert!(line.pass(15, |lanes| lanes as u64 * 1_000_000) > 1);
    line.lanes.fewer(line.now);
    line.lanes.fewer(line.now);
    assert_eq!(line.lanes.wanted(), 1);
}

#[test]
fn silence_lets_one_more_look() {
    let mut line = Line::new(4);
    assert_eq!(line.pass(QUIET.as_secs() + 10, |_| 0), 2, "one, not more");
    line.lanes.stalled();
    assert_eq!(line.lanes.wanted(), 1);
    let mut line = Line::new(1);
    assert_eq!(line.pass(20, |_| 0), 1);
}

proptest! {
    #[test]
    fn never_none_and_never_too_many(
        most in 1_usize..6,
        steps in prop::collection::vec((0_u64..5_000_000, 0_usize..7, 0_u64..3, 0_u8..5), 0..300),
    ) {
        let mut lanes = Lanes::new(most);
        let (mut now, mut received) = (Duration::ZERO, 0);
        for (more, live, round_trip, event) in steps {
            now += TICK;
            received += more;
            let round_trip = Duration::from_secs(round_trip);
            match event {
                0 => lanes.refused(now),
                1 => lanes.fewer(now),
                2 => lanes.stalled(),
                _ => lanes.look(Sight { now, received, live, remaining: 1 << 40, round_trip, limited: false }),
            }
            prop_assert!((1..=most).contains(&lanes.wanted()));
        }
    }
}
