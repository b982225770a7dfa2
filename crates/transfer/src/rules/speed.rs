//! Speed over the last seconds: an average that forgets.

use std::time::Duration;

/// After so long a sample weighs a third.
const MEMORY_SECONDS: f64 = 3.0;

#[derive(Debug, Default)]
pub(crate) struct Speed {
    per_second: f64,
    since: Option<Duration>,
    pending: u64,
}

impl Speed {
    /// So many bytes arrived.
    pub(crate) const fn add(&mut self, bytes: u64) {
        self.pending = self.pending.saturating_add(bytes);
    }

    /// The speed at this moment, given time since any fixed moment.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a display value"
    )]
    pub(crate) fn at(&mut self, elapsed: Duration) -> u64 {
        let Some(since) = self.since.replace(elapsed) else {
            self.pending = 0;
            return 0;
        };
        let passed = elapsed.saturating_sub(since).as_secs_f64();
        if passed > 0.0 {
            let now = self.pending as f64 / passed;
            let keep = (-passed / MEMORY_SECONDS).exp();
            self.per_second = if self.per_second > 0.0 { self.per_second * keep + now * (1.0 - keep) } else { now };
            self.pending = 0;
        }
        self.per_second as u64
    }
}
