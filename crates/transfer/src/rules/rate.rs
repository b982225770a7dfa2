//! A limit of bytes per second. Pure: time in, permission out.
//!
//! A bucket that fills evenly and holds little, so that a pause is never made good by a burst. The rate may change at any
//! moment; what has been given stays given.

use std::time::Duration;

/// The bucket holds what flows in during this time.
const DEPTH_SECONDS: f64 = 0.25;
/// Waiting is for this many portions per second at most, so that the flow is even but nobody wakes for single bytes.
const PORTIONS_PER_SECOND: f64 = 40.0;
const LARGEST_PORTION: f64 = 262_144.0;

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    rate: Option<f64>,
    level: f64,
    at: Duration,
}

impl Bucket {
    /// Changes the rate; `None` takes the limit off. Less than a byte per second is a byte per second.
    pub(crate) fn set(&mut self, rate: Option<u64>, now: Duration) {
        self.fill(now);
        self.rate = rate.map(|rate| float(rate.max(1)));
        self.level = self.level.min(self.depth());
    }

    /// Gives permission for at least one byte and at most `wanted`, or says how long to wait before asking again.
    pub(crate) fn take(&mut self, wanted: u64, now: Duration) -> Result<u64, Duration> {
        let Some(rate) = self.rate else { return Ok(wanted) };
        self.fill(now);
        let wanted = float(wanted);
        let portion = wanted.min((rate / PORTIONS_PER_SECOND).clamp(1.0, LARGEST_PORTION));
        if self.level < portion {
            return Err(Duration::from_secs_f64((portion - self.level) / rate));
        }
        let given = wanted.min(self.level).floor();
        self.level -= given;
        Ok(whole(given))
    }

    /// Takes back what was given and not used.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        if self.rate.is_some() {
            self.level = (self.level + float(bytes)).min(self.depth());
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        if let Some(rate) = self.rate {
            self.level = rate.mul_add(passed, self.level).min(self.depth());
        }
    }

    fn depth(&self) -> f64 {
        self.rate.map_or(0.0, |rate| (rate * DEPTH_SECONDS).max(1.0))
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody limits to more than 2^53 bytes per second")]
const fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and no more than was wanted"
)]
const fn whole(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
#[path = "rate_tests.rs"]
mod tests;
