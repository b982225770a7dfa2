//! What learners were promised, and whether it was kept.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    LearnerId, LessonId, TimeMs,
    op::{Op, RejectCode},
    progress::ProgressStatus,
    quiz::Response,
    session::SessionStatus,
    stamp::Stamp,
};

use crate::{
    device::{Device, EntryState},
    service::Record,
    world::World,
};

/// A write the learner was told is safe.
#[derive(Debug, Clone)]
pub struct Promise {
    /// Whose.
    pub learner: LearnerId,
    /// On which device.
    pub device: usize,
    /// What.
    pub op: Op,
    /// The key it was given.
    pub stamp: Stamp,
    /// When.
    pub promised_at: TimeMs,
}

/// All promises of a history, and what releases from them.
#[derive(Debug, Default)]
pub struct Promises {
    all: Vec<Promise>,
    /// Promises before this index were made by a device that is no more what it was.
    released: BTreeMap<usize, usize>,
    unenrolled: BTreeSet<LearnerId>,
    service_restored: bool,
    fell: u64,
}

/// What was found at the end of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Writes that are neither at the service nor shown as refused.
    pub lost: u64,
    /// Answers that are there more than once.
    pub duplicated: u64,
    /// Devices whose rows are not the service's, and screens on which progress fell.
    pub divergent: u64,
    /// Histories that didn't come to rest.
    pub stuck: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(self) -> bool {
        self == Self::default()
    }
}

type Heights = BTreeMap<(LessonId, u32), (ProgressStatus, u8)>;

impl Promises {
    /// Notes one.
    pub fn keep(&mut self, promise: Promise) {
        self.all.push(promise);
    }

    /// A device is gone: nobody can hold it to what it hadn't sent.
    pub fn lost_device(&mut self, device: usize) {
        self.released.insert(device, self.all.len());
    }

    /// A device was put back to an image: what came after is gone with it, unless it was sent.
    pub fn restored_device(&mut self, device: usize) {
        self.released.insert(device, self.all.len());
    }

    /// The service was put back to a backup.
    pub const fn restored_service(&mut self) {
        self.service_restored = true;
    }

    /// Nothing of this learner need be accepted any more, only shown as refused.
    pub fn enrolment_ended(&mut self, learner: LearnerId) {
        self.unenrolled.insert(learner);
    }

    /// What the learner saw before and after an answer of the service: progress must not fall.
    pub fn look(&mut self, before: &Heights, after: &Heights) {
        // Put back to a backup, the service doesn't know what other devices did until they have told it again.
        if self.service_restored {
            return;
        }
        let fell = |(key, height): (&(LessonId, u32), &(ProgressStatus, u8))| {
            after.get(key).is_none_or(|now| now.0 < height.0 || now.1 < height.1)
        };
        self.fell += u64::from(before.iter().any(fell));
    }
}

/// Judges a world that has come to rest, or was given up on.
#[must_use]
pub fn verdict(world: &World, rests: bool) -> (Verdict, Vec<String>) {
    let mut verdict = Verdict { stuck: u64::from(!rests), divergent: world.promises.fell, ..Verdict::default() };
    let mut reasons = Vec::new();
    if !rests {
        reasons.push(format!("no rest after {} events", world.events));
    }
    if world.promises.fell > 0 {
        reasons.push("progress fell on a screen".to_owned());
    }
    let learners: BTreeSet<LearnerId> = world.devices.iter().map(|device| device.disk.learner).collect();
    let records: BTreeMap<LearnerId, Record> =
        learners.iter().map(|learner| (*learner, world.service.record(*learner))).collect();
    for (index, promise) in world.promises.all.iter().enumerate() {
        let released = world.promises.released.get(&promise.device).is_some_and(|until| index < *until);
        let Some(record) = records.get(&promise.learner) else { continue };
        if !released && !is_kept(world, promise, record) {
            verdict.lost += 1;
            reasons.push(format!("lost: {promise:?}"));
        }
    }
    for record in records.values() {
        let mut texts: BTreeMap<&str, u64> = BTreeMap::new();
        for answer in record.answers.values() {
            if let Response::ShortText { text } = &answer.response {
                *texts.entry(text).or_default() += 1;
            }
        }
        for (text, times) in texts.into_iter().filter(|(_, times)| *times > 1) {
            verdict.duplicated += 1;
            reasons.push(format!("{times} times: {text}"));
        }
    }
    if rests {
        for (index, device) in world.devices.iter().enumerate().filter(|(_, device)| !device.is_lost) {
            if records.get(&device.disk.learner) != Some(&device.disk.rows) {
                verdict.divergent += 1;
                reasons.push(format!("device {index} holds other rows than the service"));
            }
        }
    }
    (verdict, reasons)
}

fn is_kept(world: &World, promise: &Promise, record: &Record) -> bool {
    let at_service = match &promise.op {
        Op::Position(lesson, reached) => {
            record.progress.get(&(*lesson, reached.attempt)).is_some_and(|row| row.percent >= reached.percent)
        }
        Op::Completed(lesson, completed) => record
            .progress
            .get(&(*lesson, completed.attempt))
            .is_some_and(|row| row.status == ProgressStatus::Completed),
        Op::Answer(_, given) => record.answers.values().any(|answer| answer.response == given.response),
        Op::Session(id, status, _) => record.sessions.get(id).is_some_and(|row| match status {
            SessionStatus::Finished => row.status == SessionStatus::Finished,
            SessionStatus::Abandoned => row.status.is_end(),
            SessionStatus::Running | SessionStatus::Paused => true,
        }),
        Op::Statistics(id, recorded) => record.sessions.get(id).is_some_and(|row| {
            let joined = row.statistics.join(recorded.session.statistics);
            joined == row.statistics
        }),
        Op::BookmarkPut(id, _) | Op::BookmarkDeleted(id, _) => record.bookmarks.contains_key(id),
        Op::Download(..) => true,
    };
    at_service || world.devices.get(promise.device).is_some_and(|device| is_shown(world, device, promise))
}

/// Whether the device shows the write as refused for a reason the learner can understand, or as still waiting for a
/// service that fails on it.
fn is_shown(world: &World, device: &Device, promise: &Promise) -> bool {
    device.disk.outbox.values().any(|entry| {
        let same = entry.op.kind == promise.op.kind().as_str() && entry.op.entity_id == promise.op.entity_id();
        same && match entry.state {
            EntryState::Refused(Some(RejectCode::NotEnrolled)) => world.promises.unenrolled.contains(&promise.learner),
            EntryState::Refused(Some(RejectCode::OutOfRange | RejectCode::UnknownEntity)) => true,
            EntryState::Refused(_) | EntryState::Acked => false,
            EntryState::Waiting => world.may_wait_for_ever(device, &entry.op),
        }
    })
}
