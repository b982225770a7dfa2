//! The service: its rules are its own, its tables are maps.
//!
//! One push is one transaction, and a crash may come after it (the answer is lost). The maps can be cloned, which is how
//! the service is put back to a backup.

use std::collections::BTreeMap;

use carrel_model::{
    BookmarkId, CourseId, DeviceId, LearnerId, LessonId, SessionId, TimeMs,
    bookmark::Bookmark,
    op::{Effect, LessonFacts, Op, RejectCode},
    progress::{Progress, ProgressStatus},
    session::{Answer, Session},
    stamp::Stamp,
    wire::sync::{PullPage, PushOutcome, PushResult},
};
use carrel_service::{
    rules::{Cursor, IncomingOp, Known, Logged, Mentioned, Regressed, Taken, judge, regressed, user_scope},
    store::{Caller, StoreError},
};

use crate::plant::Plant;

/// What the service says to a request, beside an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 5xx.
    Failed,
    /// 409: other contents came under some of these keys.
    SeqRegressed(Regressed),
    /// 410
    CursorExpired,
}

/// A row with the counter at which it was written, and when that was.
#[derive(Debug, Clone)]
struct Row<T> {
    value: T,
    seq: i64,
    at: TimeMs,
}

/// What belongs to one learner.
#[derive(Debug, Clone, Default)]
struct Own {
    seq: i64,
    progress: BTreeMap<(LessonId, u32), Row<Progress>>,
    sessions: BTreeMap<SessionId, Row<Session>>,
    answers: BTreeMap<(DeviceId, u64), Row<Answer>>,
    bookmarks: BTreeMap<BookmarkId, Row<Bookmark>>,
    /// When the enrolment ended, if it did.
    enrolled_until: Option<TimeMs>,
}

/// Everything a backup holds.
#[derive(Debug, Clone)]
pub struct Tables {
    epoch: u64,
    log: BTreeMap<(DeviceId, u64), Logged>,
    own: BTreeMap<LearnerId, Own>,
    lessons: BTreeMap<LessonId, LessonFacts>,
}

/// The service.
#[derive(Debug, Clone)]
pub struct Service {
    /// What it remembers.
    pub tables: Tables,
    /// Ops with this text make it fail; it is mended one day.
    pub poison: Option<String>,
    epochs: u64,
    plant: Option<Plant>,
}

/// What the learner's rows are, for comparing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// By lesson and attempt.
    pub progress: BTreeMap<(LessonId, u32), Progress>,
    /// By id.
    pub sessions: BTreeMap<SessionId, Session>,
    /// By the key of the write.
    pub answers: BTreeMap<(DeviceId, u64), Answer>,
    /// By id, deleted ones included.
    pub bookmarks: BTreeMap<BookmarkId, Bookmark>,
}

impl Service {
    /// A service with these lessons, to which everybody is enrolled.
    #[must_use]
    pub fn new(lessons: impl IntoIterator<Item = LessonId>, plant: Option<Plant>) -> Self {
        let facts = LessonFacts { max_position: Some(600_000) };
        let lessons = lessons.into_iter().map(|lesson| (lesson, facts)).collect();
        let tables = Tables { epoch: 1, log: BTreeMap::new(), own: BTreeMap::new(), lessons };
        Self { tables, poison: None, epochs: 1, plant }
    }

    fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Takes a batch in one transaction.
    pub fn push(
        &mut self,
        learner: LearnerId,
        device: DeviceId,
        ops: &[IncomingOp],
        now: TimeMs,
    ) -> Result<Vec<PushResult>, Refusal> {
        let poisoned = |op: &IncomingOp| self.poison.as_ref().is_some_and(|text| op.payload.to_string().contains(text));
        if ops.iter().any(poisoned) {
            return Err(Refusal::Failed);
        }
        let known = self.known(learner, device, ops);
        if let Some(known) = regressed(ops, &known.logged).filter(|_| !self.has(Plant::KeepsItsIdWhenCloned)) {
            return Err(Refusal::SeqRegressed(known));
        }
        let too_strict = self.has(Plant::StrictTransitions).then(|| known.progress.clone());
        let own = self.tables.own.entry(learner).or_default();
        let first = own.seq + 1;
        own.seq += i64::try_from(ops.len()).unwrap_or(i64::MAX);
        let mut taken = judge(Caller { learner, device }, ops, known, first);
        let refused = |result: &PushResult| matches!(result.outcome, PushOutcome::Rejected { .. });
        let rejected = PushOutcome::Rejected { code: RejectCode::WrongState, detail: String::new() };
        if self.has(Plant::BatchFailsAsAWhole) && taken.results.iter().any(refused) {
            taken.results.iter_mut().for_each(|result| result.outcome = rejected.clone());
            return Ok(taken.results);
        }
        let strict = |op: &IncomingOp| match (&op.op, &too_strict) {
            (Ok(Op::Position(lesson, reached)), Some(known)) => known
                .get(&(*lesson, reached.attempt))
                .is_some_and(|row| row.status == ProgressStatus::Completed && row.percent < reached.percent.max(101)),
            _ => false,
        };
        for (op, result) in ops.iter().zip(&mut taken.results) {
            if strict(op) {
                result.outcome = rejected.clone();
            }
        }
        let results = taken.results.clone();
        self.write(learner, device, ops, taken, now);
        Ok(results)
    }

    /// What is there of all that a batch speaks of.
    fn known(&self, learner: LearnerId, device: DeviceId, ops: &[IncomingOp]) -> Known {
        let mentioned = Mentioned::by(ops);
        let mut known = Known::default();
        if !self.has(Plant::NoIdempotency) {
            let logged = |seq: &u64| Some((*seq, *self.tables.log.get(&(device, *seq))?));
            known.logged = mentioned.keys.iter().filter_map(logged).collect();
        }
        let course = CourseId::from_parts(TimeMs::default(), [0; 10]);
        let facts = |lesson: &LessonId| Some((*lesson, (course, *self.tables.lessons.get(lesson)?)));
        known.lessons = mentioned.lessons.iter().filter_map(facts).collect();
        let end = self.tables.own.get(&learner).and_then(|own| own.enrolled_until);
        known.last_days.insert(course, end);
        for (owner, own) in &self.tables.own {
            let session = |id: &SessionId| Some((*id, (*owner, own.sessions.get(id)?.value.clone())));
            known.sessions.extend(mentioned.sessions.iter().filter_map(session));
            let mark = |id: &BookmarkId| Some((*id, (*owner, own.bookmarks.get(id)?.value.clone())));
            known.bookmarks.extend(mentioned.bookmarks.iter().filter_map(mark));
        }
        if let Some(own) = self.tables.own.get(&learner) {
            let progress = |key: &(LessonId, u32)| Some((*key, own.progress.get(key)?.value.clone()));
            known.progress = mentioned.progress.iter().filter_map(progress).collect();
        }
        known
    }

    fn write(&mut self, learner: LearnerId, device: DeviceId, ops: &[IncomingOp], taken: Taken<'_>, now: TimeMs) {
        let (last_wins, backwards) = (self.has(Plant::LastArrivalWins), self.has(Plant::SessionsRunBackwards));
        for (seq, entry) in &taken.log {
            let refused = entry.outcome == "rejected";
            let logged = Logged { content_hash: entry.op.content_hash, refused };
            self.tables.log.insert((device, seq.unsigned_abs()), logged);
        }
        // A row bears the time at which its transaction began, and others may have come and gone meanwhile.
        let late = if self.has(Plant::TimestampCursor) {
            ops.first().map_or(0, |op| i64::from(*op.content_hash.first().unwrap_or(&0)))
        } else {
            0
        };
        let now = now.plus_ms(-20 * late);
        let own = self.tables.own.entry(learner).or_default();
        let row = |value, seq| Row { value, seq, at: now };
        for (key, (value, seq)) in taken.progress {
            own.progress.insert(key, Row { value, seq, at: now });
        }
        for (key, (value, seq)) in taken.sessions {
            own.sessions.insert(key, Row { value, seq, at: now });
        }
        for (value, seq) in taken.answers {
            let mut key = (device, value.stamp.seq);
            while own.answers.contains_key(&key) {
                key.1 += 1 << 40;
            }
            own.answers.insert(key, row(value, seq));
        }
        for (key, (value, seq)) in taken.bookmarks {
            own.bookmarks.insert(key, Row { value, seq, at: now });
        }
        if !last_wins && !backwards {
            return;
        }
        own.seq += 1;
        let seq = own.seq;
        for incoming in ops {
            let Ok(op) = &incoming.op else { continue };
            match op.effect(Stamp { at: incoming.effective_at, device_id: device, seq: incoming.seq }) {
                Effect::Progress(new) if last_wins => {
                    own.progress.insert((new.lesson_id, new.attempt), Row { value: new, seq, at: now });
                }
                Effect::Session(new) if backwards => {
                    if let Some(known) = own.sessions.get_mut(&new.id) {
                        (known.value.status, known.value.status_stamp) = (new.status, new.status_stamp);
                        known.seq = seq;
                    }
                }
                _ => {}
            }
        }
    }

    /// A page of the learner's rows.
    pub fn pull(
        &self,
        learner: LearnerId,
        cursor: Option<&str>,
        limit: usize,
        now: TimeMs,
    ) -> Result<PullPage, Refusal> {
        let epoch = self.tables.epoch.to_string();
        let scope = user_scope(learner);
        let mut cursor = match cursor {
            None => Cursor::start(&epoch),
            Some(text) => Cursor::decode(text, &epoch, learner).map_err(|error| match error {
                StoreError::CursorExpired => Refusal::CursorExpired,
                _ => Refusal::Failed,
            })?,
        };
        let empty = Own::default();
        let own = self.tables.own.get(&learner).unwrap_or(&empty);
        let from = cursor.scopes.get(&scope).copied().unwrap_or(0);
        let by_time = self.has(Plant::TimestampCursor);
        if !by_time && !self.has(Plant::RestoreKeepsEpoch) && from > own.seq {
            return Err(Refusal::CursorExpired);
        }
        let place = |seq: i64, at: TimeMs| if by_time { at.as_ms() } else { seq };
        let mut page = PullPage {
            progress: Vec::new(),
            sessions: Vec::new(),
            answers: Vec::new(),
            bookmarks: Vec::new(),
            enrolments: None,
            tombstones: Vec::new(),
            lease: None,
            cursor: String::new(),
            has_more: false,
            server_time: now,
            checksums: None,
        };
        let places = own.progress.values().map(|row| place(row.seq, row.at));
        let places = places.chain(own.sessions.values().map(|row| place(row.seq, row.at)));
        let places = places.chain(own.answers.values().map(|row| place(row.seq, row.at)));
        let places = places.chain(own.bookmarks.values().map(|row| place(row.seq, row.at)));
        let mut places: Vec<i64> = places.filter(|place| *place > from).collect();
        places.sort_unstable();
        let reached = match places.get(limit.saturating_sub(1)) {
            Some(last) if places.len() > limit => {
                page.has_more = true;
                *last
            }
            _ if by_time => places.last().copied().unwrap_or(from),
            _ => own.seq,
        };
        let in_page = |seq: i64, at: TimeMs| (from + 1..=reached).contains(&place(seq, at));
        page.progress = rows(&own.progress, in_page);
        page.sessions = rows(&own.sessions, in_page);
        page.answers = rows(&own.answers, in_page);
        page.bookmarks = rows(&own.bookmarks, in_page);
        cursor.scopes.insert(scope, reached);
        page.cursor = cursor.encode().map_err(|_| Refusal::Failed)?;
        Ok(page)
    }

    /// The service is put back to a backup: another incarnation.
    pub fn restore(&mut self, backup: Tables) {
        self.tables = backup;
        if !self.has(Plant::RestoreKeepsEpoch) {
            self.epochs += 1;
            self.tables.epoch = self.epochs;
        }
    }

    /// The learner's enrolment ends now.
    pub fn end_enrolment(&mut self, learner: LearnerId, now: TimeMs) {
        self.tables.own.entry(learner).or_default().enrolled_until.get_or_insert(now);
    }

    /// Keeps the keys of ops and forgets their effects: what a crash does when both are not one transaction.
    pub fn lose_effects(&mut self, before: Tables) {
        self.tables.own = before.own;
    }

    /// What is known of a learner.
    #[must_use]
    pub fn record(&self, learner: LearnerId) -> Record {
        let Some(own) = self.tables.own.get(&learner) else { return Record::default() };
        fn values<K: Ord + Clone, T: Clone>(rows: &BTreeMap<K, Row<T>>) -> BTreeMap<K, T> {
            rows.iter().map(|(key, row)| (key.clone(), row.value.clone())).collect()
        }
        Record {
            progress: values(&own.progress),
            sessions: values(&own.sessions),
            answers: values(&own.answers),
            bookmarks: values(&own.bookmarks),
        }
    }
}

fn rows<K, T: Clone>(rows: &BTreeMap<K, Row<T>>, in_page: impl Fn(i64, TimeMs) -> bool) -> Vec<T> {
    rows.values().filter(|row| in_page(row.seq, row.at)).map(|row| row.value.clone()).collect()
}
