//! How often one may guess: failures per account and address, and per address over all accounts.
//!
//! A classroom signs in from one address, so an address is allowed many failures; one account from one address few.
//! An attempt counts from its beginning and is taken back when it succeeds, so guesses made at once don't slip through.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use carrel_model::{TimeMs, time::MINUTE_MS};

const WINDOW_MS: i64 = 15 * MINUTE_MS;
const PER_ACCOUNT_AND_ADDRESS: u32 = 5;
const PER_ADDRESS: u32 = 200;
/// Beyond this many counters those whose window has passed are dropped, and then all: memory is bounded either way.
const MAX_COUNTERS: usize = 20_000;

#[derive(Debug, Clone, Copy)]
struct Counter {
    since: TimeMs,
    failures: u32,
}

/// Counts failed sign-ins.
#[derive(Default)]
pub(crate) struct Attempts {
    counters: Mutex<HashMap<(String, Option<IpAddr>), Counter>>,
}

impl Attempts {
    /// Counts an attempt, or says for how many milliseconds there may be none.
    pub(crate) fn begin(&self, name: &str, address: Option<IpAddr>, now: TimeMs) -> Result<(), u64> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= MAX_COUNTERS {
            counters.retain(|_, counter| now.since(counter.since) < WINDOW_MS);
            if counters.len() >= MAX_COUNTERS {
                counters.clear();
            }
        }
        let keys = keys(name, address);
        for (key, limit) in &keys {
            if let Some(counter) = counters.get(key).filter(|counter| counter.failures >= *limit) {
                let wait = WINDOW_MS - now.since(counter.since);
                if wait > 0 {
                    return Err(wait.unsigned_abs());
                }
            }
        }
        for (key, _) in keys {
            let counter = counters.entry(key).or_insert(Counter { since: now, failures: 0 });
            if now.since(counter.since) >= WINDOW_MS {
                *counter = Counter { since: now, failures: 0 };
            }
            counter.failures += 1;
        }
        Ok(())
    }

    /// Takes an attempt back: it was the right password.
    pub(crate) fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let [(own, _), (shared, _)] = keys(name, address);
        counters.remove(&own);
        if let Some(counter) = counters.get_mut(&shared) {
            counter.failures = counter.failures.saturating_sub(1);
        }
    }
}

fn keys(name: &str, address: Option<IpAddr>) -> [((String, Option<IpAddr>), u32); 2] {
    [((name.to_owned(), address), PER_ACCOUNT_AND_ADDRESS), ((String::new(), address), PER_ADDRESS)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_slowed_and_a_right_password_forgives() {
        let attempts = Attempts::default();
        let here = Some("192.0.2.1".parse().unwrap());
        let start = TimeMs::from_ms(0);
        for _ in 0..4 {
            attempts.begin("amina", here, start).unwrap();
        }
        attempts.succeeded("amina", here);
        for _ in 0..5 {
            assert_eq!(attempts.begin("amina", here, start), Ok(()), "five from anew after a success");
        }
        let later = start.plus_ms(MINUTE_MS);
        assert_eq!(attempts.begin("amina", here, later), Err(14 * 60_000), "the sixth has to wait");
        assert_eq!(attempts.begin("badr", here, later), Ok(()), "another account in the same classroom does not");
        assert_eq!(attempts.begin("amina", None, later), Ok(()), "nor the same one elsewhere");
        assert_eq!(attempts.begin("amina", here, start.plus_ms(WINDOW_MS)), Ok(()), "and the wait ends");
        for n in 0..PER_ADDRESS {
            let _ = attempts.begin(&n.to_string(), here, later);
        }
        assert!(attempts.begin("new", here, later).is_err(), "trying one password on many names ends, too");
    }
}
