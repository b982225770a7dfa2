//! Histories: whatever the network does to a set of ops, the outcome is one.

use std::collections::BTreeMap;

use super::*;
use crate::{
    progress::ProgressStatus,
    quiz::Response,
    session::{SessionKind, Statistics},
};

fn id<T: std::str::FromStr>(n: u64) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("01900000-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// A small generator (SplitMix64), so that a history is named by its seed alone.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Record {
    progress: BTreeMap<(LessonId, u32), Progress>,
    sessions: BTreeMap<SessionId, Session>,
    answers: BTreeMap<Stamp, Answer>,
    bookmarks: BTreeMap<BookmarkId, Bookmark>,
}

impl Record {
    fn take(&mut self, op: &Op, stamp: Stamp) {
        match op.effect(stamp) {
            Effect::Progress(new) => {
                let key = (new.lesson_id, new.attempt);
                let row = self.progress.remove(&key).map_or_else(|| new.clone(), |old| old.join(new.clone()));
                self.progress.insert(key, row);
            }
            Effect::Session(new) => {
                let row = self.sessions.remove(&new.id).map_or_else(|| new.clone(), |old| old.join(new.clone()));
                self.sessions.insert(new.id, row);
            }
            Effect::Answer(answer) => {
                self.answers.insert(stamp, answer);
            }
            Effect::Bookmark(new) => {
                let row = self.bookmarks.remove(&new.id).map_or_else(|| new.clone(), |old| old.join(new.clone()));
                self.bookmarks.insert(new.id, row);
            }
            Effect::Download(..) => {}
        }
    }
}

fn random_op(dice: &mut Dice) -> Op {
    let lesson: LessonId = id(dice.roll(2));
    let attempt = 1 + u32::try_from(dice.roll(2)).unwrap();
    let session = |dice: &mut Dice| -> (SessionId, SessionMoved) {
        let n = dice.roll(2);
        let statistics = Statistics {
            answered: u32::try_from(dice.roll(9)).unwrap(),
            correct: u32::try_from(dice.roll(9)).unwrap(),
            duration_ms: dice.roll(9),
            ..Statistics::default()
        };
        let started_at = TimeMs::from_ms(i64::try_from(dice.roll(5)).unwrap());
        (id(100 + n), SessionMoved { lesson_id: id(n), attempt: 1, kind: SessionKind::Quiz, started_at, statistics })
    };
    match dice.roll(8) {
        0..3 => {
            let percent = u8::try_from(dice.roll(101)).unwrap();
            Op::Position(lesson, PositionReached { attempt, position: dice.roll(1_000), percent })
        }
        3 => Op::Completed(lesson, LessonCompleted { attempt }),
        4 => {
            let (id, moved) = session(dice);
            let all =
                [SessionStatus::Running, SessionStatus::Paused, SessionStatus::Finished, SessionStatus::Abandoned];
            Op::Session(id, all[usize::try_from(dice.roll(4)).unwrap()], moved)
        }
        5 => {
            let (id, moved) = session(dice);
            Op::Statistics(id, StatisticsRecorded { session: moved })
        }
        6 => Op::Answer(
            id(100 + dice.roll(2)),
            AnswerRecorded {
                lesson_id: lesson,
                question_id: dice.roll(3).to_string(),
                response: Response::ShortText { text: dice.roll(9).to_string() },
            },
        ),
        _ if dice.roll(2) == 0 => {
            let note = dice.roll(9).to_string();
            Op::BookmarkPut(id(200), BookmarkPut { lesson_id: lesson, position: dice.roll(9), note })
        }
        _ => Op::BookmarkDeleted(id(200), BookmarkDeleted { lesson_id: lesson }),
    }
}

fn permutations(count: usize, each: &mut dyn FnMut(&[usize])) {
    fn go(order: &mut Vec<usize>, k: usize, each: &mut dyn FnMut(&[usize])) {
        if k == order.len() {
            return each(order);
        }
        for i in k..order.len() {
            order.swap(k, i);
            go(order, k + 1, each);
            order.swap(k, i);
        }
    }
    go(&mut (0..count).collect(), 0, each);
}

/// A history of ops by three devices; times repeat so that ties are common.
fn history(seed: u64) -> Vec<(Op, Stamp)> {
    let mut dice = Dice(seed);
    let length = 2 + dice.roll(4);
    (0..length)
        .map(|seq| {
            let at = TimeMs::from_ms(i64::try_from(10 + dice.roll(4)).unwrap());
            (random_op(&mut dice), Stamp { at, device_id: id(300 + dice.roll(3)), seq })
        })
        .collect()
}

#[test]
fn a_hundred_thousand_histories_give_one_result_in_every_order_with_duplicates() {
    for seed in 0..100_000 {
        let history = history(seed);
        let mut expected = Record::default();
        history.iter().for_each(|(op, stamp)| expected.take(op, *stamp));

        for ((lesson, attempt), row) in &expected.progress {
            let done = history
                .iter()
                .any(|(op, _)| matches!(op, Op::Completed(id, p) if id == lesson && p.attempt == *attempt));
            assert_eq!(row.status == ProgressStatus::Completed, done, "seed {seed}: completed iff it was once");
            assert_eq!(row.completed_at.is_some(), done, "seed {seed}: with its time");
        }

        let check = |order: &[usize], with_duplicate: Option<usize>| {
            let mut record = Record::default();
            for (place, &index) in order.iter().enumerate() {
                let (op, stamp) = &history[index];
                record.take(op, *stamp);
                if let Some(duplicate) = with_duplicate.filter(|_| place % 2 == 1) {
                    let (op, stamp) = &history[duplicate];
                    record.take(op, *stamp);
                }
            }
            if let Some(duplicate) = with_duplicate {
                let (op, stamp) = &history[duplicate];
                record.take(op, *stamp);
            }
            assert_eq!(record, expected, "seed {seed}, order {order:?}, duplicate {with_duplicate:?}");
        };
        let duplicate = usize::try_from(seed).unwrap() % history.len();
        permutations(history.len(), &mut |order| check(order, (order[0] % 2 == 0).then_some(duplicate)));
    }
}

#[test]
fn an_op_survives_its_journey_and_a_bad_one_is_refused_alone() {
    let mut dice = Dice(1);
    for seq in 0..2_000 {
        let op = random_op(&mut dice);
        let raw = op.encode(seq, TimeMs::from_ms(5)).unwrap();
        let text = serde_json::to_string(&raw).unwrap();
        assert_eq!(Op::decode(&serde_json::from_str(&text).unwrap()), Ok(op), "read back as written: {text}");
    }
    let raw = |kind: &str, entity: &str, payload: Value| RawOp {
        seq: 1,
        kind: kind.into(),
        entity_id: entity.into(),
        at: TimeMs::from_ms(0),
        payload,
    };
    let lesson = id::<LessonId>(1).to_string();
    for (op, code) in [
        (raw("thought.had", &lesson, Value::Null), RejectCode::Unsupported),
        (raw("progress.position", "x", serde_json::json!({"position": 1, "percent": 1})), RejectCode::Malformed),
        (raw("progress.position", &lesson, serde_json::json!({"position": -1, "percent": 1})), RejectCode::Malformed),
        (raw("progress.position", &lesson, serde_json::json!({"position": 1})), RejectCode::Malformed),
        (raw("progress.position", &lesson, serde_json::json!({"position": 1, "percent": 101})), RejectCode::OutOfRange),
        (
            raw("progress.position", &lesson, serde_json::json!({"position": 9e9 as u64, "percent": 1})),
            RejectCode::OutOfRange,
        ),
    ] {
        let verdict = Op::decode(&op).and_then(|o| o.check(LessonFacts { max_position: Some(60_000) }));
        assert_eq!(verdict.unwrap_err().code, code, "{op:?}");
    }
}
