//! The sources held at the moment, and which of them is asked. Pure.
//!
//! A source is known by a number that is never used again, so that what a lane learns of one that has been replaced
//! meanwhile hurts no other. Wrong bytes don't make a source disappear – it may be the only one that has a certain piece
//! right – but after some of them it is asked only for what the others couldn't give. That is remembered by origin: a new
//! address of the same server is no new server.

use std::collections::HashMap;

use carrel_model::TimeMs;
use url::Origin;

use crate::Source;

/// Names one source of one answer of [`Sources`](crate::Sources).
pub(crate) type SourceId = u32;

/// So many wrong pieces, and others are asked first.
const LIES_BELIEVED: u32 = 2;

#[derive(Debug)]
struct Held {
    id: SourceId,
    source: Source,
    origin: Origin,
    /// It was past its expiry when it came: then the clocks differ and its expiry says nothing.
    late_at_birth: bool,
    ignores_ranges: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Supply {
    held: Vec<Held>,
    /// Everything the last answer held, the dropped ones included.
    answer: Vec<Source>,
    at: usize,
    next: SourceId,
    lies: HashMap<Origin, u32>,
}

/// A source to ask.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) id: SourceId,
    pub(crate) source: Source,
    /// It has answered a range with the whole blob.
    pub(crate) ignores_ranges: bool,
    /// When its address ends, as far as that can be believed.
    expires_at: Option<TimeMs>,
}

impl Chosen {
    /// Whether its address has expired by our clock.
    pub(crate) fn is_expired(&self, now: TimeMs) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Supply {
    /// Takes new sources in place of the old ones; those that aren't HTTP are left out.
    pub(crate) fn replace(&mut self, sources: Vec<Source>, now: TimeMs) {
        self.at = 0;
        self.held.clear();
        for source in &sources {
            if matches!(source.url.scheme(), "http" | "https") {
                let late_at_birth = source.expires_at.is_some_and(|at| at <= now);
                let (id, origin, source) = (self.next, source.url.origin(), source.clone());
                self.next += 1;
                self.held.push(Held { id, source, origin, late_at_birth, ignores_ranges: false });
            }
        }
        self.answer = sources;
    }

    /// What was held last, whether it was of use or not.
    pub(crate) fn answer(&self) -> &[Source] {
        &self.answer
    }

    /// The source to ask now, unless all have been dropped.
    pub(crate) fn current(&self) -> Option<Chosen> {
        self.preferred().map(Self::chosen)
    }

    /// The source to ask for a piece that these gave wrong: another one, if there is one.
    pub(crate) fn other_than(&self, blamed: &[Origin]) -> Option<Chosen> {
        let mut others = self.held.iter().filter(|held| !blamed.contains(&held.origin));
        others.next().map(Self::chosen).or_else(|| self.current())
    }

    fn preferred(&self) -> Option<&Held> {
        let turned = self.held.iter().cycle().skip(self.at).take(self.held.len());
        turned.clone().find(|held| self.is_trusted(held)).or_else(|| turned.clone().next())
    }

    fn is_trusted(&self, held: &Held) -> bool {
        self.lies.get(&held.origin).is_none_or(|lies| *lies < LIES_BELIEVED)
    }

    fn chosen(held: &Held) -> Chosen {
        let expires_at = held.source.expires_at.filter(|_| !held.late_at_birth);
        Chosen { id: held.id, source: held.source.clone(), ignores_ranges: held.ignores_ranges, expires_at }
    }

    /// Whether the source to ask has expired by our clock.
    pub(crate) fn is_expired(&self, now: TimeMs) -> bool {
        self.current().is_some_and(|chosen| chosen.is_expired(now))
    }

    /// Whether this source is still held.
    pub(crate) fn holds(&self, id: SourceId) -> bool {
        self.held.iter().any(|held| held.id == id)
    }

    pub(crate) const fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Turns away from this source to the next one, if it is the one asked.
    pub(crate) fn turn_from(&mut self, id: SourceId) {
        let asked = self.preferred().map(|held| held.id);
        if let Some(at) = self.held.iter().position(|held| held.id == id)
            && asked == Some(id)
        {
            self.at = if at + 1 < self.held.len() { at + 1 } else { 0 };
        }
    }

    /// Leaves this source out from now on.
    pub(crate) fn drop_source(&mut self, id: SourceId) {
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return };
        self.held.remove(at);
        if at < self.at {
            self.at -= 1;
        }
        if self.at >= self.held.len() {
            self.at = 0;
        }
    }

    /// A piece from this origin was wrong; `true` when another source is to be asked from now on.
    pub(crate) fn lied(&mut self, origin: &Origin) -> bool {
        let before = self.preferred().map(|held| held.id);
        let lies = self.lies.entry(origin.clone()).or_default();
        *lies = lies.saturating_add(1);
        before != self.preferred().map(|held| held.id)
    }

    /// This source has answered a range with the whole blob.
    pub(crate) fn note_range_ignored(&mut self, id: SourceId) {
        for held in self.held.iter_mut().filter(|held| held.id == id) {
            held.ignores_ranges = true;
        }
    }
}

#[cfg(test)]
#[path = "supply_tests.rs"]
mod tests;
