//! Noticing that the machine was asleep. Pure.
//!
//! While it sleeps, the clock on the wall goes on and timers stand still. What it slept on – connections – is dead then, and
//! nobody says so: without this a transfer waits until it calls its server stalled.

use carrel_model::trusted_time::Reading;

/// The wall clock went on so much longer than timers did. A clock that was set by hand costs a few connections.
const ASLEEP_MS: i64 = 4_000;

/// Watches the two clocks.
#[derive(Debug, Default)]
pub(super) struct Awake {
    last: Option<Reading>,
}

impl Awake {
    /// Whether the machine slept since the last look.
    pub(super) fn slept(&mut self, now: Reading) -> bool {
        let Some(last) = self.last.replace(now) else { return false };
        let by_wall = now.wall.since(last.wall);
        let by_timers = now.monotonic_ms.saturating_sub(last.monotonic_ms);
        by_wall.saturating_sub(by_timers) > ASLEEP_MS
    }

    /// Nothing runs: what comes next begins anew.
    pub(super) fn rest(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use carrel_model::TimeMs;

    use super::*;

    #[test]
    fn sleep_is_where_the_wall_clock_goes_on_and_timers_do_not() {
        let at = |wall, monotonic_ms| Reading { wall: TimeMs::from_ms(wall), monotonic_ms };
        let mut awake = Awake::default();
        assert!(!awake.slept(at(1_000_000, 0)), "the first look knows nothing");
        assert!(!awake.slept(at(1_060_000, 60_000)), "a long while is no sleep");
        assert!(awake.slept(at(1_070_000, 60_200)), "ten seconds that timers know nothing of");
        assert!(!awake.slept(at(1_070_200, 60_400)), "and it is said once");
        assert!(!awake.slept(at(900_000, 60_600)), "a clock that is set back");
        awake.rest();
        assert!(!awake.slept(at(2_000_000, 60_800)), "nothing ran meanwhile");
    }
}
