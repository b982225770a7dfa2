//! Judging a batch as a whole: the verdict on each op, and what is to be written (protocol.md, Push, Merge).
//!
//! Pure, so that every store takes a batch in the same way: it looks up what is [`Mentioned`], hands over what is [`Known`]
//! and writes what was [`Taken`]. Ops of one batch see what those before them did.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use carrel_model::{
    BookmarkId, CourseId, DeviceId, DownloadId, LearnerId, LessonId, SessionId, TimeMs, UnitId,
    bookmark::Bookmark,
    op::{DownloadReported, Effect, LessonFacts, Op, RejectCode, Rejection},
    progress::Progress,
    quiz::Quiz,
    session::{Answer, Session, SessionKind, SessionStatus},
    stamp::Stamp,
    wire::sync::{PushOutcome, PushResult},
};

use super::batch::{IncomingOp, KnownToOp, OP_TIME_TOLERANCE_MS, admit};
use crate::store::Caller;

/// What a batch speaks of: all that has to be looked up to judge it.
#[derive(Debug, Default)]
pub struct Mentioned {
    /// How many ops.
    pub ops: usize,
    /// Their numbers.
    pub keys: BTreeSet<u64>,
    /// Lessons.
    pub lessons: BTreeSet<LessonId>,
    /// Units.
    pub units: BTreeSet<UnitId>,
    /// Progress, by lesson and attempt.
    pub progress: BTreeSet<(LessonId, u32)>,
    /// Sessions.
    pub sessions: BTreeSet<SessionId>,
    /// Bookmarks.
    pub bookmarks: BTreeSet<BookmarkId>,
    /// Downloads.
    pub downloads: BTreeSet<DownloadId>,
    /// Of the sessions, quizzes that are handed in.
    pub handed_in: BTreeSet<SessionId>,
    /// Of the sessions, those that were answered in.
    pub answered_in: BTreeSet<SessionId>,
}

impl Mentioned {
    /// How many rows may change: one for each op, and the grade of each session that an answer came to.
    pub fn changes(&self) -> usize {
        self.ops + self.answered_in.len()
    }

    /// By these ops.
    pub fn by(ops: &[IncomingOp]) -> Self {
        let mut mentioned = Self { ops: ops.len(), ..Self::default() };
        for incoming in ops {
            mentioned.keys.insert(incoming.seq);
            let Ok(op) = &incoming.op else { continue };
            mentioned.lessons.extend(op.lesson_id());
            match op {
                Op::Answer(id, _) => {
                    mentioned.answered_in.insert(*id);
                }
                Op::Session(id, SessionStatus::Finished, moved) if moved.kind == SessionKind::Quiz => {
                    mentioned.handed_in.insert(*id);
                }
                _ => {}
            }
            match op {
                Op::Position(id, p) => {
                    mentioned.progress.insert((*id, p.attempt));
                }
                Op::Completed(id, p) => {
                    mentioned.progress.insert((*id, p.attempt));
                }
                Op::Answer(id, _) | Op::Session(id, ..) | Op::Statistics(id, _) => {
                    mentioned.sessions.insert(*id);
                }
                Op::BookmarkPut(id, _) | Op::BookmarkDeleted(id, _) => {
                    mentioned.bookmarks.insert(*id);
                }
                Op::Download(id, report) => {
                    mentioned.downloads.insert(*id);
                    mentioned.units.insert(report.unit_id);
                }
            }
        }
        mentioned
    }
}

/// What came under a key before.
#[derive(Debug, Clone, Copy)]
pub struct Logged {
    /// Its content.
    pub content_hash: [u8; 32],
    /// What was refused had no effect, so the same key may try again once the reason is gone.
    pub refused: bool,
}

/// What is there of all that was mentioned.
#[derive(Debug, Default)]
pub struct Known {
    /// Keys that came before.
    pub logged: HashMap<u64, Logged>,
    /// Withdrawn ones included.
    pub lessons: HashMap<LessonId, (CourseId, LessonFacts)>,
    /// When the right to work on a course ends; missing where there never was one.
    pub last_days: HashMap<CourseId, Option<TimeMs>>,
    /// Units.
    pub units: HashSet<UnitId>,
    /// Progress, by lesson and attempt.
    pub progress: HashMap<(LessonId, u32), Progress>,
    /// Sessions, with whose they are.
    pub sessions: HashMap<SessionId, (LearnerId, Session)>,
    /// Bookmarks, with whose they are.
    pub bookmarks: HashMap<BookmarkId, (LearnerId, Bookmark)>,
    /// Downloads, with whose they are and their last word.
    pub downloads: HashMap<DownloadId, (LearnerId, Stamp)>,
    /// For quizzes that are handed in: their questions with solutions.
    pub quizzes: HashMap<LessonId, Quiz>,
    /// And all that was answered in them before.
    pub answers: HashMap<SessionId, Vec<Answer>>,
}

/// An op and the word for what became of it, for the log.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The op.
    pub op: &'a IncomingOp,
    /// The word.
    pub outcome: &'static str,
}

/// What a batch comes to. Rows are sorted by their keys, so that all who write them lock them in one order; each comes with
/// the number of the op that changed it last.
#[derive(Debug, Default)]
pub struct Taken<'a> {
    /// The verdicts, in the order of the ops.
    pub results: Vec<PushResult>,
    /// The log by key; a key that was refused and came again has its last content.
    pub log: BTreeMap<i64, Entry<'a>>,
    /// Every op that was judged.
    pub audit: Vec<Entry<'a>>,
    /// Progress.
    pub progress: BTreeMap<(LessonId, u32), (Progress, i64)>,
    /// Sessions.
    pub sessions: BTreeMap<SessionId, (Session, i64)>,
    /// Answers.
    pub answers: Vec<(Answer, i64)>,
    /// Bookmarks.
    pub bookmarks: BTreeMap<BookmarkId, (Bookmark, i64)>,
    /// Downloads.
    pub downloads: BTreeMap<DownloadId, (DownloadReported, Stamp)>,
    /// The devices whose downloads changed.
    pub storage_changed: BTreeSet<DeviceId>,
}

impl Taken<'_> {
    /// Whether rows change that a reader gets and sums up.
    pub fn changes_records(&self) -> bool {
        !(self.progress.is_empty() && self.sessions.is_empty() && self.answers.is_empty() && self.bookmarks.is_empty())
    }
}

/// What is here already under the numbers of a batch whose device was restored or cloned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Regressed {
    /// The ops that are here with the same content.
    pub known: Vec<u64>,
    /// The ops under whose numbers another content came in an earlier request.
    pub conflicting: Vec<u64>,
}

/// Whether the device's numbers went backwards: another content came under a number that was used in an earlier request.
/// Then this is a device that was restored or cloned. It gets to know which ops of the batch are here already and which can
/// never come under their numbers. The others were not judged: its twin may hold the very same, so they have to come under
/// the key they have.
pub fn regressed(ops: &[IncomingOp], logged: &HashMap<u64, Logged>) -> Option<Regressed> {
    let mut found = Regressed::default();
    for op in ops {
        match logged.get(&op.seq) {
            Some(logged) if logged.refused => {}
            Some(logged) if logged.content_hash == op.content_hash => found.known.push(op.seq),
            Some(_) => found.conflicting.push(op.seq),
            None => {}
        }
    }
    (!found.conflicting.is_empty()).then_some(found)
}

/// Judges a batch. `first` is the number of its first op in the learner's scope.
pub fn judge(caller: Caller, ops: &[IncomingOp], known: Known, first: i64) -> Taken<'_> {
    let mut judging = Judging { caller, known, taken: Taken::default() };
    for (op, number) in ops.iter().zip(first..) {
        let outcome = judging.op(op, number);
        judging.taken.results.push(PushResult { seq: op.seq, outcome });
    }
    judging.grade(first.saturating_add(i64::try_from(ops.len()).unwrap_or(i64::MAX)));
    judging.taken
}

struct Judging<'a> {
    caller: Caller,
    known: Known,
    taken: Taken<'a>,
}

impl<'a> Judging<'a> {
    fn op(&mut self, incoming: &'a IncomingOp, number: i64) -> PushOutcome {
        if let Some(logged) = self.known.logged.get(&incoming.seq).filter(|logged| !logged.refused) {
            return if logged.content_hash == incoming.content_hash {
                PushOutcome::Duplicate
            } else {
                rejected(Rejection::new(RejectCode::KeyReused, "another content came under this key"))
            };
        }
        let outcome = match &incoming.op {
            Err(rejection) => rejected(rejection.clone()),
            Ok(op) => match admit(op, self.known_to(op, incoming)) {
                Err(rejection) => rejected(rejection),
                Ok(()) if self.take(op, incoming, number) => PushOutcome::Applied,
                Ok(()) => PushOutcome::Superseded,
            },
        };
        let refused = matches!(outcome, PushOutcome::Rejected { .. });
        self.known.logged.insert(incoming.seq, Logged { content_hash: incoming.content_hash, refused });
        let entry = Entry { op: incoming, outcome: word_for(&outcome) };
        self.taken.log.insert(i64::try_from(incoming.seq).unwrap_or(i64::MAX), entry);
        self.taken.audit.push(entry);
        outcome
    }

    fn known_to(&self, op: &Op, incoming: &IncomingOp) -> KnownToOp {
        let me = self.caller.learner;
        let mut known = KnownToOp::default();
        match op {
            Op::Answer(id, _) | Op::Session(id, ..) | Op::Statistics(id, _) => {
                let strange =
                    |(owner, session): &(LearnerId, Session)| *owner != me || Some(session.lesson_id) != op.lesson_id();
                known.foreign = self.known.sessions.get(id).is_some_and(strange);
            }
            Op::BookmarkPut(id, _) | Op::BookmarkDeleted(id, _) => {
                let strange =
                    |(owner, mark): &(LearnerId, Bookmark)| *owner != me || Some(mark.lesson_id) != op.lesson_id();
                known.foreign = self.known.bookmarks.get(id).is_some_and(strange);
            }
            Op::Download(id, report) => {
                known.foreign = self.known.downloads.get(id).is_some_and(|(owner, _)| *owner != me);
                known.unit = self.known.units.contains(&report.unit_id);
            }
            Op::Position(..) | Op::Completed(..) => {}
        }
        if let Some((course, facts)) = op.lesson_id().and_then(|lesson| self.known.lessons.get(&lesson)) {
            known.lesson = Some(*facts);
            let in_time =
                |end: &Option<TimeMs>| end.is_none_or(|end| incoming.effective_at < end.plus_ms(OP_TIME_TOLERANCE_MS));
            known.enrolled = self.known.last_days.get(course).is_some_and(in_time);
        }
        known
    }

    /// Grades each quiz that is handed in and that this batch changed something about: when its answers come after its end,
    /// they count as if they had come before it. `next` is the first number that no op has.
    fn grade(&mut self, mut next: i64) {
        let mut touched: BTreeMap<SessionId, Vec<Answer>> =
            self.taken.sessions.keys().map(|session| (*session, Vec::new())).collect();
        for (answer, _) in &self.taken.answers {
            touched.entry(answer.session_id).or_default().push(answer.clone());
        }
        for (id, mut answers) in touched {
            let Some((owner, session)) = self.known.sessions.get(&id) else { continue };
            let Some(quiz) = self.known.quizzes.get(&session.lesson_id) else { continue };
            answers.extend(self.known.answers.remove(&id).unwrap_or_default());
            let grade = session.graded(quiz, &answers);
            if grade.is_none() || grade == session.grade {
                continue;
            }
            let graded = Session { grade, ..session.clone() };
            let number = self.taken.sessions.get(&id).map_or(next, |(_, number)| *number);
            if number == next {
                next = next.saturating_add(1);
            }
            self.known.sessions.insert(id, (*owner, graded.clone()));
            self.taken.sessions.insert(id, (graded, number));
        }
    }

    /// Joins an op's effect with what is there. Whether that changed anything.
    fn take(&mut self, op: &Op, incoming: &IncomingOp, number: i64) -> bool {
        let me = self.caller.learner;
        let stamp = Stamp { at: incoming.effective_at, device_id: self.caller.device, seq: incoming.seq };
        match op.effect(stamp) {
            Effect::Progress(new) => {
                let key = (new.lesson_id, new.attempt);
                let Some(joined) = joined(self.known.progress.get(&key), new, Progress::join) else { return false };
                self.known.progress.insert(key, joined.clone());
                self.taken.progress.insert(key, (joined, number));
            }
            Effect::Session(new) => {
                let key = new.id;
                let old = self.known.sessions.get(&key).map(|(_, session)| session);
                let Some(joined) = joined(old, new, Session::join) else { return false };
                self.known.sessions.insert(key, (me, joined.clone()));
                self.taken.sessions.insert(key, (joined, number));
            }
            Effect::Answer(new) => self.taken.answers.push((new, number)),
            Effect::Bookmark(new) => {
                let key = new.id;
                let old = self.known.bookmarks.get(&key).map(|(_, mark)| mark);
                let Some(joined) = joined(old, new, Bookmark::join) else { return false };
                self.known.bookmarks.insert(key, (me, joined.clone()));
                self.taken.bookmarks.insert(key, (joined, number));
            }
            Effect::Download(id, report, stamp) => {
                let old = self.known.downloads.get(&id).map(|(_, stamp)| *stamp);
                if old.is_some_and(|old| old >= stamp) {
                    return false;
                }
                self.taken.storage_changed.extend(old.map(|old| old.device_id));
                self.taken.storage_changed.insert(stamp.device_id);
                self.known.downloads.insert(id, (me, stamp));
                self.taken.downloads.insert(id, (report, stamp));
            }
        }
        true
    }
}

/// The join with what is there, if that is something else.
fn joined<T: Clone + PartialEq>(old: Option<&T>, new: T, join: impl FnOnce(T, T) -> T) -> Option<T> {
    match old {
        None => Some(new),
        Some(old) => Some(join(old.clone(), new)).filter(|joined| joined != old),
    }
}

fn rejected(rejection: Rejection) -> PushOutcome {
    PushOutcome::Rejected { code: rejection.code, detail: rejection.detail }
}

const fn word_for(outcome: &PushOutcome) -> &'static str {
    match outcome {
        PushOutcome::Applied => "applied",
        PushOutcome::Duplicate => "duplicate",
        PushOutcome::Superseded => "superseded",
        PushOutcome::Rejected { .. } => "rejected",
        PushOutcome::Retry { .. } => "retry",
    }
}
