//! The service's clock, injected: rules and stores are given times and never read one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use carrel_model::TimeMs;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> TimeMs + Send + Sync>;

/// As if somebody had set this machine's clock so many seconds ahead, for tests of days.
const AHEAD: &str = "CARREL_CLOCK_AHEAD_SECONDS";

/// The clock of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    let ahead: Option<i64> = std::env::var(AHEAD).ok().and_then(|seconds| seconds.parse().ok());
    let ahead_ms = ahead.unwrap_or(0).saturating_mul(1_000);
    Arc::new(move || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimeMs::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).plus_ms(ahead_ms)
    })
}
