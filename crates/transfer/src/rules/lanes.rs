//! How many lanes a fetch has. Pure: told what has arrived by when, it answers how many are wanted.
//!
//! One at first. Another one is tried after the speed has been measured over a window, and kept only if the next window is
//! more than a tenth faster – never on a guess. Windows are several round trips long, so that a new connection has left its
//! slow start behind; one that didn't gain, or wasn't let in, isn't tried again for a while. When nothing at all arrives
//! for some seconds one lane more is let in: a fresh connection finds out whether the line or only the old one is dead.

use std::time::Duration;

/// A lane must bring so much more than there was without it.
const GAIN: f64 = 1.1;
const SHORTEST_WINDOW: Duration = Duration::from_millis(600);
const LONGEST_WINDOW: Duration = Duration::from_secs(5);
const WINDOW_ROUND_TRIPS: u32 = 8;
/// After a lane came or went, the speed isn't looked at for so many round trips.
const SETTLING_ROUND_TRIPS: u32 = 4;
const SHORTEST_SETTLING: Duration = Duration::from_millis(200);
/// A lane is worth its connection if so many windows of work lie ahead.
const WINDOWS_AHEAD: f64 = 4.0;
const FIRST_REST: Duration = Duration::from_secs(20);
const LONGEST_REST: Duration = Duration::from_secs(320);
/// Nothing has arrived for so long: one lane more may look.
const QUIET: Duration = Duration::from_secs(3);

/// What there is to see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    pub(crate) now: Duration,
    /// Bytes received since the fetch began.
    pub(crate) received: u64,
    /// Lanes that receive a body.
    pub(crate) live: usize,
    /// Bytes still to come.
    pub(crate) remaining: u64,
    /// The time between a request and the beginning of its answer.
    pub(crate) round_trip: Duration,
    /// A limit of our own holds the speed down: more lanes gain nothing.
    pub(crate) limited: bool,
}

#[derive(Debug)]
pub(crate) struct Lanes {
    most: usize,
    wanted: usize,
    /// The speed without the lane that is on trial.
    without: Option<f64>,
    window: Option<Window>,
    rest_until: Duration,
    rest: Duration,
    moved: (u64, Duration),
    rescue: bool,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    from: Duration,
    received: Option<u64>,
}

impl Lanes {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            wanted: 1,
            without: None,
            window: None,
            rest_until: Duration::ZERO,
            rest: FIRST_REST,
            moved: (0, Duration::ZERO),
            rescue: false,
        }
    }

    pub(crate) const fn wanted(&self) -> usize {
        self.wanted
    }

    /// Looks again; a few times a second.
    pub(crate) fn look(&mut self, sight: Sight) {
        let Sight { now, received, live, round_trip, .. } = sight;
        if received != self.moved.0 || live == 0 {
            self.moved = (received, now);
        } else if now.saturating_sub(self.moved.1) >= QUIET && !self.rescue && self.wanted < self.most {
            self.rescue = true;
            self.wanted += 1;
            self.restart();
        }
        if live != self.wanted {
            self.window = None;
            return;
        }
        let settling = (round_trip * SETTLING_ROUND_TRIPS).max(SHORTEST_SETTLING).min(LONGEST_WINDOW);
        let window = self.window.get_or_insert(Window { from: now + settling, received: None });
        let Some(before) = window.received else {
            if now >= window.from {
                *window = Window { from: now, received: Some(received) };
            }
            return;
        };
        let passed = now.saturating_sub(window.from);
        let length = (round_trip * WINDOW_ROUND_TRIPS).clamp(SHORTEST_WINDOW, LONGEST_WINDOW);
        if passed >= length {
            let speed = bytes(received.saturating_sub(before)) / passed.as_secs_f64();
            *window = Window { from: now, received: Some(received) };
            self.decide(sight, speed, length);
        }
    }

    fn decide(&mut self, sight: Sight, speed: f64, length: Duration) {
        if let Some(without) = self.without.take() {
            if speed <= without * GAIN {
                self.wanted = (self.wanted - 1).max(1);
                self.pause(sight.now);
                return;
            }
            self.rest = FIRST_REST;
        }
        let ahead = bytes(sight.remaining) / speed.max(1.0) > WINDOWS_AHEAD * length.as_secs_f64();
        if self.wanted < self.most && speed > 0.0 && ahead && !sight.limited && sight.now >= self.rest_until {
            self.without = Some(speed);
            self.wanted += 1;
            self.window = None;
        }
    }

    /// A further connection was not let in: go on without, and don't ask again for a while.
    pub(crate) fn refused(&mut self, now: Duration) {
        self.wanted = self.wanted.saturating_sub(1).max(1);
        self.pause(now);
    }

    /// The source can't serve parts: one lane, for good.
    pub(crate) const fn only_one(&mut self) {
        self.most = 1;
        self.wanted = 1;
        self.restart();
    }

    /// The source asked for patience.
    pub(crate) fn fewer(&mut self, now: Duration) {
        self.wanted = (self.wanted / 2).max(1);
        self.pause(now);
    }

    /// A lane was given up because nothing came; the one that was let in to look takes its place.
    pub(crate) fn stalled(&mut self) {
        if self.rescue {
            self.rescue = false;
            self.wanted = self.wanted.saturating_sub(1).max(1);
        }
        self.restart();
    }

    /// The speed so far says nothing about what comes: connections were made anew.
    pub(crate) const fn restart(&mut self) {
        self.without = None;
        self.window = None;
    }

    fn pause(&mut self, now: Duration) {
        self.restart();
        self.rest_until = now + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a speed")]
const fn bytes(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
