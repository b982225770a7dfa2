//! Whether a connection still moves. Pure: bytes and time in, an end of patience out.
//!
//! Fewer than so many bytes within the last window, and it has stalled. The window slides in quarters, so that a stall is
//! noticed at most a quarter late and one byte per second counts as what it is.

use std::time::Duration;

const QUARTERS: usize = 4;

#[derive(Debug)]
pub(crate) struct Stall {
    quarter: Duration,
    least: u64,
    next: Duration,
    arrived: [u64; QUARTERS],
    seen: usize,
}

impl Stall {
    /// Begins now; a connection that brings fewer than `least` bytes (at least one) within `window` has stalled.
    pub(crate) fn new(window: Duration, least: u64, now: Duration) -> Self {
        let quarter = (window / 4).max(Duration::from_millis(1));
        Self { quarter, least: least.max(1), next: now + quarter, arrived: [0; QUARTERS], seen: 0 }
    }

    /// So many bytes have arrived.
    pub(crate) const fn arrived(&mut self, bytes: u64) {
        let [.., now] = &mut self.arrived;
        *now = now.saturating_add(bytes);
    }

    /// When to [`look`](Self::look) next.
    pub(crate) const fn next(&self) -> Duration {
        self.next
    }

    /// Whether it has stalled by now.
    pub(crate) fn look(&mut self, now: Duration) -> bool {
        while self.next <= now {
            self.seen += 1;
            if self.seen >= QUARTERS
                && self.arrived.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes)) < self.least
            {
                return true;
            }
            self.arrived.rotate_left(1);
            let [.., latest] = &mut self.arrived;
            *latest = 0;
            self.next += self.quarter;
        }
        false
    }

    /// We did not read for so long, for reasons of our own.
    pub(crate) fn excuse(&mut self, paused: Duration) {
        self.next += paused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(40);

    fn runs_for(least: u64, mut bytes: impl FnMut(u64) -> u64) -> u64 {
        let mut stall = Stall::new(WINDOW, least, Duration::ZERO);
        (1..1000)
            .find(|second| {
                let stalled = stall.look(Duration::from_secs(*second));
                stall.arrived(bytes(*second));
                stalled
            })
            .unwrap_or(u64::MAX)
    }

    #[test]
    fn silence_and_a_trickle_are_stalls_and_slow_is_not() {
        assert_eq!(runs_for(1024, |_| 0), 40);
        assert_eq!(runs_for(1024, |_| 1), 40);
        assert_eq!(runs_for(1024, |_| 30), u64::MAX);
        assert!((100..=150).contains(&runs_for(1024, |second| if second <= 100 { 5000 } else { 0 })));
    }

    #[test]
    fn a_pause_of_our_own_is_no_stall() {
        let mut stall = Stall::new(WINDOW, 1, Duration::ZERO);
        stall.excuse(Duration::from_secs(100));
        assert!(!stall.look(Duration::from_secs(100)));
        assert!(stall.look(Duration::from_secs(141)));
    }
}
