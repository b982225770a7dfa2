//! Who may ask a host now. Pure: time in, tickets out.
//!
//! All fetches of a fetcher share what is known of a host. So many connections of their own and so many shared requests
//! may run at once; the limits are halved when the host answers 429 or 503 – once for all requests that were under way
//! then – and rise again evenly within a minute. `Retry-After` holds for everybody. Whoever finds no place waits, and the
//! more urgent waits less: playing before asked before refresh, then first come, first served. While requests are kept
//! apart that holds between connections of their own and shared ones, too: both wait for the same moment.

use std::time::Duration;

use crate::Urgency;

/// Requests over shared connections at once: what HTTP/2 servers commonly allow.
pub(crate) const SHARED_AT_ONCE: usize = 100;
/// From one place to all of them again.
const RISE: Duration = Duration::from_secs(60);
/// Requests to a host that is busy without saying for how long are so far apart at first, and at most.
const FIRST_GAP: Duration = Duration::from_millis(50);
const LONGEST_GAP: Duration = Duration::from_secs(5);
/// A gap below this is none.
const SHORTEST_GAP: Duration = Duration::from_millis(5);

/// How a request travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// On a connection of its own.
    Own,
    /// Over shared connections.
    Shared,
}

/// Names somebody who waits.
pub(crate) type Ticket = u64;

#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Ticket,
    way: Way,
    urgency: Urgency,
}

/// What is known of one host.
#[derive(Debug)]
pub(crate) struct Host {
    own: Places,
    shared: Places,
    /// In the order they came.
    waiting: Vec<Waiting>,
    next: Ticket,
    not_before: Duration,
    pace: Pace,
}

impl Host {
    pub(crate) const fn new(own: usize) -> Self {
        Self {
            own: Places::new(own),
            shared: Places::new(SHARED_AT_ONCE),
            waiting: Vec::new(),
            next: 0,
            not_before: Duration::ZERO,
            pace: Pace::new(),
        }
    }

    /// Takes a place if there is one and nobody who came before is to have it.
    pub(crate) fn enter(&mut self, way: Way, urgency: Urgency, now: Duration) -> bool {
        let paced = self.pace.is_on();
        let after_others =
            self.waiting.iter().any(|waiting| (paced || waiting.way == way) && waiting.urgency <= urgency);
        !after_others && self.pace.is_open(now) && self.places(way).enter(now) && self.pace.passed(now)
    }

    /// Begins to wait for a place.
    pub(crate) fn wait(&mut self, way: Way, urgency: Urgency) -> Ticket {
        self.next += 1;
        self.waiting.push(Waiting { ticket: self.next, way, urgency });
        self.next
    }

    /// Stops waiting; `false` when the place had been given already.
    pub(crate) fn stop_waiting(&mut self, ticket: Ticket) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.ticket != ticket);
        before != self.waiting.len()
    }

    /// Whoever waits is more, or less, urgent from now on.
    pub(crate) fn change_urgency(&mut self, ticket: Ticket, urgency: Urgency) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.ticket == ticket) {
            waiting.urgency = urgency;
        }
    }

    /// Gives a place back.
    pub(crate) const fn leave(&mut self, way: Way) {
        self.places(way).leave();
    }

    /// Gives a free place to whoever is next; to be called until it gives none.
    pub(crate) fn admit(&mut self, now: Duration) -> Option<Ticket> {
        if !self.pace.is_open(now) {
            return None;
        }
        let first = |way| {
            let waiting = self.waiting.iter().filter(|waiting| waiting.way == way);
            waiting.min_by_key(|waiting| (waiting.urgency, waiting.ticket)).copied()
        };
        let mut firsts = [first(Way::Own), first(Way::Shared)];
        firsts.sort_by_key(|first| first.map(|waiting| (waiting.urgency, waiting.ticket)));
        for Waiting { ticket, way, .. } in firsts.into_iter().flatten() {
            if self.places(way).enter(now) {
                self.stop_waiting(ticket);
                self.pace.passed(now);
                return Some(ticket);
            }
        }
        None
    }

    /// Whether somebody waits who is more urgent than this – or, for a lane beyond the first, as urgent.
    pub(crate) fn is_wanted(&self, way: Way, urgency: Urgency, beyond_first: bool) -> bool {
        self.waiting.iter().any(|waiting| {
            waiting.way == way && (waiting.urgency < urgency || (beyond_first && waiting.urgency == urgency))
        })
    }

    /// When somebody who waits may be let in by time alone.
    pub(crate) fn opens_in(&self, now: Duration) -> Option<Duration> {
        let shut = !self.pace.is_open(now) && !self.waiting.is_empty();
        shut.then(|| self.pace.open_at.saturating_sub(now))
    }

    /// It has served a request: requests may follow each other faster.
    pub(crate) fn served(&mut self, now: Duration) {
        self.pace.served(now);
    }

    /// When it has served a request last, since it was busy.
    pub(crate) const fn served_at(&self) -> Option<Duration> {
        self.pace.served_at
    }

    /// It asked for patience, in answer to a request begun at `asked_at`.
    pub(crate) fn busy(&mut self, asked_at: Duration, retry_after: Option<Duration>, now: Duration) {
        self.own.halve(asked_at, now);
        self.shared.halve(asked_at, now);
        match retry_after {
            Some(wait) => self.not_before = self.not_before.max(now + wait),
            None => self.pace.slower(asked_at, now),
        }
    }

    /// Nobody asks before this moment.
    pub(crate) const fn not_before(&self) -> Duration {
        self.not_before
    }

    /// Whether nothing is known that a new one would not know.
    pub(crate) fn is_idle(&self, now: Duration) -> bool {
        self.pace.is_idle(now)
            && self.own.is_idle(now)
            && self.shared.is_idle(now)
            && self.waiting.is_empty()
            && self.not_before <= now
    }

    const fn places(&mut self, way: Way) -> &mut Places {
        match way {
            Way::Own => &mut self.own,
            Way::Shared => &mut self.shared,
        }
    }
}

/// How fast requests follow each other: each time the host is busy half as fast, and with each one served a little faster.
#[derive(Debug)]
struct Pace {
    gap: Duration,
    open_at: Duration,
    slowed_at: Option<Duration>,
    served_at: Option<Duration>,
}

impl Pace {
    const fn new() -> Self {
        Self { gap: Duration::ZERO, open_at: Duration::ZERO, slowed_at: None, served_at: None }
    }

    /// Whether requests are kept apart.
    const fn is_on(&self) -> bool {
        !self.gap.is_zero()
    }

    fn is_open(&self, now: Duration) -> bool {
        !self.is_on() || now >= self.open_at
    }

    /// Always true.
    fn passed(&mut self, now: Duration) -> bool {
        self.open_at = now + self.gap;
        true
    }

    fn slower(&mut self, asked_at: Duration, now: Duration) {
        // What was asked at the old pace says nothing about the new one.
        if self.slowed_at.is_none_or(|at| asked_at > at) {
            self.gap = (self.gap * 2).clamp(FIRST_GAP, LONGEST_GAP);
            self.open_at = now + self.gap;
            self.slowed_at = Some(now);
        }
    }

    fn served(&mut self, now: Duration) {
        if self.slowed_at.is_some() {
            self.served_at = Some(now);
        }
        self.gap = self.gap.mul_f64(0.95);
        if self.gap < SHORTEST_GAP {
            self.gap = Duration::ZERO;
        }
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.slowed_at.is_none_or(|at| now.saturating_sub(at) >= RISE)
    }
}

/// So many at once, fewer after trouble.
#[derive(Debug)]
struct Places {
    most: usize,
    used: usize,
    /// What was left when it was halved last, and when that was.
    halved: Option<(usize, Duration)>,
}

impl Places {
    const fn new(most: usize) -> Self {
        Self { most, used: 0, halved: None }
    }

    fn limit(&self, now: Duration) -> usize {
        let Some((left, at)) = self.halved else { return self.most };
        let since = u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX);
        let rise = u64::try_from(RISE.as_millis()).unwrap_or(u64::MAX);
        let risen = (self.most as u64).saturating_mul(since) / rise;
        left.saturating_add(usize::try_from(risen).unwrap_or(usize::MAX)).min(self.most)
    }

    fn enter(&mut self, now: Duration) -> bool {
        let free = self.used < self.limit(now).max(1);
        self.used += usize::from(free);
        free
    }

    const fn leave(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    fn halve(&mut self, asked_at: Duration, now: Duration) {
        // What was under way when the limit fell says nothing about the lower one.
        if self.halved.is_none_or(|(_, at)| asked_at > at) {
            self.halved = Some(((self.limit(now).min(self.used.max(1)) / 2).max(1), now));
        }
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.used == 0 && self.limit(now) == self.most
    }
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
