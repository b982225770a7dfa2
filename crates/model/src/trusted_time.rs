//! Trusted time: a clock that can't be turned back and that one wrong date can't run away with (requirement A3).
//!
//! `trusted_now = max(wall clock, highest time seen, last service time + monotonic time since)`. A wall clock behind that
//! is reported, not obeyed; one that jumps ahead without the service having said so advances it by at most 48 hours per
//! jump, so that a wrong date can't burn a lease.

use serde::{Deserialize, Serialize};

use crate::{TimeMs, time::HOUR_MS};

/// How far an unsynced jump of the wall clock may advance trusted time.
pub const MAX_UNSYNCED_JUMP_MS: i64 = 48 * HOUR_MS;
/// From this difference on a wall clock counts as wrong and is shown as such.
pub const CLOCK_SKEW_NOTICED_MS: i64 = 2 * 60 * 1_000;

/// What is kept between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrustedTime {
    highest: TimeMs,
    /// How far the wall clock is believed to be ahead of trusted time.
    skew_ms: i64,
}

/// What the clocks say: the wall clock and milliseconds since this process started, which no one can turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: TimeMs,
    /// Monotonic milliseconds.
    pub monotonic_ms: i64,
}

/// Trusted time within one run.
#[derive(Debug, Clone, Copy)]
pub struct TrustedClock {
    kept: TrustedTime,
    last: Reading,
}

impl TrustedClock {
    /// Starts from what was kept. The first time ever there is nothing but the wall clock to believe.
    #[must_use]
    pub fn start(kept: TrustedTime, reading: Reading) -> Self {
        let first = kept.highest == TimeMs::default();
        let kept = if first { TrustedTime { highest: reading.wall, skew_ms: 0 } } else { kept };
        let mut clock = Self { kept, last: reading };
        clock.now(reading);
        clock
    }

    /// The service said what time it is; that is believed.
    pub fn service_said(&mut self, service_time: TimeMs, reading: Reading) {
        self.kept = TrustedTime { highest: service_time, skew_ms: reading.wall.since(service_time) };
        self.last = reading;
    }

    /// Trusted time now. Never runs backwards, except where the service itself says it is earlier.
    ///
    /// Monotonic time always counts. The wall clock, less its known skew, counts for time that passed while the app or the
    /// device slept. Where it jumps further than the allowance, or back, the rest of the jump is taken for an error of the
    /// clock and becomes skew: so a wrong date costs one allowance, not one for every start.
    pub fn now(&mut self, reading: Reading) -> TimeMs {
        let elapsed = reading.monotonic_ms.saturating_sub(self.last.monotonic_ms).max(0);
        let counted = self.kept.highest.plus_ms(elapsed);
        let ahead = reading.wall.plus_ms(self.kept.skew_ms.saturating_neg()).since(counted);
        let now = counted.plus_ms(ahead.clamp(0, MAX_UNSYNCED_JUMP_MS));
        if !(-CLOCK_SKEW_NOTICED_MS..=MAX_UNSYNCED_JUMP_MS).contains(&ahead) {
            self.kept.skew_ms = reading.wall.since(now);
        }
        self.kept.highest = now;
        self.last = reading;
        now
    }

    /// How far the wall clock is off (negative: behind), if it is worth telling.
    #[must_use]
    pub fn wall_clock_off_by_ms(&self) -> Option<i64> {
        let off = self.last.wall.since(self.kept.highest);
        (off.abs() > CLOCK_SKEW_NOTICED_MS).then_some(off)
    }

    /// What to keep for the next run.
    #[must_use]
    pub const fn kept(&self) -> TrustedTime {
        self.kept
    }
}

#[cfg(test)]
#[path = "trusted_time_tests.rs"]
mod tests;
