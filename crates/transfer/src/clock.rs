//! Time and chance as a fetch sees them: injected, so that tests wait for nothing and jitter repeats.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use carrel_model::TimeMs;

/// Waiting, measuring and dicing.
#[async_trait::async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day: to judge `expires_at` and dates in `Retry-After`. May be wrong by any amount.
    fn now(&self) -> TimeMs;
    /// Time since some fixed moment, never backwards: to measure speed.
    fn elapsed(&self) -> Duration;
    /// Waits between two attempts.
    async fn sleep(&self, duration: Duration);
    /// A random number in `0.0..1.0` that spreads retries.
    fn jitter(&self) -> f64;
}

/// The machine's own clock and randomness.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now(&self) -> TimeMs {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        TimeMs::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn jitter(&self) -> f64 {
        rand::random()
    }
}
