//! What devices bring: answers for half of it, then places in lessons, lessons completed, sessions and bookmarks.

use std::io;

use carrel_model::{
    BookmarkId, DeviceId, LessonId, SessionId, TimeMs,
    op::{BookmarkPut, Op, RawOp},
    progress::{LessonCompleted, PositionReached},
    quiz::Response,
    session::{AnswerRecorded, SessionKind, SessionMoved, SessionStatus, Statistics},
    wire::sync::PushRequest,
};

/// The lessons ops are about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lessons {
    pub(crate) pages: Vec<LessonId>,
    pub(crate) quizzes: Vec<LessonId>,
}

/// The next ops of one device.
#[derive(Debug)]
pub(crate) struct Outbox {
    device: DeviceId,
    /// Tells its ids from those of other devices.
    number: u64,
    seq: u64,
    session: u64,
}

impl Outbox {
    pub(crate) const fn new(device: DeviceId, number: u64) -> Self {
        Self { device, number, seq: 0, session: 0 }
    }

    /// The body of the next push, and how many answers are in it.
    pub(crate) fn batch(&mut self, lessons: &Lessons, count: u32, now: TimeMs) -> io::Result<(Vec<u8>, u64)> {
        let mut answers = 0;
        let mut ops = Vec::with_capacity(count as usize);
        for n in 0..count {
            self.seq += 1;
            if n % 10 == 0 {
                self.session += 1;
            }
            let at = now.plus_ms(i64::from(n) - i64::from(count));
            let op = self.op(n % 10, lessons).ok_or_else(|| io::Error::other("no lessons"))?;
            answers += u64::from(matches!(op, Op::Answer(..)));
            let raw: Option<RawOp> = op.encode(self.seq, at).ok();
            ops.push(raw.ok_or_else(|| io::Error::other("an op can't be written"))?);
        }
        let request = PushRequest { device_id: self.device, client_now: now, ops };
        Ok((serde_json::to_vec(&request)?, answers))
    }

    fn op(&self, which: u32, lessons: &Lessons) -> Option<Op> {
        let turn = usize::try_from(self.seq).ok()?;
        let page = *lessons.pages.get(turn % lessons.pages.len().max(1))?;
        let quiz = *lessons.quizzes.get(usize::try_from(self.session).ok()? % lessons.quizzes.len().max(1))?;
        let percent = u8::try_from(self.seq % 101).ok()?;
        let attempt = u32::try_from(self.session % 5).ok()? + 1;
        Some(match which {
            0 if self.session.is_multiple_of(2) => {
                let put = BookmarkPut { lesson_id: page, position: 10, note: "to be read again".to_owned() };
                Op::BookmarkPut(BookmarkId::from_parts(TimeMs::default(), self.random(self.seq)), put)
            }
            0 => {
                let moved = SessionMoved {
                    lesson_id: quiz,
                    attempt,
                    kind: SessionKind::Quiz,
                    started_at: TimeMs::default(),
                    statistics: Statistics::default(),
                };
                Op::Session(self.session_id(), SessionStatus::Finished, moved)
            }
            1..=5 => {
                let response = Response::Single { option: "a".to_owned() };
                let answer = AnswerRecorded { lesson_id: quiz, question_id: format!("q{which}"), response };
                Op::Answer(self.session_id(), answer)
            }
            6..=8 => Op::Position(page, PositionReached { attempt, position: u64::from(percent), percent }),
            _ => Op::Completed(page, LessonCompleted { attempt }),
        })
    }

    fn session_id(&self) -> SessionId {
        SessionId::from_parts(TimeMs::default(), self.random(self.session))
    }

    fn random(&self, n: u64) -> [u8; 10] {
        let mut bytes = [0; 10];
        for (place, byte) in bytes.iter_mut().zip(self.number.to_be_bytes().iter().skip(3).chain(&n.to_be_bytes()[3..]))
        {
            *place = *byte;
        }
        bytes
    }
}
