//! One history: what a seed makes of learners, devices, weather and blows.

use carrel_engine::sync::view::NetworkState;
use carrel_model::{
    BookmarkId, DeviceId, LearnerId, LessonId, SessionId, TimeMs,
    op::{BookmarkDeleted, BookmarkPut, Op},
    progress::{LessonCompleted, PositionReached},
    quiz::Response,
    session::{AnswerRecorded, SessionKind, SessionMoved, SessionStatus, Statistics, StatisticsRecorded},
    time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS},
};

use crate::{
    chance::Chance,
    check::{Verdict, verdict},
    device::Device,
    plant::Plant,
    service::Service,
    world::{Act, Blow, Happening, World},
};

/// When histories begin.
const BEGINNING: TimeMs = TimeMs::from_ms(1_800_000_000_000);
/// How long after the mending everything may take: the longest wait an op can be told is a day.
const PATIENCE_MS: i64 = 3 * DAY_MS;
/// Ten years.
const FAR_MS: i64 = 3_652 * DAY_MS;

/// What became of a history.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was found.
    pub verdict: Verdict,
    /// In words.
    pub reasons: Vec<String>,
    /// Its events.
    pub events: u64,
    /// Each step, if it was asked for.
    pub trace: Option<String>,
}

/// Plays the history of a seed.
#[must_use]
pub fn play(seed: u64, plant: Option<Plant>, traced: bool) -> Outcome {
    let mut world = Making::new(seed, plant).world();
    world.trace = traced.then(String::new);
    let rests = world.play(PATIENCE_MS);
    let (verdict, reasons) = verdict(&world, rests);
    Outcome { verdict, reasons, events: world.events, trace: world.trace }
}

struct Making {
    chance: Chance,
    plant: Option<Plant>,
    lessons: Vec<LessonId>,
    owners: Vec<LearnerId>,
    sessions: Vec<(usize, SessionId, SessionMoved)>,
    bookmarks: Vec<(usize, BookmarkId, LessonId)>,
    answers: u64,
}

impl Making {
    fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut chance = Chance::new(seed);
        let lessons = (0..2 + chance.below(3)).map(|_| LessonId::from_parts(BEGINNING, chance.bytes())).collect();
        let learners: Vec<_> =
            (0..1 + chance.below(2)).map(|_| LearnerId::from_parts(BEGINNING, chance.bytes())).collect();
        let owners = learners.iter().flat_map(|learner| vec![*learner; 1 + chance.below(4) as usize]).collect();
        Self { chance, plant, lessons, owners, sessions: Vec::new(), bookmarks: Vec::new(), answers: 0 }
    }

    fn world(mut self) -> World {
        let service = Service::new(self.lessons.iter().copied(), self.plant);
        let wrong_clocks = self.chance.happens(0.3);
        let devices: Vec<Device> = self
            .owners
            .iter()
            .map(|learner| {
                let off =
                    if wrong_clocks && self.chance.happens(0.5) { self.chance.between(-FAR_MS, FAR_MS) } else { 0 };
                let id = DeviceId::from_parts(BEGINNING, self.chance.bytes());
                Device::new(*learner, id, BEGINNING, off, self.plant)
            })
            .collect();
        let count = devices.len();
        let chance = Chance::new(self.chance.below(u64::MAX));
        let mut world = World::new(BEGINNING, service, devices, chance, self.plant);
        let length = self.chance.spread(20 * MINUTE_MS, 12 * HOUR_MS);
        for device in 0..count {
            world.at(BEGINNING, Happening::SignsIn(device));
            self.network(&mut world, device, length);
        }
        for _ in 0..8 + self.chance.below(40) {
            let at = self.moment(length);
            let device = self.chance.below(count as u64) as usize;
            self.activity(&mut world, device, at);
        }
        self.blows(&mut world, length);
        world.at(BEGINNING.plus_ms(length + HOUR_MS), Happening::Heals);
        world
    }

    /// Activity comes in bouts: mostly shortly after something, sometimes anywhere.
    fn moment(&mut self, length: i64) -> TimeMs {
        BEGINNING.plus_ms(self.chance.between(0, length))
    }

    fn network(&mut self, world: &mut World, device: usize, length: i64) {
        let mut at = self.chance.spread(SECOND_MS, length);
        let first = if self.chance.happens(0.6) { NetworkState::Online } else { NetworkState::Offline };
        world.at(BEGINNING.plus_ms(1), Happening::Network(device, first));
        let mut online = first == NetworkState::Online;
        while at < length {
            online = !online;
            let state = if online { NetworkState::Online } else { NetworkState::Offline };
            world.at(BEGINNING.plus_ms(at), Happening::Network(device, state));
            at += self.chance.spread(SECOND_MS, length);
        }
    }

    fn activity(&mut self, world: &mut World, device: usize, at: TimeMs) {
        match self.chance.below(30) {
            0 => world.at(at, Happening::Crash(device)),
            1 => world.at(at, Happening::Act(device, Act::SyncNow)),
            2 if self.chance.happens(0.3) => {
                let by = self.chance.between(-FAR_MS, FAR_MS);
                world.at(at, Happening::ClockJumps(device, by));
            }
            _ => {
                // A learner rarely does one thing alone.
                let mut at = at;
                for _ in 0..1 + self.chance.below(4) {
                    let op = self.op(device, at);
                    world.at(at, Happening::Act(device, Act::Write(op)));
                    at = at.plus_ms(self.chance.spread(200, 2 * MINUTE_MS));
                }
            }
        }
    }

    fn blows(&mut self, world: &mut World, length: i64) {
        if self.chance.happens(0.3) {
            let at = self.moment(length);
            let for_ms = self.chance.spread(MINUTE_MS, length);
            world.at(at, Happening::Befalls(Blow::AwayFor(for_ms)));
        }
        if self.chance.happens(0.15) {
            let (backup, later) = (self.moment(length), self.chance.spread(MINUTE_MS, length));
            world.at(backup, Happening::Befalls(Blow::Backup));
            let restore = backup.plus_ms(later.min(length));
            world.at(restore, Happening::Befalls(Blow::Restore));
            // What only a lost device knew, and the backup doesn't, is gone for everybody.
            if self.owners.len() > 1 && self.chance.happens(0.3) {
                let device = self.chance.below(self.owners.len() as u64) as usize;
                world.at(restore.plus_ms(-1), Happening::Act(device, Act::Lose));
            }
        }
        if self.chance.happens(0.1) {
            let (at, learner) = (self.moment(length), self.owners.first().copied());
            if let Some(learner) = learner {
                world.at(at, Happening::Befalls(Blow::EndEnrolment(learner)));
            }
        }
        if self.chance.happens(0.2) {
            let at = self.moment(length);
            let text = format!("text-{}-", self.chance.below(20));
            world.at(at, Happening::Befalls(Blow::Poison(text)));
            world.poison_stays = self.chance.happens(0.5);
            if !world.poison_stays {
                world.at(at.plus_ms(length / 3), Happening::Befalls(Blow::Mended));
            }
        }
        let count = self.owners.len();
        // Bugs of devices that part show only where devices part.
        let parts = matches!(self.plant, Some(Plant::KeepsItsIdWhenCloned | Plant::RekeysTheUnjudged));
        if self.chance.happens(0.15) | parts {
            let device = self.chance.below(count as u64) as usize;
            let kept = self.moment(length);
            world.at(kept, Happening::Act(device, Act::KeepImage));
            let later = kept.plus_ms(self.chance.spread(MINUTE_MS, length));
            let siblings = self
                .owners
                .iter()
                .enumerate()
                .filter(|(index, owner)| *index != device && Some(*owner) == self.owners.get(device));
            let sibling = siblings.map(|(index, _)| index).next();
            let act = match sibling {
                Some(other) if self.chance.happens(0.5) | parts => Act::CloneTo(other),
                _ => Act::RestoreImage,
            };
            world.at(later, Happening::Act(device, act));
        }
        if count > 1 && self.chance.happens(0.05) {
            let device = self.chance.below(count as u64) as usize;
            let at = self.moment(length);
            world.at(at, Happening::Act(device, Act::Lose));
        }
    }

    fn op(&mut self, device: usize, at: TimeMs) -> Op {
        let lesson =
            self.chance.one_of(&self.lessons.clone()).copied().unwrap_or_else(|| LessonId::from_parts(at, [0; 10]));
        match self.chance.below(12) {
            0..=3 => {
                let percent = if self.chance.happens(0.02) { 120 } else { self.chance.below(101) as u8 };
                let attempt = 1 + self.chance.below(2) as u32;
                Op::Position(lesson, PositionReached { attempt, position: self.chance.below(600_000), percent })
            }
            4 => Op::Completed(lesson, LessonCompleted { attempt: 1 + self.chance.below(2) as u32 }),
            5 => {
                let id = BookmarkId::from_parts(at, self.chance.bytes());
                self.bookmarks.push((device, id, lesson));
                Op::BookmarkPut(id, BookmarkPut { lesson_id: lesson, position: 1, note: "هنا & 🙂".to_owned() })
            }
            6 => {
                let bookmarks = self.bookmarks.clone();
                match self.own(&bookmarks, device, |(made_on, ..)| *made_on) {
                    Some((_, id, lesson_id)) => Op::BookmarkDeleted(id, BookmarkDeleted { lesson_id }),
                    None => self.session_op(device, lesson, at),
                }
            }
            _ => self.session_op(device, lesson, at),
        }
    }

    /// One of the learner's own; bookmarks and sessions are made on one device and changed on any.
    fn own<T: Copy>(&mut self, among: &[T], device: usize, made_on: impl Fn(&T) -> usize) -> Option<T> {
        let owner = self.owners.get(device);
        let own: Vec<T> = among.iter().copied().filter(|one| self.owners.get(made_on(one)) == owner).collect();
        self.chance.one_of(&own).copied()
    }

    fn session_op(&mut self, device: usize, lesson: LessonId, at: TimeMs) -> Op {
        let sessions = self.sessions.clone();
        let own = self.own(&sessions, device, |(made_on, ..)| *made_on);
        let Some((_, id, mut moved)) = own.filter(|_| !self.chance.happens(0.15)) else {
            let id = SessionId::from_parts(at, self.chance.bytes());
            let moved = SessionMoved {
                lesson_id: lesson,
                attempt: 1,
                kind: SessionKind::Quiz,
                started_at: at,
                statistics: Statistics::default(),
            };
            self.sessions.push((device, id, moved));
            return Op::Session(id, SessionStatus::Running, moved);
        };
        moved.statistics.answered = self.chance.below(20) as u32;
        match self.chance.below(8) {
            0 => Op::Session(id, SessionStatus::Paused, moved),
            1 => Op::Session(id, SessionStatus::Finished, moved),
            2 => Op::Session(id, SessionStatus::Abandoned, moved),
            3 => Op::Statistics(id, StatisticsRecorded { session: moved }),
            _ => {
                self.answers += 1;
                let text = format!("text-{}-& = \u{202e}🙂", self.answers);
                let response = Response::ShortText { text };
                Op::Answer(id, AnswerRecorded { lesson_id: moved.lesson_id, question_id: "q1".to_owned(), response })
            }
        }
    }
}
