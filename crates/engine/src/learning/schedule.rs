//! When a card comes back: FSRS over everything the learner ever said about it.
//!
//! Nothing of the schedule is kept. It is derived from the answers in the order of their stamps, without chance, so two
//! devices that have the same answers have the same schedule, whichever way the answers came.

use carrel_model::{TimeMs, quiz::Rating, stamp::Stamp, time::MINUTE_MS};
use chrono::{DateTime, Utc};
use rs_fsrs::{Card, FSRS, Parameters, State};

/// The last moment that can be written as a date with four digits of a year.
const LAST_MS: i64 = 253_402_300_799_999;
/// Cards that are just being learned come back early rather than keep somebody waiting.
const LEARN_AHEAD_MS: i64 = 20 * MINUTE_MS;

/// How far a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, ts_rs::TS)]
#[serde(rename_all = "snake_case")]
pub enum CardState {
    /// Never seen.
    New,
    /// Being learned, or learned again after it was forgotten.
    Learning,
    /// Known, and coming back after days.
    Review,
}

/// What is remembered of one card.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Memory {
    card: Card,
}

impl Memory {
    /// After these reviews; none for a card that was never seen. They may come in any order.
    pub(super) fn after(reviews: impl IntoIterator<Item = (Stamp, Rating)>) -> Option<Self> {
        let mut reviews: Vec<_> = reviews.into_iter().collect();
        reviews.sort_unstable();
        reviews.into_iter().fold(None, |memory, (stamp, rating)| Some(Self::next(memory.as_ref(), stamp.at, rating)))
    }

    /// After one more review.
    fn next(memory: Option<&Self>, at: TimeMs, rating: Rating) -> Self {
        let at = date(at);
        let card =
            memory.map_or_else(|| Card { due: at, last_review: at, ..Card::default() }, |memory| memory.card.clone());
        // Clocks of two devices may differ by a little; nobody forgets backwards.
        let at = at.max(card.last_review);
        let card = FSRS::new(Parameters::default()).next(card, at, fsrs(rating)).card;
        Self { card }
    }

    pub(super) fn due(&self) -> TimeMs {
        TimeMs::from_ms(self.card.due.timestamp_millis())
    }

    pub(super) const fn state(&self) -> CardState {
        match self.card.state {
            State::New => CardState::New,
            State::Learning | State::Relearning => CardState::Learning,
            State::Review => CardState::Review,
        }
    }

    pub(super) fn is_due(&self, now: TimeMs) -> bool {
        self.due() <= now
    }

    /// Due so soon that it may come before its time.
    pub(super) fn is_nearly_due(&self, now: TimeMs) -> bool {
        self.state() == CardState::Learning && self.due() <= now.plus_ms(LEARN_AHEAD_MS)
    }
}

/// When a card would come back, for each thing one can say about it now.
pub(super) fn choices(memory: Option<&Memory>, now: TimeMs) -> Vec<(Rating, TimeMs)> {
    Rating::ALL.iter().map(|rating| (*rating, Memory::next(memory, now, *rating).due())).collect()
}

fn date(at: TimeMs) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.as_ms().clamp(0, LAST_MS)).unwrap_or_default()
}

const fn fsrs(rating: Rating) -> rs_fsrs::Rating {
    match rating {
        Rating::Again => rs_fsrs::Rating::Again,
        Rating::Hard => rs_fsrs::Rating::Hard,
        Rating::Good => rs_fsrs::Rating::Good,
        Rating::Easy => rs_fsrs::Rating::Easy,
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
