//! The sources held at the moment, and which of them is asked. Pure.

use carrel_model::TimeMs;

use crate::Source;

#[derive(Debug)]
struct Held {
    source: Source,
    /// It was past its expiry when it came: then the clocks differ and its expiry says nothing.
    late_at_birth: bool,
    ignores_ranges: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Supply {
    held: Vec<Held>,
    at: usize,
}

impl Supply {
    /// Takes new sources in place of the old ones; those that aren't HTTP are left out.
    pub(crate) fn replace(&mut self, sources: Vec<Source>, now: TimeMs) {
        self.at = 0;
        self.held = sources
            .into_iter()
            .filter(|source| matches!(source.url.scheme(), "http" | "https"))
            .map(|source| {
                let late_at_birth = source.expires_at.is_some_and(|at| at <= now);
                Held { source, late_at_birth, ignores_ranges: false }
            })
            .collect();
    }

    /// The source to ask now, unless all have been dropped.
    pub(crate) fn current(&self) -> Option<&Source> {
        self.held.get(self.at).map(|held| &held.source)
    }

    /// Whether the current source has expired by our clock.
    pub(crate) fn is_expired(&self, now: TimeMs) -> bool {
        self.held
            .get(self.at)
            .is_some_and(|held| !held.late_at_birth && held.source.expires_at.is_some_and(|at| at <= now))
    }

    pub(crate) const fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Turns to the next source.
    pub(crate) const fn rotate(&mut self) {
        self.at = if self.at + 1 < self.held.len() { self.at + 1 } else { 0 };
    }

    /// Leaves the current source out from now on.
    pub(crate) fn drop_current(&mut self) {
        if self.at < self.held.len() {
            self.held.remove(self.at);
        }
        if self.at >= self.held.len() {
            self.at = 0;
        }
    }

    /// The current source has answered a range with the whole blob.
    pub(crate) fn note_range_ignored(&mut self) {
        if let Some(held) = self.held.get_mut(self.at) {
            held.ignores_ranges = true;
        }
    }

    pub(crate) fn ignores_ranges(&self) -> bool {
        self.held.get(self.at).is_some_and(|held| held.ignores_ranges)
    }
}
