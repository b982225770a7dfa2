//! Addresses of one blob and how long they are good for. Pure.
//!
//! An address's life is what the service says it is: its end less the service's clock when it was given. From then on it
//! is measured by this device's clocks, and whichever of them has moved more decides: the steady one doesn't notice that
//! the device slept, the other one can be set back by anybody. So a clock that is wrong by a day changes nothing, and one
//! that jumps costs at most one renewal.

use std::time::Duration;

use carrel_model::TimeMs;

use crate::{ResolveReason, Source, clock::Moment};

/// An address is not begun with in the last twentieth of its life: a request takes time to arrive …
const MARGIN_PART: u32 = 20;
/// … but not more than this.
const MARGIN_MOST: Duration = Duration::from_secs(25);

/// What the service gave for one blob.
#[derive(Debug)]
pub(super) struct Held {
    /// Best first, each with its life. No life: it never ends, or its end was over when it came and says nothing.
    sources: Vec<(Source, Option<Duration>)>,
    born: Moment,
    /// Whether somebody has been given it.
    pub(super) handed: bool,
}

impl Held {
    /// Addresses asked for at `asked`, come at `came`, when the service's clock was `server_now`.
    pub(super) fn new(sources: Vec<Source>, server_now: TimeMs, asked: Moment, came: Moment) -> Self {
        let life = |source: &Source| {
            let ms = source.expires_at?.since(server_now);
            u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
        };
        let with_life = |source: Source| {
            let life = life(&source);
            (source, life)
        };
        let sources: Vec<_> = sources.into_iter().map(with_life).collect();
        let shortest = sources.iter().filter_map(|(_, life)| *life).min();
        // The service looked at its clock somewhere between the two; the earlier one is safe unless it leaves nothing.
        let slow = shortest.is_some_and(|life| came.since(asked) > life / 2);
        Self { sources, born: if slow { came } else { asked }, handed: false }
    }

    /// The addresses, `expires_at` by this device's clock and with the margin taken off.
    pub(super) fn sources(&self, now: Moment) -> Vec<Source> {
        let age = now.since(self.born);
        let told = |(source, life): &(Source, Option<Duration>)| {
            let left = life.map(|life| (life - margin(life)).saturating_sub(age));
            let ms = left.map(|left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
            Source { expires_at: ms.map(|ms| now.wall.plus_ms(ms)), ..source.clone() }
        };
        self.sources.iter().map(told).collect()
    }

    /// Whether whoever comes with this reason, having had these addresses, is helped with the ones here.
    pub(super) fn helps(&self, reason: ResolveReason, had: Option<&[Source]>, now: Moment) -> bool {
        if self.is_due(now, 1) {
            return false;
        }
        match had {
            _ if reason == ResolveReason::First => true,
            Some(had) if !had.is_empty() => !self.is(had),
            // Nobody has tried them yet, so it is others he complains of.
            _ => !self.handed,
        }
    }

    fn is(&self, had: &[Source]) -> bool {
        had.len() == self.sources.len()
            && had.iter().zip(&self.sources).all(|(had, (ours, _))| had.url == ours.url && had.headers == ours.headers)
    }

    /// Whether an address is within so many margins of its end, or past it.
    pub(super) fn is_due(&self, now: Moment, margins: u32) -> bool {
        let age = now.since(self.born);
        self.lives().any(|life| age + margin(life) * margins >= life)
    }

    /// Whether all addresses still work.
    pub(super) fn is_alive(&self, now: Moment) -> bool {
        let age = now.since(self.born);
        self.lives().all(|life| age < life)
    }

    /// Whether its end is so long ago that whoever used it has noticed. Time asleep doesn't count: nobody noticed then.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        let age = now.steady.saturating_sub(self.born.steady);
        self.lives().any(|life| age >= life.saturating_mul(2))
    }

    /// When it came, to tell old from new.
    pub(super) const fn born(&self) -> Duration {
        self.born.steady
    }

    fn lives(&self) -> impl Iterator<Item = Duration> {
        self.sources.iter().filter_map(|(_, life)| *life)
    }
}

fn margin(life: Duration) -> Duration {
    (life / MARGIN_PART).min(MARGIN_MOST)
}
