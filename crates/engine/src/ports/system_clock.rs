//! The machine's own clock and randomness.

use std::time::{Instant, SystemTime};

use carrel_model::{TimeMs, trusted_time::Reading};
use rand::RngCore as _;

use super::Clock;

/// As if somebody had set this machine's clock so many seconds ahead, for tests of days; it gains nothing that setting the
/// clock would not.
const AHEAD: &str = "CARREL_CLOCK_AHEAD_SECONDS";

/// Reads the system's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
    ahead_ms: i64,
}

impl Default for SystemClock {
    fn default() -> Self {
        let ahead: Option<i64> = std::env::var(AHEAD).ok().and_then(|seconds| seconds.parse().ok());
        Self { start: Instant::now(), ahead_ms: ahead.unwrap_or(0).saturating_mul(1_000) }
    }
}

impl Clock for SystemClock {
    fn read(&self) -> Reading {
        let wall = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, i64::saturating_neg),
        };
        let monotonic_ms = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        Reading { wall: TimeMs::from_ms(wall).plus_ms(self.ahead_ms), monotonic_ms }
    }

    fn utc_offset_ms(&self, at: TimeMs) -> i64 {
        let zone = jiff::tz::TimeZone::system();
        let at = jiff::Timestamp::from_millisecond(at.as_ms()).unwrap_or_default();
        i64::from(zone.to_offset(at).seconds()) * 1_000
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
