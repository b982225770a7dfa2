//! Which lane asks for which pieces. Pure: told what happened, it answers what is missing and who fetches it.
//!
//! A piece is *missing*, *assigned* to a lane, *submitted* (all its bytes are with the writer, not judged yet) or *held*.
//! Held pieces are either *proven* (hashed in this run) or *claimed* (the journal said so); claimed ones are to be proven
//! before the file counts as complete. Each lane works on one span, front to back. An idle lane takes a gap, else half of
//! the longest span another lane still has before it, else – when that lane is slow – it races it for the piece in the
//! air: so nothing waits for one slow connection at the end. A piece that came wrong is asked for alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use carrel_model::pieces::Manifest;

use crate::PieceSet;

/// One of the connections of a fetch.
pub(crate) type LaneId = usize;

/// Neighbouring pieces: `first` up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

/// What a lane is to fetch in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) span: Span,
    /// The piece came wrong before: another source is to be preferred.
    pub(crate) suspect: bool,
}

/// When taking work from another lane is worth a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worth {
    /// So many pieces must lie before a lane, behind the one it receives, for a part of them to be taken away.
    pub(crate) split_pieces: u64,
    /// A lane that nothing has reached for so long, or that has been at one piece for [`SLOW`] times as long, is slow:
    /// anything may be taken from it, and its piece is raced.
    pub(crate) slow_after: Duration,
}

/// A beginning of a piece of so many bytes is worth a request of its own that goes on behind it.
const BEGUN_BYTES: usize = 256 << 10;

/// On a slow line every lane takes long for a piece, and a race would only make it longer.
const SLOW: u32 = 5;

/// What follows when a lane has received a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Whether the piece is still wanted: `false` when it was raced and lost.
    pub(crate) wanted: bool,
    /// The piece to receive next in the same body; `None`: the job is done.
    pub(crate) next: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Assigned {
    /// The piece being received.
    at: u64,
    end: u64,
    /// Where the request ends: pieces up to there can be had without another one.
    asked_end: u64,
    since: Duration,
    moved_at: Duration,
    race: bool,
}

impl Assigned {
    fn is_quiet(&self, now: Duration, worth: Worth) -> bool {
        now.saturating_sub(self.moved_at) >= worth.slow_after
    }

    fn is_slow(&self, now: Duration, worth: Worth) -> bool {
        self.is_quiet(now, worth) || now.saturating_sub(self.since) >= SLOW * worth.slow_after
    }
}

#[derive(Debug)]
pub(crate) struct Plan {
    manifest: Arc<Manifest>,
    /// Assigned, submitted or held: nothing to ask for.
    taken: PieceSet,
    submitted: BTreeSet<u64>,
    held: PieceSet,
    proven: PieceSet,
    wrong: BTreeMap<u64, u32>,
    /// Pieces of which so much is there that a request had better begin with them.
    begun: BTreeSet<u64>,
    lanes: BTreeMap<LaneId, Assigned>,
    /// How long a lane takes for a piece, of late.
    typical: Option<Duration>,
    /// See [`Worth::slow_after`]; as told last.
    slow_after: Duration,
    held_bytes: u64,
}

impl Plan {
    pub(crate) fn new(manifest: Arc<Manifest>) -> Self {
        let none = PieceSet::new(manifest.piece_count());
        Self {
            manifest,
            taken: none.clone(),
            submitted: BTreeSet::new(),
            held: none.clone(),
            proven: none,
            wrong: BTreeMap::new(),
            begun: BTreeSet::new(),
            lanes: BTreeMap::new(),
            typical: None,
            slow_after: Duration::MAX,
            held_bytes: 0,
        }
    }

    /// Gives an idle lane something to do; `None` when there is nothing (worth it) now.
    pub(crate) fn assign(&mut self, lane: LaneId, now: Duration, worth: Worth) -> Option<Job> {
        self.slow_after = worth.slow_after;
        let (span, race) = match self.gap() {
            Some(span) => (span, false),
            None => match self.split(now, worth) {
                Some(span) => (span, false),
                None => (self.race(now, worth)?, true),
            },
        };
        for piece in span.first..span.end {
            self.taken.insert(piece);
        }
        self.begun.remove(&span.first);
        let (at, end) = (span.first, span.end);
        let assigned = Assigned { at, end, asked_end: end, since: now, moved_at: now, race };
        self.lanes.insert(lane, assigned);
        Some(Job { span, suspect: self.wrong.contains_key(&span.first) })
    }

    /// Whether [`assign`](Self::assign) would find pieces nobody fetches.
    pub(crate) fn has_gap(&self) -> bool {
        !self.taken.is_full()
    }

    fn gap(&self) -> Option<Span> {
        let first = self.taken.next_missing(0)?;
        if self.wrong.contains_key(&first) {
            return Some(Span { first, end: first + 1 });
        }
        let taken = self.taken.next_held(first);
        let suspect = self.wrong.range(first..taken).next().map_or(taken, |(piece, _)| *piece);
        let begun = self.begun.range(first + 1..).next().map_or(suspect, |piece| suspect.min(*piece));
        Some(Span { first, end: begun })
    }

    /// So many bytes of a missing piece are there.
    pub(crate) fn begun(&mut self, piece: u64, bytes: usize) {
        if bytes >= BEGUN_BYTES && !self.held.contains(piece) {
            self.begun.insert(piece);
        }
    }

    /// Takes the second half from the lane with most before it; from one that nothing reaches, all but the piece it is at.
    fn split(&mut self, now: Duration, worth: Worth) -> Option<Span> {
        let behind = |lane: &Assigned| lane.end.saturating_sub(lane.at + 1);
        let worthwhile =
            |lane: &&mut Assigned| behind(lane) >= if lane.is_slow(now, worth) { 1 } else { worth.split_pieces.max(1) };
        let owner = self.lanes.values_mut().filter(worthwhile).max_by_key(|lane| behind(lane))?;
        let end = owner.end;
        let left = if owner.is_quiet(now, worth) { 0 } else { behind(owner) / 2 };
        owner.end = owner.at + 1 + left;
        Some(Span { first: owner.end, end })
    }

    /// The piece that a slow lane has been at for longest, unless it is raced already.
    fn race(&self, now: Duration, worth: Worth) -> Option<Span> {
        let slow = self.lanes.values().filter(|lane| {
            let raced = lane.race || self.lanes.values().filter(|other| other.at == lane.at).count() > 1;
            let open = !self.held.contains(lane.at) && !self.submitted.contains(&lane.at);
            !raced && open && lane.is_slow(now, worth)
        });
        slow.min_by_key(|lane| lane.since).map(|lane| Span { first: lane.at, end: lane.at + 1 })
    }

    /// All bytes of the piece a lane was at have arrived.
    pub(crate) fn arrived(&mut self, lane: LaneId, now: Duration) -> Arrived {
        let raced = self.take_from_quiet(lane, now);
        let Some(assigned) = self.lanes.get_mut(&lane) else { return Arrived { wanted: false, next: None } };
        let piece = assigned.at;
        let took = now.saturating_sub(assigned.since);
        self.typical = Some(self.typical.map_or(took, |typical| (3 * typical + took) / 4));
        let wanted = !self.held.contains(piece) && self.submitted.insert(piece);
        assigned.at += 1;
        assigned.since = now;
        assigned.moved_at = now;
        // Whoever had the pieces behind gave them up, and this body has them as well.
        while assigned.at == assigned.end && assigned.end < assigned.asked_end {
            let end = assigned.end;
            if self.wrong.contains_key(&end) || !(raced == Some(end) || self.taken.insert(end)) {
                break;
            }
            assigned.end += 1;
        }
        let next = (assigned.at < assigned.end).then_some(assigned.at);
        if next.is_none() {
            self.lanes.remove(&lane);
        }
        Arrived { wanted, next }
    }

    /// Where the body of a lane goes on into what a lane that nothing reaches was to bring, it brings that: the other one is
    /// raced for the piece it is at, and loses the rest. Says which piece that is. Who has received nothing at all by then
    /// was slower than this body, and needn't be waited for.
    fn take_from_quiet(&mut self, lane: LaneId, now: Duration) -> Option<u64> {
        let Assigned { at, end, asked_end, .. } = *self.lanes.get(&lane)?;
        if at + 1 < end || end >= asked_end {
            return None;
        }
        // One racer is enough.
        let is_raced = self.lanes.values().filter(|other| other.at == end).count() > 1;
        if is_raced || self.wrong.contains_key(&end) {
            return None;
        }
        let slow_after = self.slow_after;
        let quiet = self.lanes.values_mut().find(|other| {
            let untouched = other.moved_at == other.since;
            other.at == end && !other.race && (untouched || now.saturating_sub(other.moved_at) >= slow_after)
        })?;
        let behind = quiet.end;
        quiet.end = end + 1;
        quiet.asked_end = quiet.end;
        quiet.race = true;
        self.free(end + 1, behind);
        Some(end)
    }

    /// A lane has stopped: what it had before it is missing again.
    pub(crate) fn release(&mut self, lane: LaneId) {
        if let Some(Assigned { at, end, .. }) = self.lanes.remove(&lane) {
            self.free(at, end);
        }
    }

    /// A lane is to stop at the end of the piece it receives.
    pub(crate) fn revoke(&mut self, lane: LaneId) {
        let Some(assigned) = self.lanes.get_mut(&lane) else { return };
        let (from, end) = (assigned.at + 1, assigned.end);
        assigned.end = end.min(from);
        assigned.asked_end = assigned.end;
        self.free(from, end);
    }

    fn free(&mut self, from: u64, end: u64) {
        for piece in from..end {
            self.free_one(piece);
        }
    }

    fn free_one(&mut self, piece: u64) {
        let covered = self.lanes.values().any(|lane| (lane.at..lane.end).contains(&piece));
        if !covered && !self.held.contains(piece) && !self.submitted.contains(&piece) {
            self.taken.remove(piece);
        }
    }

    /// The bytes of a span: start and end.
    pub(crate) fn bytes(&self, span: Span) -> (u64, u64) {
        let end = if span.end >= self.manifest.piece_count() {
            self.manifest.size()
        } else {
            self.manifest.piece_range(span.end).0
        };
        (self.manifest.piece_range(span.first).0, end)
    }

    /// How long a lane takes for a piece, of late; `None` before the first has arrived.
    pub(crate) const fn typical(&self) -> Option<Duration> {
        self.typical
    }

    /// Where the job of a lane ends by now; others may have taken a part of it.
    pub(crate) fn end_of(&self, lane: LaneId) -> Option<u64> {
        self.lanes.get(&lane).map(|assigned| assigned.end)
    }

    /// The request of a lane goes out now, up to the end of its job.
    pub(crate) fn asks(&mut self, lane: LaneId, now: Duration) {
        if let Some(assigned) = self.lanes.get_mut(&lane) {
            assigned.asked_end = assigned.end;
            assigned.since = now;
            assigned.moved_at = now;
        }
    }

    /// Bytes have reached a lane lately.
    pub(crate) fn moves(&mut self, lane: LaneId, now: Duration) {
        if let Some(assigned) = self.lanes.get_mut(&lane) {
            assigned.moved_at = now;
        }
    }

    /// The journal says this piece is on disk.
    pub(crate) fn claimed(&mut self, piece: u64) {
        self.hold(piece);
    }

    /// This piece has been hashed and is on disk.
    pub(crate) fn verified(&mut self, piece: u64) {
        self.hold(piece);
        self.proven.insert(piece);
        self.wrong.remove(&piece);
        self.submitted.remove(&piece);
    }

    /// This piece came wrong; says how often by now.
    pub(crate) fn came_wrong(&mut self, piece: u64) -> u32 {
        self.submitted.remove(&piece);
        self.free_one(piece);
        let count = self.wrong.entry(piece).or_default();
        *count += 1;
        *count
    }

    /// What was held or submitted is not on disk: it is missing again.
    pub(crate) fn lost(&mut self, piece: u64) {
        self.submitted.remove(&piece);
        self.proven.remove(piece);
        if self.held.remove(piece) {
            self.held_bytes -= self.manifest.piece_range(piece).1;
        }
        self.free_one(piece);
    }

    /// The next claimed piece at or after `from` that this run has not hashed.
    pub(crate) fn next_unproven(&self, from: u64) -> Option<u64> {
        if self.proven.is_full() {
            return None;
        }
        (from..self.held.pieces()).find(|piece| self.held.contains(*piece) && !self.proven.contains(*piece))
    }

    /// What was proven may have changed under our hands (the file was touched): nothing is proven any more.
    pub(crate) fn doubt_all(&mut self) {
        self.proven = PieceSet::new(self.manifest.piece_count());
    }

    pub(crate) const fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    pub(crate) const fn held(&self) -> &PieceSet {
        &self.held
    }

    /// Whether the bytes of this piece are still to be had.
    pub(crate) fn is_wanted(&self, piece: u64) -> bool {
        !self.held.contains(piece) && !self.submitted.contains(&piece)
    }

    /// Whether pieces are with the writer.
    pub(crate) fn has_submitted(&self) -> bool {
        !self.submitted.is_empty()
    }

    fn hold(&mut self, piece: u64) {
        self.begun.remove(&piece);
        self.taken.insert(piece);
        if self.held.insert(piece) {
            self.held_bytes += self.manifest.piece_range(piece).1;
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
