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

/// A moment by both clocks of the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The time of day; may jump.
    pub(crate) wall: TimeMs,
    /// Time since some fixed moment, never backwards; may stand still while the device sleeps.
    pub(crate) steady: Duration,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: clock.elapsed() }
    }

    /// The longer of what the two clocks say has passed: one of them doesn't notice sleep, anybody can set the other back.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let wall = u64::try_from(self.wall.since(earlier.wall)).unwrap_or(0);
        self.steady_since(earlier).max(Duration::from_millis(wall))
    }

    /// What has passed whatever anybody did to the time of day.
    pub(crate) fn steady_since(self, earlier: Self) -> Duration {
        self.steady.saturating_sub(earlier.steady)
    }
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
