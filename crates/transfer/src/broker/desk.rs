//! What the broker knows and whom it owes an answer. Pure: time is an argument, requests and answers are values.
//!
//! One request at a time. Who comes while it runs waits for it if his blob is in it, and else goes into the next one,
//! together with all others who came; what is left of its room is filled with addresses in use that end soon and with
//! blobs announced as wanted. So a hundred fetches whose addresses end in the same moment make one request.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem,
    time::Duration,
};

use carrel_model::{BlobHash, TimeMs};

use super::{
    held::Held,
    signer::{MOST_PER_SIGN, Signed},
};
use crate::{ResolveReason, Source, SourceError, clock::Moment, rules::answer::RETRY_AFTER_LIMIT};

/// Blobs whose addresses are remembered; about 2 MiB.
const MOST_HELD: usize = 4_096;
/// Blobs remembered as wanted; who announces more than ten requests' worth announces too early.
const MOST_WISHED: usize = 10 * MOST_PER_SIGN;
/// The pause after a request that failed without a word about when to come again; doubled with each failure.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest such pause: short enough to be back within seconds when the network is.
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// What somebody gets who asks.
pub(super) type Answer = Result<Vec<Source>, SourceError>;

/// Somebody who waits for an answer.
pub(super) trait Waiter {
    /// Whether he has gone away.
    fn has_gone(&self) -> bool;
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing; somebody must ask first, or the running request be answered.
    Idle,
    /// Look again after this time.
    Wait(Duration),
    /// Make this request, and tell [`Desk::answered`].
    Sign(Vec<BlobHash>, ResolveReason),
}

#[derive(Debug)]
pub(super) struct Desk<W> {
    held: BTreeMap<BlobHash, Held>,
    /// Everybody without an answer, by blob; the blob is queued or in flight.
    waiting: HashMap<BlobHash, Vec<(W, ResolveReason)>>,
    queue: VecDeque<BlobHash>,
    flight: Option<Flight>,
    wished: VecDeque<BlobHash>,
    /// Those of `wished` that still are.
    wishes: HashSet<BlobHash>,
    pause: Pause,
    failures: u32,
    /// Riders are left out of the next request: the last one may have failed because of them.
    alone: bool,
    /// The service's clock and ours, at one moment.
    service: Option<(TimeMs, Duration)>,
}

#[derive(Debug)]
struct Flight {
    blobs: Vec<BlobHash>,
    riders: bool,
    sent: Moment,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pause {
    until: Duration,
    /// The service asked for it: then nobody waits here, everybody is told.
    asked: bool,
}

impl<W> Default for Desk<W> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            waiting: HashMap::new(),
            queue: VecDeque::new(),
            flight: None,
            wished: VecDeque::new(),
            wishes: HashSet::new(),
            pause: Pause::default(),
            failures: 0,
            alone: false,
            service: None,
        }
    }
}

impl<W: Waiter> Desk<W> {
    /// The answer, if it can be given at once. `had`: the addresses the asker holds, if he says.
    pub(super) fn known(
        &mut self,
        blob: BlobHash,
        reason: ResolveReason,
        had: Option<&[Source]>,
        now: Moment,
    ) -> Option<Answer> {
        if let Some(held) = self.held.get_mut(&blob) {
            if held.helps(reason, had, now) {
                held.handed = true;
                return Some(Ok(held.sources(now)));
            }
            if reason != ResolveReason::First {
                // What is of no use to him is of none to the next one.
                self.held.remove(&blob);
            }
        }
        let left = self.pause.until.saturating_sub(now.steady);
        if !self.pause.asked || left.is_zero() || self.is_in_flight(blob) {
            return None;
        }
        let error = SourceError::Unavailable { retry_after: Some(left), cause: "asked to wait".to_owned() };
        Some(self.instead(blob, reason, error, now))
    }

    /// Takes somebody in who can't be answered yet.
    pub(super) fn wait(&mut self, blob: BlobHash, reason: ResolveReason, waiter: W) {
        let others = self.waiting.entry(blob).or_default();
        others.push((waiter, reason));
        if others.len() == 1 && !self.is_in_flight(blob) {
            self.queue.push_back(blob);
        }
    }

    /// What to do now; a request returned is in flight from then on.
    pub(super) fn next(&mut self, now: Moment) -> Next {
        if self.flight.is_some() {
            return Next::Idle;
        }
        let waiting = &mut self.waiting;
        self.queue.retain(|blob| {
            let somebody = waiting.get(blob).is_some_and(|all| all.iter().any(|(waiter, _)| !waiter.has_gone()));
            if !somebody {
                waiting.remove(blob);
            }
            somebody
        });
        if self.queue.is_empty() {
            return Next::Idle;
        }
        if self.pause.until > now.steady {
            return Next::Wait(self.pause.until - now.steady);
        }
        let mut blobs: Vec<BlobHash> = self.queue.drain(..self.queue.len().min(MOST_PER_SIGN)).collect();
        let reasons = blobs.iter().filter_map(|blob| self.waiting.get(blob)).flatten().map(|(_, reason)| *reason);
        let reason = reasons.max_by_key(|reason| gravity(*reason)).unwrap_or(ResolveReason::First);
        let owed = blobs.len();
        if !mem::take(&mut self.alone) {
            self.add_riders(&mut blobs, now);
        }
        self.flight = Some(Flight { blobs: blobs.clone(), riders: blobs.len() > owed, sent: now });
        Next::Sign(blobs, reason)
    }

    /// Addresses in use that end soon, then what is wanted soon.
    fn add_riders(&self, blobs: &mut Vec<BlobHash>, now: Moment) {
        let mut aboard: HashSet<BlobHash> = blobs.iter().copied().collect();
        let ending = |held: &Held| held.handed && held.is_due(now, 2) && !held.is_over(now);
        let in_use = self.held.iter().filter(|(_, held)| ending(held)).map(|(blob, _)| *blob);
        let fresh = |blob: &BlobHash| self.held.get(blob).is_some_and(|held| !held.is_due(now, 2));
        let wanted = self.wished.iter().copied().filter(|blob| self.wishes.contains(blob) && !fresh(blob));
        for blob in in_use.chain(wanted) {
            if blobs.len() >= MOST_PER_SIGN {
                break;
            }
            // Who waits for a place in a later request isn't served out of turn.
            if !self.waiting.contains_key(&blob) && aboard.insert(blob) {
                blobs.push(blob);
            }
        }
    }

    /// The request has been answered, or given up: who gets what.
    #[must_use]
    pub(super) fn answered(&mut self, answer: Result<Signed, SourceError>, now: Moment) -> Vec<(W, Answer)> {
        let Some(flight) = self.flight.take() else { return Vec::new() };
        match answer {
            Ok(signed) => self.signed(&flight, signed, now),
            Err(SourceError::Unavailable { retry_after, cause }) => self.unavailable(&flight, retry_after, &cause, now),
            Err(_) if flight.riders => {
                // Nobody who waits pays for somebody who only rode along: once more without them.
                self.alone = true;
                for blob in flight.blobs.into_iter().rev() {
                    self.wishes.remove(&blob);
                    if self.waiting.contains_key(&blob) {
                        self.queue.push_front(blob);
                    }
                }
                Vec::new()
            }
            Err(error) => {
                let blobs = flight.blobs.iter();
                blobs
                    .flat_map(|blob| self.waiting.remove(blob).unwrap_or_default())
                    .map(|(to, _)| (to, Err(error.clone())))
                    .collect()
            }
        }
    }

    fn signed(&mut self, flight: &Flight, signed: Signed, now: Moment) -> Vec<(W, Answer)> {
        self.failures = 0;
        self.pause = Pause::default();
        if let Some(server_now) = signed.server_now {
            self.service = Some((server_now, flight.sent.steady));
        }
        let server_now = self.server_now(flight.sent);
        let mut sources: HashMap<BlobHash, Vec<Source>> = HashMap::new();
        for (blob, source) in signed.urls {
            sources.entry(blob).or_default().push(source);
        }
        let mut refused: HashMap<BlobHash, SourceError> = signed.refused.into_iter().collect();
        let mut replies = Vec::new();
        for blob in &flight.blobs {
            self.wishes.remove(blob);
            let waiting = self.waiting.remove(blob).unwrap_or_default();
            let answer = match sources.remove(blob) {
                Some(sources) => {
                    let mut held = Held::new(sources, server_now, flight.sent, now);
                    held.handed = !waiting.is_empty();
                    let answer = held.sources(now);
                    self.held.insert(*blob, held);
                    Ok(answer)
                }
                None => {
                    self.held.remove(blob);
                    Err(refused.remove(blob).unwrap_or(SourceError::Gone))
                }
            };
            replies.extend(waiting.into_iter().map(|(to, _)| (to, answer.clone())));
        }
        self.make_room(now);
        replies
    }

    fn unavailable(
        &mut self,
        flight: &Flight,
        retry_after: Option<Duration>,
        cause: &str,
        now: Moment,
    ) -> Vec<(W, Answer)> {
        let asked = retry_after.map(|after| after.min(RETRY_AFTER_LIMIT));
        self.failures = self.failures.saturating_add(1);
        let own = PAUSE_FIRST.saturating_mul(1 << (self.failures - 1).min(8)).min(PAUSE_LONGEST);
        self.pause = Pause { until: now.steady + asked.unwrap_or(own), asked: asked.is_some() };
        let mut told = flight.blobs.clone();
        if asked.is_some() {
            told.extend(self.queue.drain(..));
        }
        let mut replies = Vec::new();
        for blob in told {
            for (to, reason) in self.waiting.remove(&blob).unwrap_or_default() {
                let error = SourceError::Unavailable { retry_after: asked, cause: cause.to_owned() };
                replies.push((to, self.instead(blob, reason, error, now)));
            }
        }
        replies
    }

    /// In place of an error: an address that is about to end, as long as it hasn't.
    fn instead(&self, blob: BlobHash, reason: ResolveReason, error: SourceError, now: Moment) -> Answer {
        let held = self.held.get(&blob).filter(|held| reason == ResolveReason::First && held.is_alive(now));
        let sources = held.map(|held| held.sources(now));
        // Its margin has begun: nobody is to think it over already.
        let bare = |source: Source| Source { expires_at: None, ..source };
        sources.map(|sources| sources.into_iter().map(bare).collect()).ok_or(error)
    }

    /// Keeps addresses that came some other way; who waited for them gets them.
    #[must_use]
    pub(super) fn keep(
        &mut self,
        blob: BlobHash,
        source: Source,
        server_now: Option<TimeMs>,
        now: Moment,
    ) -> Vec<(W, Answer)> {
        if let Some(server_now) = server_now {
            self.service = Some((server_now, now.steady));
        }
        let mut held = Held::new(vec![source], self.server_now(now), now, now);
        let waiting = self.waiting.remove(&blob).unwrap_or_default();
        self.queue.retain(|queued| *queued != blob || waiting.is_empty());
        held.handed = !waiting.is_empty();
        let answer = held.sources(now);
        self.held.insert(blob, held);
        self.make_room(now);
        waiting.into_iter().map(|(to, _)| (to, Ok(answer.clone()))).collect()
    }

    /// Remembers that this blob will be asked for.
    pub(super) fn want(&mut self, blob: BlobHash) {
        if self.wishes.len() >= MOST_WISHED {
            return;
        }
        if self.wished.len() >= MOST_WISHED {
            let wishes = &self.wishes;
            self.wished.retain(|blob| wishes.contains(blob));
        }
        if self.wishes.insert(blob) {
            self.wished.push_back(blob);
        }
    }

    /// Forgets a blob; who waits for it is still answered.
    pub(super) fn forget(&mut self, blob: BlobHash) {
        self.held.remove(&blob);
        self.wishes.remove(&blob);
    }

    fn is_in_flight(&self, blob: BlobHash) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.blobs.contains(&blob))
    }

    /// The service's clock at a moment; ours if it never told.
    fn server_now(&self, at: Moment) -> TimeMs {
        self.service.map_or(at.wall, |(server_now, steady)| {
            let since = at.steady.saturating_sub(steady);
            server_now.plus_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        })
    }

    /// Forgets addresses that are over, then the ones nobody took, oldest first.
    fn make_room(&mut self, now: Moment) {
        if self.held.len() <= MOST_HELD {
            return;
        }
        self.held.retain(|_, held| !held.is_over(now));
        let most = MOST_HELD / 4 * 3;
        if self.held.len() > most {
            let mut by_age: Vec<_> = self.held.iter().map(|(blob, held)| (held.handed, held.born(), *blob)).collect();
            by_age.sort_unstable();
            for (_, _, blob) in by_age.iter().take(self.held.len() - most) {
                self.held.remove(blob);
            }
        }
    }
}

/// Which reason a request for many gives.
const fn gravity(reason: ResolveReason) -> u8 {
    match reason {
        ResolveReason::First => 0,
        ResolveReason::Expired => 1,
        ResolveReason::Lied => 2,
        ResolveReason::Gone => 3,
        ResolveReason::Refused => 4,
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
