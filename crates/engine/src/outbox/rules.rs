//! What the outbox decides: which entries go, what a verdict makes of one, what may still be changed. Pure: rows in,
//! decisions out, so that the simulation plays the very rules the tables are kept by.

use std::collections::BTreeSet;

use carrel_model::{
    DeviceId, TimeMs,
    op::{MAX_BATCH_BYTES, RejectCode},
    progress::PositionReached,
    wire::sync::PushOutcome,
};

/// An op that was told "not now" so often becomes a dead letter (requirement O3).
pub const MAX_ATTEMPTS: u32 = 8;
/// Room for the envelope around the ops.
const ENVELOPE_BYTES: usize = 1_024;
/// The longest a service can make one op wait by a single word.
const LONGEST_WAIT_MS: i64 = 24 * 60 * 60 * 1_000;
/// A last stamp that lies further ahead than this is a date that was wrong, and not a clock put right by a moment.
pub const FAR_AHEAD_MS: i64 = 10 * 60 * 1_000;
/// How much of the service's words about a refusal is kept.
const MAX_DETAIL_CHARS: usize = 500;

/// An entry that waits, as far as choosing needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its number.
    pub seq: u64,
    /// The device it was written under.
    pub device_id: DeviceId,
    /// What it is about.
    pub entity_id: &'a str,
    /// Its length as JSON.
    pub bytes: usize,
    /// It may not go before.
    pub not_before: TimeMs,
}

/// A batch in the making: offered what waits, oldest first, it says what to do with each.
#[derive(Debug)]
pub struct Choice {
    limit: usize,
    now: TimeMs,
    bytes: usize,
    taken: usize,
    device: Option<DeviceId>,
    /// Entities of which something waits: what comes after it waits as well.
    held: BTreeSet<String>,
}

/// What becomes of an entry that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// It goes with this batch.
    Goes,
    /// Not with this one; the next may.
    Waits,
    /// The batch is full, and so is the offering.
    Full,
}

impl Choice {
    /// At most `limit` entries and [`MAX_BATCH_BYTES`], of one device.
    #[must_use]
    pub const fn new(limit: usize, now: TimeMs) -> Self {
        Self { limit, now, bytes: ENVELOPE_BYTES, taken: 0, device: None, held: BTreeSet::new() }
    }

    /// Looks at the next one in the order of their numbers.
    pub fn offer(&mut self, candidate: &Candidate<'_>) -> Chosen {
        if self.taken >= self.limit {
            return Chosen::Full;
        }
        if candidate.not_before > self.now {
            self.held.insert(candidate.entity_id.to_owned());
        }
        if self.held.contains(candidate.entity_id) {
            return Chosen::Waits;
        }
        let bytes = self.bytes + candidate.bytes + 1;
        // One that is too large alone goes alone: only the service can say that it won't have it.
        let other_device = self.device.is_some_and(|device| device != candidate.device_id);
        if self.taken > 0 && (bytes > MAX_BATCH_BYTES || other_device) {
            return Chosen::Full;
        }
        self.device = Some(candidate.device_id);
        self.bytes = bytes;
        self.taken += 1;
        Chosen::Goes
    }
}

/// What the service's word makes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The service has it; it stays until its effect was pulled.
    Acked,
    /// A dead letter, with the service's reason.
    Refused {
        /// Why.
        code: RejectCode,
        /// In the service's words, shortened.
        detail: String,
    },
    /// Not now.
    Again {
        /// Not before.
        until: TimeMs,
        /// It was told so too often: a dead letter.
        given_up: bool,
    },
}

/// Judges one entry that was told "not now" `attempts` times before.
#[must_use]
pub fn settled(outcome: &PushOutcome, attempts: u32, now: TimeMs) -> Settled {
    match outcome {
        PushOutcome::Applied | PushOutcome::Duplicate | PushOutcome::Superseded => Settled::Acked,
        PushOutcome::Rejected { code, detail } => {
            Settled::Refused { code: *code, detail: detail.chars().take(MAX_DETAIL_CHARS).collect() }
        }
        PushOutcome::Retry { after_ms } => {
            let wait = i64::try_from(*after_ms).unwrap_or(i64::MAX).min(LONGEST_WAIT_MS);
            Settled::Again { until: now.plus_ms(wait), given_up: attempts.saturating_add(1) >= MAX_ATTEMPTS }
        }
    }
}

/// A place put into the entry before it, which was never sent; none if that is about another time through the lesson.
///
/// The percentage of the two is joined, not replaced: going back in a recording does not undo what was heard.
#[must_use]
pub fn coalesced(before: PositionReached, reached: PositionReached) -> Option<PositionReached> {
    (before.attempt == reached.attempt)
        .then(|| PositionReached { percent: before.percent.max(reached.percent), ..reached })
}

/// The time a write is given: never before the last one. But a device that had a wrong date once must not give it to all it
/// ever writes: when nothing of that date waits any more, the right one counts again.
#[must_use]
pub fn stamp_time(last: TimeMs, now: TimeMs, waits_far_ahead: bool) -> TimeMs {
    if last.since(now) > FAR_AHEAD_MS && !waits_far_ahead { now } else { last.max(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(seq: u64, entity_id: &str, not_before: i64) -> Candidate<'_> {
        let device_id = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        Candidate { seq, device_id, entity_id, bytes: 100, not_before: TimeMs::from_ms(not_before) }
    }

    #[test]
    fn what_waits_holds_back_only_what_comes_after_it_of_the_same_entity() {
        let mut choice = Choice::new(10, TimeMs::from_ms(50));
        let offered = [candidate(1, "a", 0), candidate(2, "a", 60), candidate(3, "b", 0), candidate(4, "a", 0)];
        let chosen: Vec<_> = offered.iter().map(|one| choice.offer(one)).collect();
        assert_eq!(chosen, [Chosen::Goes, Chosen::Waits, Chosen::Goes, Chosen::Waits]);
    }

    #[test]
    fn an_entry_larger_than_a_batch_goes_alone() {
        let large = Candidate { bytes: MAX_BATCH_BYTES, ..candidate(1, "a", 0) };
        let mut choice = Choice::new(10, TimeMs::from_ms(0));
        assert_eq!(choice.offer(&large), Chosen::Goes);
        assert_eq!(choice.offer(&candidate(2, "b", 0)), Chosen::Full);
        let mut choice = Choice::new(10, TimeMs::from_ms(0));
        assert_eq!(choice.offer(&candidate(1, "b", 0)), Chosen::Goes);
        assert_eq!(choice.offer(&large), Chosen::Full);
    }

    #[test]
    fn a_batch_is_of_one_device() {
        let other = "00000000-0000-7000-8000-000000000002".parse().unwrap();
        let mut choice = Choice::new(10, TimeMs::from_ms(0));
        assert_eq!(choice.offer(&candidate(1, "a", 0)), Chosen::Goes);
        assert_eq!(choice.offer(&Candidate { device_id: other, ..candidate(2, "b", 0) }), Chosen::Full);
    }

    #[test]
    fn told_not_now_eight_times_it_is_a_dead_letter_and_no_wait_is_longer_than_a_day() {
        let now = TimeMs::from_ms(0);
        let again = |attempts| settled(&PushOutcome::Retry { after_ms: u64::MAX }, attempts, now);
        let until = TimeMs::from_ms(LONGEST_WAIT_MS);
        assert_eq!(again(6), Settled::Again { until, given_up: false });
        assert_eq!(again(7), Settled::Again { until, given_up: true });
    }

    #[test]
    fn stamps_never_run_backwards_but_a_far_date_is_forgotten_once_its_writes_are_sent() {
        let (now, near, far) = (TimeMs::from_ms(1_000), TimeMs::from_ms(5_000), TimeMs::from_ms(FAR_AHEAD_MS * 3));
        assert_eq!(stamp_time(near, now, false), near);
        assert_eq!(stamp_time(far, now, true), far);
        assert_eq!(stamp_time(far, now, false), now);
    }
}
