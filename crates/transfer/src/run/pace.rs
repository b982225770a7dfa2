//! Limits of speed while bytes flow: one for all fetches, one for each.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::rules::rate::Bucket;

/// A changed limit holds after at most so long.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// A limit that may be changed by anybody at any time. Without one it costs a load of a number.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// 0: none.
    rate: AtomicU64,
    bucket: Mutex<Followed>,
}

/// The bucket, and the rate it knows of: whoever changes the rate has no clock to tell the bucket.
#[derive(Debug, Default)]
struct Followed {
    bucket: Bucket,
    rate: u64,
}

impl Pace {
    /// Changes the limit.
    pub(crate) fn set(&self, bytes_per_second: Option<u64>) {
        self.rate.store(bytes_per_second.map_or(0, |rate| rate.max(1)), Ordering::Relaxed);
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.rate.load(Ordering::Relaxed) > 0
    }

    fn with<T>(&self, now: Duration, act: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut followed = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.rate.load(Ordering::Relaxed);
        if rate != followed.rate {
            followed.rate = rate;
            followed.bucket.set((rate > 0).then_some(rate), now);
        }
        act(&mut followed.bucket)
    }

    /// Gives permission for at most `wanted` bytes under both limits, or says how long to wait before asking again.
    pub(crate) fn take(&self, other: &Self, wanted: u64, now: Duration) -> Result<u64, Duration> {
        let wait = |wait: Duration| wait.clamp(Duration::from_millis(1), LONGEST_WAIT);
        let mine = self.with(now, |bucket| bucket.take(wanted, now)).map_err(wait)?;
        match other.with(now, |bucket| bucket.take(mine, now)) {
            Ok(both) => {
                self.give_back(mine - both, now);
                Ok(both)
            }
            Err(longer) => {
                self.give_back(mine, now);
                Err(wait(longer))
            }
        }
    }

    /// Takes back what was given and not used.
    pub(crate) fn give_back(&self, bytes: u64, now: Duration) {
        if bytes > 0 {
            self.with(now, |bucket| bucket.give_back(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_two_limits_holds() {
        let (fetch, all) = (Pace::default(), Pace::default());
        assert_eq!(fetch.take(&all, 1 << 20, Duration::ZERO), Ok(1 << 20));
        all.set(Some(1_000_000));
        fetch.set(Some(100_000));
        let (mut total, mut now) = (0, Duration::ZERO);
        while now < Duration::from_secs(10) {
            match fetch.take(&all, 1 << 16, now) {
                Ok(given) => total += given,
                Err(wait) => now += wait,
            }
        }
        assert!((980_000..=1_026_000).contains(&total), "{total}");
        fetch.set(None);
        all.set(None);
        assert_eq!(fetch.take(&all, 1 << 20, now), Ok(1 << 20));
    }
}
