//! Chance that repeats: everything random in a history comes from its seed.

use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::SmallRng};

/// A source of chance.
#[derive(Debug, Clone)]
pub struct Chance(SmallRng);

impl Chance {
    /// The same seed gives the same chances.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// One of `0..end`; 0 where there is nothing to choose from.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// A number of `from..=to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        self.0.random_range(from..=to.max(from))
    }

    /// In `0.0..1.0`.
    pub fn fraction(&mut self) -> f64 {
        self.0.random()
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(among.len() as u64)).unwrap_or_default();
        among.get(index)
    }

    /// Bytes for an id.
    pub fn bytes(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// Mostly short, sometimes very long: milliseconds from `short` up to `long`, evenly spread over orders of magnitude.
    pub fn spread(&mut self, short: i64, long: i64) -> i64 {
        let (short, long) = (short.max(1), long.max(1));
        let (low, high) = ((short as f64).ln(), (long as f64).ln());
        (low + (high - low) * self.fraction()).exp() as i64
    }
}
