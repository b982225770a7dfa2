//! The service's clock, injected: rules and stores are given times and never read one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use carrel_model::TimeMs;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> TimeMs + Send + Sync>;

/// The clock of this machine.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimeMs::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}
