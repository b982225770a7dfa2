//! A random history: everything a service can be asked, by learners who share guessed ids and devices that repeat themselves.

use std::collections::BTreeMap;

use carrel_model::{
    DeviceId, LearnerId, LessonId, TimeMs,
    content::Quality,
    lease::Role,
    op::{BookmarkDeleted, BookmarkPut, DownloadReported, Op, RawOp},
    progress::{LessonCompleted, PositionReached},
    quiz::Response,
    session::{AnswerRecorded, SessionKind, SessionMoved, SessionStatus, Statistics, StatisticsRecorded},
    wire::{content::UrlWanted, sync::PushOutcome},
};
use carrel_service::{
    rules::{Cursor, IncomingOp, read_batch},
    store::{Account, Caller, DownloadWanted, NewTokens, Since, Store, StoreError, UnitScope},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::course::{self, COURSES, LESSONS, UNITS};
use crate::site::{DAY, MINUTE, START, id};

const LEARNERS: u64 = 3;
const DEVICES: u64 = 2;

/// What histories were made of, so that a generator gone quiet is noticed.
#[derive(Debug, Default)]
pub(super) struct Totals(BTreeMap<String, u64>);

impl Totals {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// Nothing that matters was left out.
    pub(super) fn show_something_of_everything(&self) {
        for what in
            ["applied", "duplicate", "superseded", "rejected", "seq regressed", "cursor expired", "page", "units"]
        {
            assert!(self.0.contains_key(what), "{what} never came about: {self:?}");
        }
    }
}

/// A history in the making.
pub(super) struct History {
    pub(super) now: TimeMs,
    pub(super) totals: Totals,
    seed: u64,
    random: StdRng,
    begun: bool,
    next_seq: BTreeMap<u64, u64>,
    /// What devices sent, to be sent again.
    sent: Vec<(Caller, Value)>,
    /// Where readers are: a cursor for each store, since each has its own epochs.
    cursors: BTreeMap<(LearnerId, bool), (String, String)>,
}

/// An answer in words, without what can't be the same in two databases.
fn words<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> String {
    format!("{answer:?}")
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: TimeMs::from_ms(START),
            totals: Totals::default(),
            seed,
            random: StdRng::seed_from_u64(seed),
            begun: false,
            next_seq: BTreeMap::new(),
            sent: Vec::new(),
            cursors: BTreeMap::new(),
        }
    }

    pub(super) fn stretches(&mut self) -> u32 {
        self.random.random_range(1..=3)
    }

    /// Plays one stretch to both.
    pub(super) async fn play(&mut self, a: &dyn Store, b: &dyn Store) {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(a, b).await;
        }
        for _ in 0..self.random.random_range(10..40) {
            self.now = self.now.plus_ms(match self.random.random_range(0..12) {
                0 => self.random.random_range(0..10 * DAY),
                1 => -MINUTE,
                _ => self.random.random_range(0..10 * MINUTE),
            });
            match self.random.random_range(0..20) {
                0..=7 => self.push(a, b).await,
                8..=10 => self.pull(a, b).await,
                11..=12 => self.pull_units(a, b).await,
                13..=14 => self.enrolments(a, b).await,
                15..=16 => self.publish(a, b).await,
                17 => self.sessions(a, b).await,
                18 => self.content(a, b).await,
                19 if self.random.random_bool(0.3) => self.long_absence(a, b).await,
                _ => {
                    let (one, other) = (a.prune(self.now).await, b.prune(self.now).await);
                    self.same("prune", &one, &other);
                }
            }
        }
    }

    fn same<T: std::fmt::Debug>(&self, what: &str, a: &Result<T, StoreError>, b: &Result<T, StoreError>) {
        assert_eq!(words(a), words(b), "{what} of seed {}", self.seed);
    }

    async fn begin(&mut self, a: &dyn Store, b: &dyn Store) {
        for n in 0..LEARNERS {
            let account = Account {
                learner: id(1 + n),
                // By letters the order is another one than by bytes.
                name: ["amina", "Badr", "_çelik"][usize::try_from(n).unwrap()].into(),
                display_name: format!("Learner {n} 🎓"),
                password_hash: "none".into(),
                quota_bytes: (n == 0).then_some(1_000),
                created_at: self.now,
            };
            for store in [a, b] {
                store.add_account(&account).await.unwrap();
                assert!(matches!(store.add_account(&account).await, Err(StoreError::NameTaken)));
            }
        }
        self.same("accounts", &a.accounts().await, &b.accounts().await);
        for course in 0..COURSES {
            let built = course::built(course, &mut self.random);
            self.same("publish", &a.publish(built.clone(), self.now).await, &b.publish(built, self.now).await);
        }
        for learner in 0..LEARNERS {
            for course in 0..COURSES {
                if self.random.random_bool(0.7) {
                    let key = course::key(course);
                    for store in [a, b] {
                        store.enrol(id(1 + learner), &key, Role::Learner, None, self.now).await.unwrap();
                    }
                }
            }
        }
    }

    fn learner(&mut self) -> LearnerId {
        id(1 + self.random.random_range(0..LEARNERS))
    }

    fn caller(&mut self) -> (u64, Caller) {
        let n = self.random.random_range(0..LEARNERS);
        let device = n * DEVICES + self.random.random_range(0..DEVICES);
        (device, Caller { learner: id(1 + n), device: id::<DeviceId>(100 + device) })
    }

    async fn push(&mut self, a: &dyn Store, b: &dyn Store) {
        let again = !self.sent.is_empty() && self.random.random_bool(0.25);
        let (caller, ops) = if again {
            let (caller, ops) = self.sent[self.random.random_range(0..self.sent.len())].clone();
            (caller, self.changed(ops))
        } else {
            let (device, caller) = self.caller();
            let count = self.random.random_range(1..25);
            let ops: Vec<Value> = (0..count).map(|_| self.op(device)).collect();
            (caller, Value::Array(ops))
        };
        self.sent.push((caller, ops.clone()));
        let off = if self.random.random_bool(0.1) { self.random.random_range(-4_000 * DAY..4_000 * DAY) } else { 0 };
        let body = json!({ "device_id": caller.device, "client_now": self.now.plus_ms(off), "ops": ops });
        let (_, ops): (_, Vec<IncomingOp>) = read_batch(body.to_string().as_bytes(), self.now).unwrap();
        let (one, other) = (a.apply_push(caller, &ops, self.now).await, b.apply_push(caller, &ops, self.now).await);
        self.same("push", &one, &other);
        match one {
            Ok(results) => {
                for result in results {
                    self.totals.count(match result.outcome {
                        PushOutcome::Applied => "applied",
                        PushOutcome::Duplicate => "duplicate",
                        PushOutcome::Superseded => "superseded",
                        PushOutcome::Rejected { .. } => "rejected",
                        PushOutcome::Retry { .. } => "retry",
                    });
                }
            }
            Err(StoreError::SeqRegressed(_)) => self.totals.count("seq regressed"),
            Err(error) => panic!("{error} in seed {}", self.seed),
        }
    }

    /// A batch that comes again: as it was, in another order, in part, twice over, or with something else under a key.
    fn changed(&mut self, ops: Value) -> Value {
        let Value::Array(mut ops) = ops else { return ops };
        match self.random.random_range(0..5) {
            0 => ops.reverse(),
            1 => ops.truncate(self.random.random_range(1..=ops.len())),
            2 => ops.extend(ops.clone()),
            3 => {
                let which = self.random.random_range(0..ops.len());
                ops[which]["at"] = json!(self.now.plus_ms(-1));
            }
            _ => {}
        }
        Value::Array(ops)
    }

    fn lesson(&mut self) -> LessonId {
        if self.random.random_bool(0.03) {
            return id(999);
        }
        let (course, unit) = (self.random.random_range(0..COURSES), self.random.random_range(0..UNITS));
        id(course::lesson_number(course, unit, self.random.random_range(0..LESSONS)))
    }

    fn op(&mut self, device: u64) -> Value {
        let next = self.next_seq.entry(device).or_insert(1);
        let seq = *next;
        *next += 1;
        let at = self.now.plus_ms(self.random.random_range(-3 * DAY..MINUTE));
        if self.random.random_bool(0.05) {
            return self.poison(seq, at);
        }
        // Few ids, so that learners meet each other's; each mostly with the lesson that belongs to it.
        let number = self.random.random_range(0..12);
        let lesson_id = if self.random.random_bool(0.9) {
            id(course::lesson_number(number % COURSES, number / COURSES % UNITS, 0))
        } else {
            self.lesson()
        };
        let attempt = self.random.random_range(1..3);
        let statistics = Statistics {
            answered: self.random.random_range(0..9),
            correct: self.random.random_range(0..9),
            duration_ms: self.random.random_range(0..90_000),
            ..Statistics::default()
        };
        let started_at = at.plus_ms(-self.random.random_range(0..MINUTE));
        let moved = SessionMoved { lesson_id, attempt, kind: SessionKind::Quiz, started_at, statistics };
        let number = if self.random.random_bool(0.9) { number + 20 * device } else { number };
        let session = id(700 + number);
        let text = ["plain", "a & b = c", "nul \0 in it", "سؤال \u{202e}", "🧪🧪"][self.random.random_range(0..5)];
        let op = match self.random.random_range(0..9) {
            0..=1 => {
                let position = self.random.random_range(0..60_000);
                Op::Position(
                    lesson_id,
                    PositionReached { attempt, position, percent: self.random.random_range(0..=101) },
                )
            }
            2 => Op::Completed(lesson_id, LessonCompleted { attempt }),
            3..=4 => Op::Answer(
                session,
                AnswerRecorded {
                    lesson_id,
                    question_id: text.into(),
                    response: Response::ShortText { text: text.into() },
                },
            ),
            5 => {
                let every = SessionStatus::ALL;
                Op::Session(session, every[self.random.random_range(0..every.len())], moved)
            }
            6 => Op::Statistics(session, StatisticsRecorded { session: moved }),
            7 => {
                let mark = id(1_800 + number);
                if self.random.random_bool(0.3) {
                    Op::BookmarkDeleted(mark, BookmarkDeleted { lesson_id })
                } else {
                    Op::BookmarkPut(mark, BookmarkPut { lesson_id, position: 5, note: text.into() })
                }
            }
            _ => {
                let unit_id = id(course::unit_number(self.random.random_range(0..COURSES), 0));
                let bytes = self.random.random_range(0..500);
                let state = carrel_model::download::DownloadState::Completed;
                let deleted = self.random.random_bool(0.3);
                let report = DownloadReported { unit_id, state, quality: Quality::Low, bytes, deleted };
                Op::Download(id(2_900 + number), report)
            }
        };
        serde_json::to_value(op.encode(seq, at).unwrap()).unwrap()
    }

    fn poison(&mut self, seq: u64, at: TimeMs) -> Value {
        let lesson = self.lesson().to_string();
        let raw = |kind: &str, entity_id: &str, payload: Value| {
            serde_json::to_value(RawOp { seq, kind: kind.into(), entity_id: entity_id.into(), at, payload }).unwrap()
        };
        match self.random.random_range(0..5) {
            0 => raw("progress.teleported", &lesson, json!({ "nul": "\0" })),
            1 => raw("progress.position", "\0 no id \u{202e}", json!({ "position": 1, "percent": 1 })),
            2 => raw("progress.position", &lesson, json!({ "position": "far" })),
            3 => json!({ "seq": seq, "kind": 7 }),
            _ => json!({ "seq": u64::MAX - seq, "kind": "progress.completed", "entity_id": lesson, "at": at,
                "payload": {} }),
        }
    }

    async fn pull(&mut self, a: &dyn Store, b: &dyn Store) {
        let learner = self.learner();
        let limit = [1, 2, 7, 500][self.random.random_range(0..4)];
        loop {
            let cursors = self.cursors.get(&(learner, true)).cloned();
            let (one, other) = match &cursors {
                Some((for_a, for_b)) => (Some(for_a.as_str()), Some(for_b.as_str())),
                None => (None, None),
            };
            let mut one = a.pull_page(learner, one, limit, self.now).await;
            let mut other = b.pull_page(learner, other, limit, self.now).await;
            if let (Ok(one), Ok(other)) = (&mut one, &mut other) {
                self.keep_cursors((learner, true), &mut one.cursor, &mut other.cursor);
                self.totals.count("page");
            }
            self.same("pull", &one, &other);
            match one {
                Ok(page) if page.has_more && self.random.random_bool(0.9) => {}
                Ok(_) => return,
                Err(StoreError::CursorExpired) => self.expired((learner, true)),
                Err(error) => panic!("{error} in seed {}", self.seed),
            }
        }
    }

    async fn pull_units(&mut self, a: &dyn Store, b: &dyn Store) {
        let learner = self.learner();
        let limit = [1, 3, 500][self.random.random_range(0..3)];
        let deleted = self.random.random_bool(0.9);
        let by_time = self.random.random_bool(0.15);
        let at = self.now.plus_ms(-self.random.random_range(0..20 * DAY));
        let since = |cursor: Option<&String>| match cursor {
            _ if by_time => Since::Time(at),
            Some(cursor) => Since::Cursor(cursor.clone()),
            None => Since::Beginning,
        };
        let cursors = self.cursors.get(&(learner, false)).cloned();
        let for_a = since(cursors.as_ref().map(|(for_a, _)| for_a));
        let for_b = since(cursors.as_ref().map(|(_, for_b)| for_b));
        let mut one = a.units_page(learner, &for_a, limit, deleted, self.now).await;
        let mut other = b.units_page(learner, &for_b, limit, deleted, self.now).await;
        if let (Ok(one), Ok(other)) = (&mut one, &mut other) {
            self.keep_cursors((learner, false), &mut one.cursor, &mut other.cursor);
            self.totals.count("units");
        }
        self.same("units", &one, &other);
        if matches!(one, Err(StoreError::CursorExpired)) {
            self.expired((learner, false));
        }
    }

    /// Tombstones are left, nobody looks for longer than they are kept, and then somebody does.
    async fn long_absence(&mut self, a: &dyn Store, b: &dyn Store) {
        self.pull_units(a, b).await;
        self.publish(a, b).await;
        self.enrolments(a, b).await;
        self.now = self.now.plus_ms(200 * DAY);
        let (one, other) = (a.prune(self.now).await, b.prune(self.now).await);
        self.same("prune", &one, &other);
        for _ in 0..3 {
            self.pull_units(a, b).await;
            self.pull(a, b).await;
        }
    }

    fn expired(&mut self, reader: (LearnerId, bool)) {
        self.totals.count("cursor expired");
        self.cursors.remove(&reader);
    }

    /// Cursors differ in their epochs and in nothing else.
    fn keep_cursors(&mut self, reader: (LearnerId, bool), a: &mut String, b: &mut String) {
        let read = |text: &str| Cursor::read(text, reader.0).unwrap();
        assert_eq!(read(a).scopes, read(b).scopes, "cursors of seed {}", self.seed);
        // A reader may also stay where it was: then it asks again.
        if self.random.random_bool(0.9) {
            self.cursors.insert(reader, (std::mem::take(a), std::mem::take(b)));
        }
        a.clear();
        b.clear();
    }

    async fn enrolments(&mut self, a: &dyn Store, b: &dyn Store) {
        let learner = self.learner();
        let key = course::key(self.random.random_range(0..COURSES));
        if self.random.random_bool(0.4) {
            let (one, other) = (a.unenrol(learner, &key, self.now).await, b.unenrol(learner, &key, self.now).await);
            self.same("unenrol", &one, &other);
        } else {
            let role = Role::ALL[self.random.random_range(0..Role::ALL.len())];
            let until = self.random.random_bool(0.5).then(|| self.now.plus_ms(self.random.random_range(0..60 * DAY)));
            let one = a.enrol(learner, &key, role, until, self.now).await;
            let other = b.enrol(learner, &key, role, until, self.now).await;
            self.same("enrol", &one, &other);
        }
        self.same("enrolments", &a.enrolments(learner).await, &b.enrolments(learner).await);
    }

    async fn publish(&mut self, a: &dyn Store, b: &dyn Store) {
        let course = self.random.random_range(0..COURSES);
        let key = course::key(course);
        if self.random.random_bool(0.2) {
            self.same("withdraw", &a.withdraw(&key, self.now).await, &b.withdraw(&key, self.now).await);
            return;
        }
        self.same("known ids", &a.known_ids(&key).await, &b.known_ids(&key).await);
        let built = course::built(course, &mut self.random);
        self.same("publish", &a.publish(built.clone(), self.now).await, &b.publish(built, self.now).await);
    }

    async fn sessions(&mut self, a: &dyn Store, b: &dyn Store) {
        let (_, mut caller) = self.caller();
        if self.random.random_bool(0.1) {
            caller.learner = self.learner();
        }
        let mut fresh = || [self.random.random::<u8>(); 32];
        let (mine, next) = ((fresh(), fresh()), (fresh(), fresh()));
        let tokens = |(access, refresh)| NewTokens {
            access,
            access_expires_at: self.now.plus_ms(60 * MINUTE),
            refresh,
            refresh_expires_at: self.now.plus_ms(90 * DAY),
        };
        let (first, second) = (tokens(mine), tokens(next));
        if mine.0 == next.0 || mine.1 == next.1 {
            return;
        }
        let one = a.open_session(caller, "device", &first, self.now).await;
        let other = b.open_session(caller, "device", &first, self.now).await;
        // A token that happens to be another session's is refused in the words of the database.
        assert_eq!(one.is_ok(), other.is_ok(), "open session of seed {}", self.seed);
        self.now = self.now.plus_ms(self.random.random_range(0..2 * MINUTE));
        let one = a.rotate_session(mine.1, caller.device, &second, self.now).await;
        let other = b.rotate_session(mine.1, caller.device, &second, self.now).await;
        assert_eq!(one.is_ok(), other.is_ok(), "rotate session of seed {}", self.seed);
        for token in [mine.0, next.0] {
            let (one, other) = (a.authenticate(token, self.now).await, b.authenticate(token, self.now).await);
            self.same("authenticate", &one, &other);
        }
        if self.random.random_bool(0.3) {
            self.same("close session", &a.close_session(caller).await, &b.close_session(caller).await);
        }
    }

    async fn content(&mut self, a: &dyn Store, b: &dyn Store) {
        let learner = self.learner();
        self.same("courses", &a.courses(learner).await, &b.courses(learner).await);
        for scope in [UnitScope::Mine, UnitScope::Global] {
            self.same("units", &a.units(learner, scope).await, &b.units(learner, scope).await);
        }
        let course = self.random.random_range(0..COURSES);
        let unit = id(course::unit_number(course, self.random.random_range(0..UNITS)));
        self.same("unit", &a.unit(learner, unit).await, &b.unit(learner, unit).await);
        let lesson = id(course::lesson_number(course, 0, 0));
        for wanted in [
            DownloadWanted::Unit(unit),
            DownloadWanted::Lesson(lesson),
            DownloadWanted::Course(id(course::course_number(course))),
        ] {
            let one = a.authorize_download(learner, wanted, Quality::Medium, Some(5_000), self.now).await;
            let other = b.authorize_download(learner, wanted, Quality::Medium, Some(5_000), self.now).await;
            self.same("download", &one, &other);
            for blob in one.into_iter().flatten().flat_map(|granted| granted.blobs) {
                let hash = blob.manifest.hash();
                self.same("blob", &a.blob(hash).await, &b.blob(hash).await);
                self.same("manifest", &a.manifest(hash).await, &b.manifest(hash).await);
                let one = a.may_read_blob(learner, hash, self.now).await;
                self.same("may read", &one, &b.may_read_blob(learner, hash, self.now).await);
            }
        }
        let wanted =
            [UrlWanted { asset_id: id(0x40_000 + course::lesson_number(course, 0, 0)), quality: Quality::Low }];
        let one = a.renditions(learner, &wanted, self.now).await;
        self.same("renditions", &one, &b.renditions(learner, &wanted, self.now).await);
    }
}
