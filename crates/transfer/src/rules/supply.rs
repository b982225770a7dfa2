//! The sources held at the moment, and which of them is asked. Pure.
//!
//! A source is known by a number that is never used again, so that what a lane learns of one that has been replaced
//! meanwhile hurts no other. Wrong bytes don't make a source disappear – it may be the only one that has a certain piece
//! right – but after some of them it is asked only for what the others couldn't give. That is remembered by origin: a new
//! address of the same server is no new server.
//!
//! How long an address lives is taken from our time of day when it came, and that may be wrong by any amount or jump. So
//! one that nobody has asked yet ends by the steady clock alone, and whatever the time of day does, each renewal is
//! followed by a request: an end that was none costs one renewal, and never an endless row of them.

use std::{collections::HashMap, time::Duration};

use url::Origin;

use crate::{Source, clock::Moment};

/// Names one source of one answer of [`Sources`](crate::Sources).
pub(crate) type SourceId = u32;

/// So many wrong pieces, and others are asked first.
const LIES_BELIEVED: u32 = 2;

#[derive(Debug)]
struct Held {
    id: SourceId,
    source: Source,
    origin: Origin,
    life: Life,
    ignores_ranges: bool,
}

/// How long an address works.
#[derive(Debug, Clone, Copy)]
struct Life {
    born: Moment,
    /// `None`: for ever – or it was over when it came: then the clocks differ and its end says nothing.
    length: Option<Duration>,
    /// Whether somebody has been sent there.
    asked: bool,
}

impl Life {
    fn of(source: &Source, now: Moment) -> Self {
        let left = source.expires_at.and_then(|at| u64::try_from(at.since(now.wall)).ok());
        Self { born: now, length: left.filter(|ms| *ms > 0).map(Duration::from_millis), asked: false }
    }

    fn is_over(self, now: Moment) -> bool {
        let age = if self.asked { now.since(self.born) } else { now.steady_since(self.born) };
        self.length.is_some_and(|length| age >= length)
    }
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
    life: Life,
}

impl Chosen {
    /// Whether its address has expired by our clocks.
    pub(crate) fn is_expired(&self, now: Moment) -> bool {
        self.life.is_over(now)
    }
}

impl Supply {
    /// Takes new sources in place of the old ones; those that aren't HTTP are left out.
    pub(crate) fn replace(&mut self, sources: Vec<Source>, now: Moment) {
        self.at = 0;
        self.held.clear();
        for source in &sources {
            if matches!(source.url.scheme(), "http" | "https") {
                let (id, origin, life) = (self.next, source.url.origin(), Life::of(source, now));
                self.next += 1;
                self.held.push(Held { id, source: source.clone(), origin, life, ignores_ranges: false });
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
        Chosen { id: held.id, source: held.source.clone(), ignores_ranges: held.ignores_ranges, life: held.life }
    }

    /// Somebody is sent to this source.
    pub(crate) fn note_asked(&mut self, id: SourceId) {
        for held in self.held.iter_mut().filter(|held| held.id == id) {
            held.life.asked = true;
        }
    }

    /// Whether the source to ask has expired by our clocks.
    pub(crate) fn is_expired(&self, now: Moment) -> bool {
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
