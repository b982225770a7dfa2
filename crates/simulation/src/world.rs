//! The world of one history: events in the order of a virtual clock, and the driver's part of performing effects.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt::Write as _,
};

use carrel_engine::sync::{
    planner::{Effect, Event, Failure, Page, Pushed},
    view::NetworkState,
};
use carrel_model::{
    DeviceId, ErrorCode, LearnerId, TimeMs,
    op::{Op, RawOp},
    time::{DAY_MS, HOUR_MS, MINUTE_MS},
    wire::sync::PushRequest,
};
use carrel_service::rules::read_batch;

use crate::{
    chance::Chance,
    check::{Promise, Promises},
    device::{Asked, Batch, Device},
    network::{Request, Response, Weather, failure},
    plant::Plant,
    service::{Refusal, Service, Tables},
};

/// A request without an answer is given up after this.
const PATIENCE_MS: i64 = 30_000;
/// A history with more events than this runs away: something asks without end.
const MOST_EVENTS: u64 = 400_000;
/// With a planted bug it is given up earlier: far above what a history takes without one.
pub const MOST_EVENTS_PLANTED: u64 = 30_000;

/// What happens at a moment.
#[derive(Debug, Clone)]
pub enum Happening {
    /// The learner does something on a device.
    Act(usize, Act),
    /// Time alone makes a planner look.
    Wake(usize),
    /// A request arrives at the service.
    Arrives {
        /// From.
        device: usize,
        /// Its number, and whether the device hears the answer.
        request: u64,
        /// What it asks.
        what: Request,
        /// Under which id the device spoke.
        speaks_as: (LearnerId, DeviceId),
    },
    /// An answer arrives at a device.
    Answered(usize, u64, Response),
    /// A device gives up waiting.
    GivesUp(usize, u64),
    /// The network of a device changes.
    Network(usize, NetworkState),
    /// A device's app dies and is started again.
    Crash(usize),
    /// A wall clock jumps.
    ClockJumps(usize, i64),
    /// Somebody signs in again.
    SignsIn(usize),
    /// Something befalls the service.
    Befalls(Blow),
    /// Everything is mended.
    Heals,
}

/// What a learner does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Writes something.
    Write(Op),
    /// "Sync now".
    SyncNow,
    /// The device's image is kept.
    KeepImage,
    /// The device is put back to its image.
    RestoreImage,
    /// The image is put on another device.
    CloneTo(usize),
    /// The device is gone for ever.
    Lose,
}

/// What befalls the service.
#[derive(Debug, Clone)]
pub enum Blow {
    /// A backup is taken.
    Backup,
    /// The service is put back to its backup.
    Restore,
    /// It is away until then.
    AwayFor(i64),
    /// A learner's enrolment ends.
    EndEnrolment(LearnerId),
    /// It fails on ops with this text.
    Poison(String),
    /// It doesn't any more.
    Mended,
}

/// Everything there is.
#[derive(Debug)]
pub struct World {
    /// Now.
    pub now: TimeMs,
    /// The service.
    pub service: Service,
    /// Devices.
    pub devices: Vec<Device>,
    /// What learners were promised.
    pub promises: Promises,
    /// The planted bug.
    pub plant: Option<Plant>,
    /// Whether a poisoned op is never mended.
    pub poison_stays: bool,
    /// A note of each step, if wanted.
    pub trace: Option<String>,
    /// Events so far.
    pub events: u64,
    chance: Chance,
    weather: Weather,
    queue: BinaryHeap<Reverse<(TimeMs, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    order: u64,
    away_until: TimeMs,
    backup: Option<Tables>,
    images: BTreeMap<usize, crate::device::Disk>,
    networks: Vec<NetworkState>,
    healed: bool,
    changed_at: TimeMs,
    /// With the planted bug: pauses that only grow.
    grown: BTreeMap<usize, u32>,
    /// When each planner is woken next.
    alarms: BTreeMap<usize, TimeMs>,
}

impl World {
    /// A world without events yet.
    #[must_use]
    pub fn new(now: TimeMs, service: Service, devices: Vec<Device>, chance: Chance, plant: Option<Plant>) -> Self {
        let networks = vec![NetworkState::Unknown; devices.len()];
        let mut chance = chance;
        let weather = Weather::random(&mut chance);
        Self {
            now,
            service,
            devices,
            promises: Promises::default(),
            plant,
            poison_stays: false,
            trace: None,
            events: 0,
            chance,
            weather,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            order: 0,
            away_until: TimeMs::default(),
            backup: None,
            images: BTreeMap::new(),
            networks,
            healed: false,
            changed_at: now,
            grown: BTreeMap::new(),
            alarms: BTreeMap::new(),
        }
    }

    fn has(&self, plant: Plant) -> bool {
        self.plant == Some(plant)
    }

    /// Makes something happen.
    pub fn at(&mut self, at: TimeMs, what: Happening) {
        self.order += 1;
        self.happenings.insert(self.order, what);
        self.queue.push(Reverse((at, self.order)));
    }

    /// Plays until everything is at rest after the mending, or for so long afterwards. Whether it came to rest.
    pub fn play(&mut self, patience_ms: i64) -> bool {
        let mut until = None;
        while let Some(Reverse((at, order))) = self.queue.pop() {
            self.now = self.now.max(at);
            self.events += 1;
            let most = if self.plant.is_some() { MOST_EVENTS_PLANTED } else { MOST_EVENTS };
            if self.events > most || until.is_some_and(|until| self.now > until) {
                return false;
            }
            let Some(what) = self.happenings.remove(&order) else { continue };
            self.note(&what);
            if matches!(what, Happening::Heals) {
                until = Some(self.now.plus_ms(patience_ms));
            }
            self.happen(what);
            if self.healed && self.is_at_rest() {
                return true;
            }
        }
        false
    }

    fn note(&mut self, what: &Happening) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            let mut line = format!("{what:?}");
            if line.len() > 400 {
                line = line.chars().take(400).collect();
            }
            writeln!(trace, "{now} {line}").ok();
        }
    }

    /// Nobody waits for anything, and everybody has seen the last change.
    fn is_at_rest(&self) -> bool {
        self.devices.iter().filter(|device| !device.is_lost).all(|device| {
            device.outstanding.is_none()
                && device.waiting().all(|entry| self.may_wait_for_ever(device, &entry.op))
                && device.succeeded_at.is_some()
                && device.seen_at.is_some_and(|at| at > self.changed_at)
        })
    }

    /// Whether the service still fails on this, or on something before it about the same.
    #[must_use]
    pub fn may_wait_for_ever(&self, device: &Device, op: &RawOp) -> bool {
        let Some(poison) = &self.service.poison else { return false };
        let before = |other: &RawOp| other.entity_id == op.entity_id && other.seq <= op.seq;
        device.waiting().any(|entry| before(&entry.op) && entry.op.payload.to_string().contains(poison))
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Act(device, act) => self.act(device, act),
            Happening::Wake(device) => self.feed(device, Event::Tick),
            Happening::SignsIn(device) => self.feed(device, Event::Started),
            Happening::Network(device, state) => {
                if let Some(kept) = self.networks.get_mut(device) {
                    *kept = state;
                }
                if state == NetworkState::Offline {
                    self.drop_request(device);
                }
                self.feed(device, Event::Network(state));
            }
            Happening::Crash(device) => self.crash(device),
            Happening::ClockJumps(device, by) => {
                if let Some(device) = self.devices.get_mut(device) {
                    device.clock_off_ms += by;
                }
            }
            Happening::Arrives { device, request, what, speaks_as } => self.arrives(device, request, what, speaks_as),
            Happening::Answered(device, request, response) => {
                if self.devices.get(device).is_some_and(|known| known.outstanding == Some(request)) {
                    self.answered(device, response);
                }
            }
            Happening::GivesUp(device, request) => {
                if self.devices.get(device).is_some_and(|known| known.outstanding == Some(request)) {
                    self.answered(device, Response::Failed(Failure::Unreachable(ErrorCode::ServiceUnreachable)));
                }
            }
            Happening::Befalls(blow) => self.befalls(blow),
            Happening::Heals => self.heal(),
        }
    }

    fn act(&mut self, index: usize, act: Act) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index).filter(|device| !device.is_lost) else { return };
        match act {
            Act::Write(op) => {
                let learner = device.disk.learner;
                let stamp = device.write(&op, now);
                self.promises.keep(Promise { learner, device: index, op, stamp, promised_at: now });
                self.feed(index, Event::Written);
            }
            Act::SyncNow => self.feed(index, Event::SyncNow),
            Act::KeepImage => {
                self.images.insert(index, device.disk.clone());
            }
            Act::RestoreImage => self.restore_image(index, index),
            Act::CloneTo(other) => self.restore_image(index, other),
            Act::Lose => {
                device.is_lost = true;
                self.promises.lost_device(index);
            }
        }
    }

    /// What was written since the image was taken and is nowhere else is gone with it, as the learner knows.
    fn restore_image(&mut self, from: usize, to: usize) {
        let Some(image) = self.images.get(&from).cloned() else { return };
        let now = self.now;
        let Some(device) = self.devices.get_mut(to).filter(|device| !device.is_lost) else { return };
        if image.learner != device.disk.learner {
            return;
        }
        *device = Device::boot(image, now, device.clock_off_ms, self.plant);
        self.promises.restored_device(to);
        self.feed(to, Event::Started);
        self.feed_network(to);
    }

    fn crash(&mut self, index: usize) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index).filter(|device| !device.is_lost) else { return };
        *device = Device::boot(device.disk.clone(), now, device.clock_off_ms, self.plant);
        self.feed(index, Event::Started);
        self.feed_network(index);
    }

    fn feed_network(&mut self, index: usize) {
        let state = self.networks.get(index).copied().unwrap_or(NetworkState::Unknown);
        self.feed(index, Event::Network(state));
    }

    fn drop_request(&mut self, index: usize) {
        let Some(request) = self.devices.get(index).and_then(|device| device.outstanding) else { return };
        self.at(self.now.plus_ms(1), Happening::GivesUp(index, request));
    }

    fn befalls(&mut self, blow: Blow) {
        match blow {
            Blow::Backup => self.backup = Some(self.service.tables.clone()),
            Blow::Restore => {
                if let Some(backup) = self.backup.clone() {
                    self.service.restore(backup);
                    self.promises.restored_service();
                    self.changed_at = self.now;
                }
            }
            Blow::AwayFor(ms) => self.away_until = self.now.plus_ms(ms),
            Blow::EndEnrolment(learner) => {
                let now = self.now;
                self.service.end_enrolment(learner, now);
                self.promises.enrolment_ended(learner);
            }
            Blow::Poison(text) => self.service.poison = Some(text),
            Blow::Mended => self.service.poison = None,
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        self.weather = self.weather.fair();
        self.away_until = TimeMs::default();
        if !self.poison_stays {
            self.service.poison = None;
        }
        for index in 0..self.devices.len() {
            self.at(self.now, Happening::Network(index, NetworkState::Online));
            self.at(self.now.plus_ms(10), Happening::SignsIn(index));
        }
    }

    /// Gives an event to a planner and performs what follows.
    fn feed(&mut self, index: usize, event: Event) {
        let now = self.now;
        let random = self.chance.fraction();
        let Some(device) = self.devices.get_mut(index).filter(|device| !device.is_lost) else { return };
        let mut effects = device.planner.step(event, now.as_ms(), random);
        if self.has(Plant::NeverBisects) {
            effects.retain(|effect| !matches!(effect, Effect::HoldBack { .. }));
        }
        for effect in effects {
            self.perform(index, effect);
            // The app may die between any two steps.
            if !self.healed && self.chance.happens(0.002) {
                self.crash(index);
                return;
            }
        }
        let wakes_at = self.devices.get(index).and_then(|device| device.planner.wakes_at());
        if let Some(at) = wakes_at {
            let more = self.grown_pause(index);
            let at = TimeMs::from_ms(at).max(now.plus_ms(1)).plus_ms(more);
            // One alarm at a time; an earlier one is looked at when it rings.
            if self.alarms.get(&index).is_none_or(|set| *set > at || *set <= now) {
                self.alarms.insert(index, at);
                self.at(at, Happening::Wake(index));
            }
        }
    }

    fn grown_pause(&self, index: usize) -> i64 {
        let failures = self.grown.get(&index).copied().unwrap_or(0);
        if self.has(Plant::BackoffNeverResets) { (1_000_i64 << failures.min(40)).min(400 * DAY_MS) } else { 0 }
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index) else { return };
        match effect {
            Effect::Push { limit } => {
                if device.disk.cursor.is_none() {
                    self.feed(index, Event::Pushed(Pushed::Nothing { next_in_ms: Some(0) }));
                    return;
                }
                let limit = if self.plant == Some(Plant::NeverBisects) { 500 } else { limit };
                match device.take_batch(limit, now) {
                    Some(batch) => {
                        let request = PushRequest {
                            device_id: batch.device,
                            client_now: device.wall(now),
                            ops: batch.ops.clone(),
                        };
                        device.last_batch = Some(batch);
                        let body = serde_json::to_vec(&request).unwrap_or_default();
                        self.send(index, Request::Push(body));
                    }
                    None if device.has_regressed() => {
                        self.feed(index, Event::Pushed(Pushed::Failed { ops: 0, failure: Failure::SeqRegressed }));
                    }
                    None => {
                        let next_in_ms = device.next_due_in(now);
                        self.feed(index, Event::Pushed(Pushed::Nothing { next_in_ms }));
                    }
                }
            }
            Effect::HoldBack { for_ms } => device.hold_back(for_ms, now),
            Effect::PullRecords => {
                let cursor = device.disk.cursor.clone();
                self.send(index, Request::Pull(cursor));
            }
            Effect::StartRecordsOver => device.start_over(),
            Effect::PullUnits => self.send(index, Request::Units),
            Effect::Rekey => {
                let new = DeviceId::from_parts(now, self.chance.bytes());
                if !self.has(Plant::KeepsItsIdWhenCloned)
                    && let Some(device) = self.devices.get_mut(index)
                {
                    device.rekey(new);
                }
                self.at(now.plus_ms(MINUTE_MS), Happening::SignsIn(index));
            }
            Effect::Succeeded => device.succeeded_at = Some(now),
            Effect::Failed { code } => {
                *self.grown.entry(index).or_default() += 1;
                if code == ErrorCode::SignInNeeded {
                    if self.plant == Some(Plant::UnauthorizedDrops) {
                        device.disk.outbox.clear();
                    }
                    self.at(now.plus_ms(HOUR_MS), Happening::SignsIn(index));
                }
            }
        }
    }

    fn send(&mut self, index: usize, what: Request) {
        self.order += 1;
        let request = self.order;
        let now = self.now;
        let Some(device) = self.devices.get_mut(index) else { return };
        device.outstanding = Some(request);
        device.asked = match what {
            Request::Push(_) => Asked::Push,
            Request::Pull(_) => Asked::Records,
            Request::Units => Asked::Units,
        };
        let speaks_as =
            (device.disk.learner, device.last_batch.as_ref().map_or(device.disk.device, |batch| batch.device));
        self.at(now.plus_ms(PATIENCE_MS), Happening::GivesUp(index, request));
        if self.networks.get(index) == Some(&NetworkState::Offline) || self.chance.happens(self.weather.lost) {
            return;
        }
        if self.chance.happens(self.weather.repeated) {
            let later = self.weather.repeat_after(&mut self.chance);
            let again = Happening::Arrives { device: index, request: 0, what: what.clone(), speaks_as };
            self.at(now.plus_ms(later), again);
        }
        let delay = self.weather.delay(&mut self.chance);
        self.at(now.plus_ms(delay), Happening::Arrives { device: index, request, what, speaks_as });
    }

    fn arrives(&mut self, index: usize, request: u64, what: Request, speaks_as: (LearnerId, DeviceId)) {
        let now = self.now;
        let response = if now < self.away_until {
            Response::Failed(Failure::Unreachable(ErrorCode::Offline))
        } else if self.chance.happens(self.weather.odd) {
            Response::Failed(self.weather.odd_answer(&mut self.chance))
        } else {
            self.serve(what, speaks_as)
        };
        if request == 0 || self.chance.happens(self.weather.unanswered) {
            return;
        }
        let delay = self.weather.delay(&mut self.chance);
        self.at(now.plus_ms(delay), Happening::Answered(index, request, response));
    }

    fn serve(&mut self, what: Request, (learner, device): (LearnerId, DeviceId)) -> Response {
        let now = self.now;
        match what {
            Request::Units => Response::Units,
            Request::Pull(cursor) => match self.service.pull(learner, cursor.as_deref(), self.weather.page, now) {
                Ok(page) => Response::Page(Box::new(page)),
                Err(refusal) => Response::Failed(failure(&refusal)),
            },
            Request::Push(body) => {
                let Ok((_, ops)) = read_batch(&body, now) else {
                    return Response::Failed(Failure::NotNow {
                        code: ErrorCode::InvalidRequest,
                        failed: true,
                        retry_after_ms: None,
                    });
                };
                if ops.len() > self.weather.most_ops {
                    return Response::Failed(Failure::TooLarge);
                }
                let crashes = self.has(Plant::AcknowledgesBeforeCommit) || self.has(Plant::KeyOutsideTheTransaction);
                let before = crashes.then(|| self.service.tables.clone());
                match self.service.push(learner, device, &ops, now) {
                    Ok(results) => {
                        self.changed_at = now;
                        let crash = !self.healed && self.chance.happens(0.1);
                        if let Some(before) = before.filter(|_| crash) {
                            if self.has(Plant::AcknowledgesBeforeCommit) {
                                self.service.tables = before;
                            } else {
                                self.service.lose_effects(before);
                                return Response::Failed(Failure::Unreachable(ErrorCode::Offline));
                            }
                        }
                        Response::Pushed(results, now)
                    }
                    Err(Refusal::SeqRegressed(regressed)) => Response::Regressed(regressed),
                    Err(refusal) => Response::Failed(failure(&refusal)),
                }
            }
        }
    }

    fn answered(&mut self, index: usize, response: Response) {
        let now = self.now;
        let heights = self.devices.get(index).map(Device::heights);
        let Some(device) = self.devices.get_mut(index) else { return };
        device.outstanding = None;
        let event = match response {
            Response::Pushed(results, server_now) => {
                device.service_said(server_now, now);
                if let Some(batch) = device.last_batch.clone() {
                    let about: Vec<_> = results.into_iter().collect();
                    device.settle(&batch, &about, now);
                }
                Event::Pushed(Pushed::Judged)
            }
            Response::Regressed(regressed) => {
                device.regressed(&regressed);
                Event::Pushed(Pushed::Judged)
            }
            Response::Page(page) => {
                device.service_said(page.server_time, now);
                let has_more = page.has_more;
                if self.plant == Some(Plant::CursorBeforePage) && !self.healed && self.chance.happens(0.05) {
                    device.disk.cursor = Some(page.cursor.clone());
                    self.crash(index);
                    return;
                }
                device.keep(&page);
                Event::PulledRecords(Ok(Page { has_more, enrolments_changed: false }))
            }
            Response::Units => Event::PulledUnits(Ok(())),
            Response::Failed(failure) => self.failed(index, failure),
        };
        if let (Some(before), Some(device)) = (heights, self.devices.get(index)) {
            self.promises.look(&before, &device.heights());
        }
        self.feed(index, event);
    }

    /// What a failure is to the planner depends on what it was an answer to.
    fn failed(&mut self, index: usize, failure: Failure) -> Event {
        let asked = self.devices.get(index).map(|device| device.asked);
        match asked {
            Some(Asked::Records) => Event::PulledRecords(Err(failure)),
            Some(Asked::Units) => Event::PulledUnits(Err(failure)),
            _ => {
                let batch = self.devices.get(index).and_then(|device| device.last_batch.as_ref());
                let ops = batch.map_or(0, |batch: &Batch| batch.ops.len());
                let failure = match failure {
                    // The planner learns of a cursor only when it asked for a page.
                    Failure::CursorExpired => Failure::Unreachable(ErrorCode::Offline),
                    other => other,
                };
                Event::Pushed(Pushed::Failed { ops, failure })
            }
        }
    }
}
