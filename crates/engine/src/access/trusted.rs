//! Trusted time between runs: the rule is `carrel_model::trusted_time`, this keeps its state.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carrel_model::{
    TimeMs,
    trusted_time::{Reading, TrustedClock, TrustedTime},
};

use crate::{EngineError, library::Library, ports::Clock};

/// Its name in the table `metadata`.
const NAME: &str = "trusted_time";

/// Trusted time. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    clock: Arc<dyn Clock>,
    now: Arc<Mutex<TrustedClock>>,
    library: Library,
}

impl Trusted {
    /// Goes on from what was kept.
    pub(crate) async fn open(library: Library, clock: Arc<dyn Clock>) -> Result<Self, sqlx::Error> {
        let kept: Option<String> = sqlx::query_scalar("SELECT value FROM metadata WHERE name = ?1")
            .bind(NAME)
            .fetch_optional(library.readers())
            .await?;
        // What can't be read back is as good as never kept: the wall clock is believed once more.
        let kept: TrustedTime = kept.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        let now = Arc::new(Mutex::new(TrustedClock::start(kept, clock.read())));
        Ok(Self { clock, now, library })
    }

    /// Trusted time now.
    pub(crate) fn now(&self) -> TimeMs {
        self.guard().now(self.clock.read())
    }

    /// The service said what time it is.
    pub(crate) fn service_said(&self, time: TimeMs) {
        self.guard().service_said(time, self.clock.read());
    }

    /// How far the wall clock is off, when it is worth telling.
    pub(crate) fn wall_clock_off_by_ms(&self) -> Option<i64> {
        let mut guard = self.guard();
        guard.now(self.clock.read());
        guard.wall_clock_off_by_ms()
    }

    /// Writes it down, so that turning the clock back and starting anew gains nothing.
    pub(crate) async fn keep(&self) -> Result<(), EngineError> {
        self.now();
        let json = serde_json::to_string(&self.guard().kept())?;
        let mut tx = self.library.write().await?;
        sqlx::query(
            "INSERT INTO metadata (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(NAME)
        .bind(json)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    fn guard(&self) -> MutexGuard<'_, TrustedClock> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Trusted time in the place of the wall clock. Stamps and due dates are written by it: with a wall clock that is ten
/// years ahead for a day, everything written later would lie behind what that day stamped.
impl Clock for Trusted {
    fn read(&self) -> Reading {
        Reading { wall: self.now(), monotonic_ms: self.clock.read().monotonic_ms }
    }

    fn utc_offset_ms(&self, at: TimeMs) -> i64 {
        self.clock.utc_offset_ms(at)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.clock.fill_random(bytes);
    }
}
