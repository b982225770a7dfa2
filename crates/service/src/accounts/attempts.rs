//! How often one may guess.
//!
//! A classroom signs in from one address, so what somebody mistypes must not hold up the others; and whoever wants to lock
//! a learner out only has to guess wrong, so no wait that others can cause is long. Three counts, each with its own wait:
//!
//! | of | free | then |
//! |---|---|---|
//! | one account from one address | 5 failures | a wait that doubles from 30 s to 15 min with each failure; forgotten after an hour without any |
//! | one account, from anywhere | 50 | one every 30 s |
//! | one address, over all accounts | 300 | five a second |
//!
//! A right password clears both counts of its account. An attempt counts from its beginning and is taken back if it
//! succeeds or could not be judged, so guesses made at once don't slip through. The wait is what `Retry-After` says.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use carrel_model::{TimeMs, time::MINUTE_MS};

const FREE_FAILURES: u32 = 5;
const FIRST_WAIT_MS: i64 = MINUTE_MS / 2;
const LONGEST_WAIT_MS: i64 = 15 * MINUTE_MS;
const FORGOTTEN_AFTER_MS: i64 = 60 * MINUTE_MS;
const OF_ACCOUNT: Rate = Rate { at_once: 50, then_every_ms: MINUTE_MS / 2 };
const OF_ADDRESS: Rate = Rate { at_once: 300, then_every_ms: 200 };
/// Beyond this many counters of a kind those that hold nobody up any more are dropped, and then all: memory is bounded
/// either way.
const MAX_COUNTERS: usize = 20_000;

/// Counts sign-ins that have not succeeded.
#[derive(Default)]
pub(crate) struct Attempts {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    guesses: HashMap<(String, Option<IpAddr>), Guesses>,
    accounts: HashMap<String, Allowance>,
    addresses: HashMap<Option<IpAddr>, Allowance>,
}

impl Attempts {
    /// Counts an attempt, or says for how many milliseconds there may be none.
    pub(crate) fn begin(&self, name: &str, address: Option<IpAddr>, now: TimeMs) -> Result<(), u64> {
        let address = address.map(network);
        let mut counts = self.counts();
        let Counts { guesses, accounts, addresses } = &mut *counts;
        make_room(guesses, |guesses| now.since(guesses.last) < FORGOTTEN_AFTER_MS);
        make_room(accounts, |allowance| allowance.used_until > now);
        make_room(addresses, |allowance| allowance.used_until > now);
        let guesses = guesses.entry((name.to_owned(), address)).or_insert(Guesses { failures: 0, last: now });
        let account = accounts.entry(name.to_owned()).or_default();
        let address = addresses.entry(address).or_default();
        let wait = guesses.wait(now).max(account.wait(OF_ACCOUNT, now)).max(address.wait(OF_ADDRESS, now));
        if wait > 0 {
            return Err(wait.unsigned_abs());
        }
        guesses.count(now);
        account.use_one(OF_ACCOUNT, now);
        address.use_one(OF_ADDRESS, now);
        Ok(())
    }

    /// It was the right password.
    pub(crate) fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        let address = address.map(network);
        let mut counts = self.counts();
        counts.guesses.remove(&(name.to_owned(), address));
        counts.accounts.remove(name);
        if let Some(allowance) = counts.addresses.get_mut(&address) {
            allowance.give_back(OF_ADDRESS);
        }
    }

    /// The password was not looked at.
    pub(crate) fn withdrawn(&self, name: &str, address: Option<IpAddr>) {
        let address = address.map(network);
        let mut counts = self.counts();
        if let Some(guesses) = counts.guesses.get_mut(&(name.to_owned(), address)) {
            guesses.failures = guesses.failures.saturating_sub(1);
        }
        if let Some(allowance) = counts.accounts.get_mut(name) {
            allowance.give_back(OF_ACCOUNT);
        }
        if let Some(allowance) = counts.addresses.get_mut(&address) {
            allowance.give_back(OF_ADDRESS);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Failures of one account from one address.
#[derive(Debug, Clone, Copy)]
struct Guesses {
    failures: u32,
    last: TimeMs,
}

impl Guesses {
    fn wait(self, now: TimeMs) -> i64 {
        let Some(beyond) = self.failures.checked_sub(FREE_FAILURES) else { return 0 };
        let wait = FIRST_WAIT_MS.saturating_mul(1 << beyond.min(10)).min(LONGEST_WAIT_MS);
        wait - now.since(self.last)
    }

    fn count(&mut self, now: TimeMs) {
        let failures = if now.since(self.last) < FORGOTTEN_AFTER_MS { self.failures } else { 0 };
        *self = Self { failures: failures.saturating_add(1), last: now };
    }
}

/// So many at once, and one more each time an interval has passed.
#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: i64,
    then_every_ms: i64,
}

/// What is used of a rate: each attempt moves the end by one interval, and time catches up with it.
#[derive(Debug, Clone, Copy, Default)]
struct Allowance {
    used_until: TimeMs,
}

impl Allowance {
    fn wait(self, rate: Rate, now: TimeMs) -> i64 {
        self.used_until.since(now) - (rate.at_once - 1) * rate.then_every_ms
    }

    fn use_one(&mut self, rate: Rate, now: TimeMs) {
        self.used_until = self.used_until.max(now).plus_ms(rate.then_every_ms);
    }

    fn give_back(&mut self, rate: Rate) {
        self.used_until = self.used_until.plus_ms(-rate.then_every_ms);
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

fn make_room<K: Eq + Hash, V: Copy>(counters: &mut HashMap<K, V>, holds_up: impl Fn(V) -> bool) {
    if counters.len() >= MAX_COUNTERS {
        counters.retain(|_, counter| holds_up(*counter));
        // Each time at least half, or it would be looked through again with every attempt.
        if counters.len() > MAX_COUNTERS / 2 {
            counters.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TimeMs = TimeMs::from_ms(0);

    fn school() -> Option<IpAddr> {
        Some("192.0.2.1".parse().unwrap())
    }

    #[test]
    fn a_learner_is_not_held_up_by_what_others_mistype_at_the_same_address() {
        let attempts = Attempts::default();
        for n in 0..250 {
            attempts.begin(&format!("user{n}"), school(), START).unwrap();
        }
        for n in 0..30 {
            let learner = format!("learner{n}");
            for _ in 0..3 {
                let wait = attempts.begin(&learner, school(), START.plus_ms(n * 1000)).err().unwrap_or_default();
                assert!(wait <= 200, "learner {n} of a classroom waits {wait} ms");
            }
            attempts.succeeded(&learner, school());
        }
    }

    #[test]
    fn guessing_one_account_from_one_address_gets_slower_and_slower() {
        let attempts = Attempts::default();
        for _ in 0..4 {
            attempts.begin("amina", school(), START).unwrap();
        }
        attempts.succeeded("amina", school());
        let mut now = START;
        for _ in 0..5 {
            assert_eq!(attempts.begin("amina", school(), now), Ok(()), "five from anew after a success");
        }
        for wait in [30_u32, 60, 120, 240, 480, 900, 900] {
            let before = now.plus_ms(i64::from(wait) * 1000 - 1);
            assert_eq!(attempts.begin("amina", school(), before), Err(1), "a wait of {wait} s");
            assert_eq!(attempts.begin("badr", school(), before), Ok(()), "not for another account in the classroom");
            assert_eq!(attempts.begin("amina", None, before), Ok(()), "nor for the same one elsewhere");
            attempts.succeeded("badr", school());
            attempts.withdrawn("amina", None);
            now = before.plus_ms(1);
            assert_eq!(attempts.begin("amina", school(), now), Ok(()), "and it ends");
        }
        now = now.plus_ms(FORGOTTEN_AFTER_MS);
        for _ in 0..5 {
            assert_eq!(attempts.begin("amina", school(), now), Ok(()), "an hour later it is forgotten");
        }
    }

    #[test]
    fn guessing_one_account_from_many_addresses_is_slow_and_its_learner_waits_only_briefly() {
        let attempts = Attempts::default();
        let from = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        for n in 0..50 {
            assert_eq!(attempts.begin("amina", from(n), START), Ok(()));
        }
        assert_eq!(attempts.begin("amina", school(), START), Err(30_000), "half a minute, whoever asks");
        assert_eq!(attempts.begin("badr", from(1), START), Ok(()), "for this account only");
        let later = START.plus_ms(30_000);
        assert_eq!(attempts.begin("amina", school(), later), Ok(()));
        attempts.succeeded("amina", school());
        assert_eq!(attempts.begin("amina", from(99), later), Ok(()), "the right password clears the count");
    }

    #[test]
    fn trying_one_password_on_many_names_is_held_to_five_a_second() {
        let attempts = Attempts::default();
        let admitted = (0..2000).filter(|n| attempts.begin(&n.to_string(), school(), START).is_ok()).count();
        assert_eq!(admitted, 300);
        assert_eq!(attempts.begin("new", school(), START), Err(200), "and the wait is short");
        let later = START.plus_ms(1000);
        let admitted = (0..2000).filter(|n| attempts.begin(&format!("x{n}"), school(), later).is_ok()).count();
        assert_eq!(admitted, 5);
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let attempts = Attempts::default();
        let from = |text: &str| Some(text.parse().unwrap());
        for n in 0..5 {
            attempts.begin("amina", from(&format!("2001:db8::{n}")), START).unwrap();
        }
        assert!(attempts.begin("amina", from("2001:db8::ffff:1"), START).is_err(), "the same network");
        assert_eq!(attempts.begin("amina", from("2001:db8:0:1::1"), START), Ok(()), "another one");
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), school().unwrap(), "IPv4 in other clothes");
    }

    #[test]
    fn counters_are_bounded() {
        let attempts = Attempts::default();
        for n in 0..2 * i64::try_from(MAX_COUNTERS).unwrap() {
            let _ = attempts.begin(&n.to_string(), school(), START.plus_ms(n * 200));
        }
        let counts = attempts.counts();
        assert!(counts.guesses.len() <= MAX_COUNTERS && counts.accounts.len() <= MAX_COUNTERS);
    }
}
