//! A learner's device: what is on its disk, what is only in its memory, and the driver's part between the two.
//!
//! The tables are maps; what is decided about them is the engine's own ([`carrel_engine::outbox::rules`],
//! [`carrel_engine::sync::planner`]). Each method that changes the disk is one transaction, as in the engine.

use std::collections::{BTreeMap, BTreeSet};

use carrel_engine::{
    outbox::rules::{Candidate, Choice, Chosen, FAR_AHEAD_MS, Settled, coalesced, settled, stamp_time},
    sync::planner::Planner,
};
use carrel_model::{
    DeviceId, LearnerId, LessonId, TimeMs,
    op::{Effect, Op, RawOp, RejectCode},
    progress::{PositionReached, Progress, ProgressStatus},
    stamp::Stamp,
    trusted_time::{Reading, TrustedClock, TrustedTime},
    wire::sync::{PullPage, PushResult},
};

use carrel_service::rules::Regressed;

use crate::{plant::Plant, service::Record};

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// To be sent.
    Waiting,
    /// The service has it, its effect was not pulled yet.
    Acked,
    /// A dead letter.
    Refused(Option<RejectCode>),
}

/// An entry of the outbox.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The op.
    pub op: RawOp,
    /// The device it was written under.
    pub device: DeviceId,
    /// Where it stands.
    pub state: EntryState,
    sent_once: bool,
    attempts: u32,
    not_before: TimeMs,
    /// The service has another content under its key.
    regressed: bool,
}

/// What survives a crash.
#[derive(Debug, Clone)]
pub struct Disk {
    /// Whose it is.
    pub learner: LearnerId,
    /// The device's id.
    pub device: DeviceId,
    next_seq: u64,
    last_stamp: TimeMs,
    trusted: TrustedTime,
    /// What waits.
    pub outbox: BTreeMap<u64, Entry>,
    /// Everything ever written here, with the id it was written under.
    events: BTreeMap<(DeviceId, u64), RawOp>,
    /// The service's word.
    pub rows: Record,
    generations: BTreeMap<String, u64>,
    /// Where the next page begins.
    pub cursor: Option<String>,
    generation: u64,
    sweep: bool,
}

/// What a request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Ops were sent.
    Push,
    /// A page of rows was asked for.
    Records,
    /// The catalogue was.
    Units,
}

/// Ops under way.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The device they were written under.
    pub device: DeviceId,
    /// Oldest first.
    pub ops: Vec<RawOp>,
}

/// A device.
#[derive(Debug, Clone)]
pub struct Device {
    /// What survives.
    pub disk: Disk,
    /// When to send and fetch.
    pub planner: Planner,
    clock: TrustedClock,
    /// How far its wall clock is off.
    pub clock_off_ms: i64,
    /// The request it waits for.
    pub outstanding: Option<u64>,
    /// What it asked.
    pub asked: Asked,
    /// The last batch sent.
    pub last_batch: Option<Batch>,
    /// The service's time of the last page kept whole.
    pub seen_at: Option<TimeMs>,
    /// When a run last went through.
    pub succeeded_at: Option<TimeMs>,
    /// Gone for ever.
    pub is_lost: bool,
    plant: Option<Plant>,
}

impl Device {
    /// A new device.
    #[must_use]
    pub fn new(learner: LearnerId, device: DeviceId, now: TimeMs, clock_off_ms: i64, plant: Option<Plant>) -> Self {
        let disk = Disk {
            learner,
            device,
            next_seq: 1,
            last_stamp: TimeMs::default(),
            trusted: TrustedTime::default(),
            outbox: BTreeMap::new(),
            events: BTreeMap::new(),
            rows: Record::default(),
            generations: BTreeMap::new(),
            cursor: None,
            generation: 0,
            sweep: false,
        };
        Self::boot(disk, now, clock_off_ms, plant)
    }

    /// Starts from what is on the disk.
    #[must_use]
    pub fn boot(mut disk: Disk, now: TimeMs, clock_off_ms: i64, plant: Option<Plant>) -> Self {
        if plant == Some(Plant::NumbersAreReused) {
            disk.next_seq = disk.outbox.keys().next_back().map_or(1, |last| last + 1);
        }
        let reading = Reading { wall: now.plus_ms(clock_off_ms), monotonic_ms: now.as_ms() };
        Self {
            clock: TrustedClock::start(disk.trusted, reading),
            disk,
            planner: Planner::default(),
            clock_off_ms,
            outstanding: None,
            asked: Asked::Push,
            last_batch: None,
            seen_at: None,
            succeeded_at: None,
            is_lost: false,
            plant,
        }
    }

    fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// What its wall clock shows.
    #[must_use]
    pub const fn wall(&self, now: TimeMs) -> TimeMs {
        now.plus_ms(self.clock_off_ms)
    }

    /// Trusted time.
    pub fn trusted(&mut self, now: TimeMs) -> TimeMs {
        let time = self.clock.now(Reading { wall: self.wall(now), monotonic_ms: now.as_ms() });
        self.disk.trusted = self.clock.kept();
        time
    }

    /// The service said what time it is.
    pub fn service_said(&mut self, service_time: TimeMs, now: TimeMs) {
        let reading = Reading { wall: self.wall(now), monotonic_ms: now.as_ms() };
        self.clock.service_said(service_time, reading);
        self.disk.trusted = self.clock.kept();
    }

    /// Records a write: event and outbox entry in one transaction.
    pub fn write(&mut self, op: &Op, now: TimeMs) -> Stamp {
        let now = self.trusted(now);
        let far = now.plus_ms(FAR_AHEAD_MS);
        let far_ahead = self.disk.outbox.values().any(|entry| entry.state != EntryState::Acked && entry.op.at > far);
        let at = stamp_time(self.disk.last_stamp, now, far_ahead);
        self.disk.last_stamp = at;
        let device_id = self.disk.device;
        if let Op::Position(_, reached) = op
            && let Some(seq) = self.coalesce(op, *reached, at)
        {
            return Stamp { at, device_id, seq };
        }
        let seq = self.disk.next_seq;
        self.disk.next_seq += 1;
        let op = op.encode(seq, at).unwrap_or_else(|error| panic!("an op is not JSON: {error}"));
        self.disk.events.insert((device_id, seq), op.clone());
        self.disk.outbox.insert(seq, entry(op, device_id));
        Stamp { at, device_id, seq }
    }

    fn coalesce(&mut self, op: &Op, reached: PositionReached, at: TimeMs) -> Option<u64> {
        let also_sent = self.has(Plant::CoalescesAfterSending);
        let entity = op.entity_id();
        let own = |entry: &&mut Entry| {
            entry.state == EntryState::Waiting
                && (!entry.sent_once || also_sent)
                && entry.op.kind == op.kind().as_str()
                && entry.op.entity_id == entity
        };
        for entry in self.disk.outbox.values_mut().rev().filter(own) {
            let before = serde_json::from_value(entry.op.payload.clone()).ok()?;
            let Some(joined) = coalesced(before, reached) else { continue };
            entry.op.payload = serde_json::to_value(joined).ok()?;
            entry.op.at = at;
            self.disk.events.insert((entry.device, entry.op.seq), entry.op.clone());
            return Some(entry.op.seq);
        }
        None
    }

    /// Takes the next batch and marks it as sent.
    pub fn take_batch(&mut self, limit: usize, now: TimeMs) -> Option<Batch> {
        let now = self.trusted(now);
        let mut choice = Choice::new(limit, now);
        let mut batch: Option<Batch> = None;
        let mut taken = Vec::new();
        let all_wait = self.has(Plant::WaitingHoldsBackAll);
        let may_go = |entry: &&mut Entry| entry.state == EntryState::Waiting && !entry.regressed;
        for entry in self.disk.outbox.values_mut().filter(may_go) {
            if all_wait && entry.not_before > now {
                break;
            }
            let candidate = Candidate {
                seq: entry.op.seq,
                device_id: entry.device,
                entity_id: &entry.op.entity_id,
                bytes: entry.op.payload.to_string().len() + 150,
                not_before: entry.not_before,
            };
            match choice.offer(&candidate) {
                Chosen::Goes => {
                    entry.sent_once = true;
                    taken.push(entry.op.seq);
                    batch
                        .get_or_insert_with(|| Batch { device: entry.device, ops: Vec::new() })
                        .ops
                        .push(entry.op.clone());
                }
                Chosen::Waits => {}
                Chosen::Full => break,
            }
        }
        if self.has(Plant::ForgetsWhenSent) {
            taken.iter().for_each(|seq| {
                self.disk.outbox.remove(seq);
            });
        }
        batch
    }

    /// When the next entry that was told to wait may go, from now.
    pub fn next_due_in(&mut self, now: TimeMs) -> Option<i64> {
        let now = self.trusted(now);
        let waiting = self.disk.outbox.values().filter(|entry| entry.state == EntryState::Waiting);
        waiting.map(|entry| entry.not_before).filter(|at| at.as_ms() > 0).min().map(|at| at.since(now).max(0))
    }

    /// Writes down what the service said of a batch.
    pub fn settle(&mut self, batch: &Batch, results: &[PushResult], now: TimeMs) {
        let now = self.trusted(now);
        let sent: BTreeSet<u64> = batch.ops.iter().map(|op| op.seq).collect();
        let forgets = self.has(Plant::ForgetsBeforePull);
        for result in results.iter().filter(|result| sent.contains(&result.seq)) {
            let Some(entry) = self.disk.outbox.get_mut(&result.seq) else { continue };
            match settled(&result.outcome, entry.attempts, now) {
                Settled::Acked => entry.state = EntryState::Acked,
                Settled::Refused { code, .. } => entry.state = EntryState::Refused(Some(code)),
                Settled::Again { until, given_up } => {
                    entry.attempts += 1;
                    entry.not_before = until;
                    if given_up {
                        entry.state = EntryState::Refused(None);
                    }
                }
            }
        }
        if forgets {
            self.disk.outbox.retain(|_, entry| entry.state != EntryState::Acked);
        }
    }

    /// The service has other contents under some keys of the batch, and some of its ops already; whether anything else is
    /// left to be judged under the old id is seen by the next batch.
    pub fn regressed(&mut self, found: &Regressed) {
        let current = self.disk.device;
        let takes_all = self.has(Plant::RekeysTheUnjudged);
        let mut moved = Vec::new();
        for op in self.last_batch.iter().flat_map(|batch| &batch.ops) {
            let Some(entry) = self.disk.outbox.get_mut(&op.seq) else { continue };
            if found.known.contains(&op.seq) {
                entry.state = EntryState::Acked;
            } else if found.conflicting.contains(&op.seq) || takes_all {
                entry.regressed = entry.device == current;
                if !entry.regressed {
                    moved.push(op.seq);
                }
            }
        }
        // What was still to come under an id that was left behind goes under the one the device has.
        moved.into_iter().for_each(|seq| self.disk.move_to(current, seq));
    }

    /// Whether something waits for a new key.
    #[must_use]
    pub fn has_regressed(&self) -> bool {
        self.waiting().any(|entry| entry.regressed)
    }

    /// The last batch, a single op, waits so long.
    pub fn hold_back(&mut self, for_ms: i64, now: TimeMs) {
        let until = self.trusted(now).plus_ms(for_ms);
        for op in self.last_batch.iter().flat_map(|batch| &batch.ops) {
            if let Some(entry) = self.disk.outbox.get_mut(&op.seq) {
                entry.not_before = until;
            }
        }
    }

    /// Begins a full pull, and sends everything again that was ever written here: the service that asks for it may have
    /// been put back to a time before it had come. What it has, it knows by its key.
    pub fn start_over(&mut self) {
        self.disk.cursor = None;
        self.disk.generation += 1;
        self.disk.sweep = true;
        if self.has(Plant::FullPullPurgesOutbox) {
            self.disk.outbox.clear();
            return;
        }
        for entry in self.disk.outbox.values_mut().filter(|entry| entry.state == EntryState::Acked) {
            entry.state = EntryState::Waiting;
        }
        for ((device, seq), op) in &self.disk.events {
            self.disk.outbox.entry(*seq).or_insert_with(|| Entry { sent_once: true, ..entry(op.clone(), *device) });
        }
    }

    /// Takes a new id, and what can never come under its key along.
    pub fn rekey(&mut self, new: DeviceId) {
        self.disk.device = new;
        let regressed = self.disk.outbox.iter().filter(|(_, entry)| entry.regressed);
        let moved: Vec<u64> = regressed.map(|(seq, _)| *seq).collect();
        moved.into_iter().for_each(|seq| self.disk.move_to(new, seq));
    }

    /// Keeps a page and its cursor in one transaction.
    pub fn keep(&mut self, page: &PullPage) {
        self.disk.cursor = Some(page.cursor.clone());
        let generation = self.disk.generation;
        let disk = &mut self.disk;
        let mut mark = |key: String| {
            disk.generations.insert(key, generation);
        };
        for row in &page.progress {
            mark(format!("p{}{}", row.lesson_id, row.attempt));
            disk.rows.progress.insert((row.lesson_id, row.attempt), row.clone());
        }
        for row in &page.sessions {
            mark(format!("s{}", row.id));
            disk.rows.sessions.insert(row.id, row.clone());
        }
        for row in &page.answers {
            mark(format!("a{}{}", row.stamp.device_id, row.stamp.seq));
            disk.rows.answers.insert((row.stamp.device_id, row.stamp.seq), row.clone());
        }
        for row in &page.bookmarks {
            mark(format!("b{}", row.id));
            disk.rows.bookmarks.insert(row.id, row.clone());
        }
        if page.has_more {
            return;
        }
        self.seen_at = Some(page.server_time);
        if self.disk.sweep && !self.has(Plant::FullPullDoesNotSweep) {
            let (rows, seen) = (&mut self.disk.rows, &self.disk.generations);
            let kept = |key: String| seen.get(&key).is_some_and(|at| *at >= generation);
            rows.progress.retain(|(lesson, attempt), _| kept(format!("p{lesson}{attempt}")));
            rows.sessions.retain(|id, _| kept(format!("s{id}")));
            rows.answers.retain(|(device, seq), _| kept(format!("a{device}{seq}")));
            rows.bookmarks.retain(|id, _| kept(format!("b{id}")));
        }
        self.disk.sweep = false;
        self.disk.outbox.retain(|_, entry| entry.state != EntryState::Acked);
    }

    /// What may never fall while this device lives: rank of the status and percentage, by lesson.
    #[must_use]
    pub fn heights(&self) -> BTreeMap<(LessonId, u32), (ProgressStatus, u8)> {
        let height = |row: &Progress| (row.status, row.percent);
        let mut heights: BTreeMap<_, _> =
            self.disk.rows.progress.iter().map(|(key, row)| (*key, height(row))).collect();
        for entry in self.disk.outbox.values().filter(|entry| entry.op.kind.starts_with("progress.")) {
            let Ok(op) = Op::decode(&entry.op) else { continue };
            let stamp = Stamp { at: entry.op.at, device_id: entry.device, seq: entry.op.seq };
            if let Effect::Progress(new) = op.effect(stamp) {
                let known = heights.entry((new.lesson_id, new.attempt)).or_insert_with(|| height(&new));
                *known = (known.0.max(new.status), known.1.max(new.percent));
            }
        }
        heights
    }

    /// What is not acknowledged and not refused.
    pub fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.disk.outbox.values().filter(|entry| entry.state == EntryState::Waiting)
    }
}

impl Disk {
    /// Gives an entry the key it has under another id.
    fn move_to(&mut self, new: DeviceId, seq: u64) {
        let Some(entry) = self.outbox.get_mut(&seq) else { return };
        let old = std::mem::replace(&mut entry.device, new);
        (entry.sent_once, entry.regressed) = (false, false);
        if let Some(op) = self.events.remove(&(old, seq)) {
            self.events.insert((new, seq), op);
        }
    }
}

fn entry(op: RawOp, device: DeviceId) -> Entry {
    Entry {
        op,
        device,
        state: EntryState::Waiting,
        sent_once: false,
        attempts: 0,
        not_before: TimeMs::default(),
        regressed: false,
    }
}
