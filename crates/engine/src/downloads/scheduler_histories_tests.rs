//! Random queues through random histories: links, power, hours, sign-ins, room, limits, failures, and what learners do.
//!
//! A history is made of a number, and a failing one is named by it. After every step the rules are checked by an oracle of
//! its own; in the end all obstacles go, and everything has to be fetched.

use super::*;
use crate::settings::Hours;

const HISTORIES: u64 = 100_000;
const STEPS: u64 = 8;
const BLOBS: u8 = 10;
const HOUR_MS: i64 = 3_600_000;

/// Chance that is the same each time: SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn small(&mut self, end: u8) -> u8 {
        u8::try_from(self.below(u64::from(end))).unwrap()
    }
}

/// A learner and their choices.
#[derive(Debug)]
struct Learner {
    id: ProfileId,
    signed_in: bool,
    limit: usize,
    wifi_only: bool,
    charging_only: bool,
    hours: Option<Hours>,
}

/// Everything there is, as it is and not as the scheduler is told.
#[derive(Debug)]
struct World {
    now: TimeMs,
    network: NetworkState,
    drive: bool,
    wifi: bool,
    power: bool,
    room_bytes: u64,
    learners: Vec<Learner>,
    queue: Vec<Queued>,
    paused: BTreeSet<DownloadId>,
    /// What is left of each blob; those that are here are missing.
    left: BTreeMap<u8, u64>,
    running: BTreeMap<u8, ProfileId>,
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(n: u64) -> T {
    format!("01900000-0000-7000-8000-00000000{n:04x}").parse().unwrap()
}

fn hash(n: u8) -> BlobHash {
    BlobHash::from_bytes([n; 32])
}

fn number(hash: BlobHash) -> u8 {
    hash.as_bytes()[0]
}

/// Odd ones are small.
const fn size(n: u8) -> u64 {
    if n.is_multiple_of(2) { LARGE_BYTES } else { 1_000 }
}

impl World {
    fn new(dice: &mut Dice) -> Self {
        let learners = (1..=2).map(|n| Learner {
            id: id(n),
            signed_in: true,
            limit: 1 + usize::from(dice.small(3)),
            wifi_only: dice.one_in(2),
            charging_only: dice.one_in(3),
            hours: None,
        });
        let mut world = Self {
            now: TimeMs::from_ms(20_000 * 24 * HOUR_MS),
            network: NetworkState::Online,
            drive: true,
            wifi: true,
            power: true,
            room_bytes: 2_000,
            learners: learners.collect(),
            queue: Vec::new(),
            paused: BTreeSet::new(),
            left: (0..BLOBS).map(|n| (n, dice.below(400))).collect(),
            running: BTreeMap::new(),
        };
        for _ in 0..=dice.below(5) {
            world.wish(dice);
        }
        world
    }

    fn wish(&mut self, dice: &mut Dice) {
        let wanted = |n: u8| Wanted { hash: hash(n), size: size(n), remaining_bytes: 0 };
        let mut blobs: BTreeSet<u8> = (0..dice.below(4)).map(|_| dice.small(BLOBS)).collect();
        blobs.retain(|n| self.left.contains_key(n));
        self.queue.push(Queued {
            id: id(100 + self.queue.len() as u64),
            profile: id(1 + dice.below(2)),
            priority: 1 + dice.small(10),
            position: i64::from(dice.small(5)),
            retry: None,
            own: OwnConditions::default(),
            blobs: blobs.into_iter().map(wanted).collect(),
        });
    }

    /// Something happens.
    fn step(&mut self, dice: &mut Dice) {
        let who = usize::from(dice.small(2));
        let which = usize::try_from(dice.below(self.queue.len() as u64)).unwrap();
        match dice.below(20) {
            0 => self.wifi = !self.wifi,
            1 => self.power = !self.power,
            2 => {
                let states =
                    [NetworkState::Online, NetworkState::Limited, NetworkState::Offline, NetworkState::Unknown];
                self.network = states[usize::from(dice.small(4))];
            }
            3 => self.drive = dice.one_in(2),
            4 => self.room_bytes = dice.below(2_000),
            5 => self.learners[who].signed_in = !self.learners[who].signed_in,
            6 => self.learners[who].limit = 1 + usize::from(dice.small(4)),
            7 => self.learners[who].wifi_only = !self.learners[who].wifi_only,
            8 => self.learners[who].charging_only = !self.learners[who].charging_only,
            9 => {
                let minute = |dice: &mut Dice| u16::try_from(dice.below(720)).unwrap();
                let hours = Hours { from_minute: minute(dice), to_minute: 720 + minute(dice) };
                self.learners[who].hours = dice.one_in(2).then_some(hours);
            }
            10 | 11 => self.now = self.now.plus_ms(i64::try_from(dice.below(20)).unwrap() * HOUR_MS / 2),
            12 => self.wish(dice),
            13 => {
                self.queue[which].own = OwnConditions {
                    wifi_only: [None, Some(false), Some(true)][usize::from(dice.small(3))],
                    at_any_hour: dice.one_in(2),
                    on_battery: dice.one_in(2),
                };
            }
            14 => (self.queue[which].priority, self.queue[which].position) = (1 + dice.small(10), -1),
            15 => {
                let download = self.queue[which].id;
                if !self.paused.remove(&download) {
                    self.paused.insert(download);
                }
            }
            16 => self.fail(dice),
            _ => self.finish(dice),
        }
        let needed = |n: u8| self.needing(n).next().is_some();
        let unneeded: Vec<u8> = self.running.keys().copied().filter(|n| !needed(*n)).collect();
        self.running.retain(|n, _| !unneeded.contains(n));
    }

    /// Queued downloads that want this blob.
    fn needing(&self, n: u8) -> impl Iterator<Item = &Queued> {
        let queued = self.queue.iter().filter(|queued| !self.paused.contains(&queued.id));
        queued.filter(move |queued| queued.blobs.iter().any(|blob| blob.hash == hash(n)))
    }

    fn some_running(&self, dice: &mut Dice) -> Option<u8> {
        if self.running.is_empty() {
            return None;
        }
        let at = usize::try_from(dice.below(self.running.len() as u64)).unwrap();
        self.running.keys().nth(at).copied()
    }

    fn finish(&mut self, dice: &mut Dice) {
        let Some(n) = self.some_running(dice) else { return };
        self.running.remove(&n);
        self.room_bytes = self.room_bytes.saturating_sub(self.left.remove(&n).unwrap());
        for queued in &mut self.queue {
            queued.blobs.retain(|blob| blob.hash != hash(n));
        }
    }

    fn fail(&mut self, dice: &mut Dice) {
        let Some(n) = self.some_running(dice) else { return };
        self.running.remove(&n);
        let until = self.now.plus_ms(HOUR_MS);
        for queued in self.queue.iter_mut().filter(|queued| queued.blobs.iter().any(|blob| blob.hash == hash(n))) {
            queued.retry = Some((until, WaitReason::Server));
        }
    }

    fn closed(&self, learner: &Learner) -> bool {
        learner.hours.is_some_and(|hours| !hours.are_open(self.now, 0))
    }

    /// As the runner tells the scheduler.
    fn conditions(&self) -> Conditions {
        let those = |wish: &dyn Fn(&Learner) -> bool| -> BTreeSet<ProfileId> {
            self.learners.iter().filter(|learner| wish(learner)).map(|learner| learner.id).collect()
        };
        let changes = self.learners.iter().filter_map(|learner| Some(learner.hours?.next_change(self.now, |_| 0)));
        let fetching = |(n, profile): (&u8, &ProfileId)| {
            (hash(*n), Fetching { profile: *profile, size: size(*n), remaining_bytes: self.left[n] })
        };
        Conditions {
            now: self.now,
            network: self.network,
            drive_is_here: self.drive,
            signed_in: those(&|learner| learner.signed_in),
            wishes: Wishes {
                without_wifi: (!self.wifi).then(|| those(&|learner| learner.wifi_only)),
                without_power: those(&|learner| learner.charging_only && !self.power),
                out_of_hours: those(&|learner| self.closed(learner)),
                hours_change_at: changes.min(),
            },
            limits: self.learners.iter().map(|learner| (learner.id, learner.limit)).collect(),
            room_bytes: if self.drive { self.room_bytes } else { 0 },
            running: self.running.iter().map(fetching).collect(),
        }
    }

    fn line(&self) -> Vec<Queued> {
        let queued = self.queue.iter().filter(|queued| !self.paused.contains(&queued.id)).cloned();
        let mut line: Vec<Queued> = queued.collect();
        for blob in line.iter_mut().flat_map(|queued| &mut queued.blobs) {
            blob.remaining_bytes = self.left[&number(blob.hash)];
        }
        line
    }

    /// What the runner does with a look: begins, then stops; and looks again when what it stopped has ended.
    fn look(&mut self) -> (Plan, Vec<Queued>) {
        let mut begun = Vec::new();
        loop {
            let (conditions, line) = (self.conditions(), self.line());
            let mut plan = plan(&line, &conditions);
            for (download, hash) in &plan.start {
                let owner = line.iter().find(|queued| queued.id == *download).unwrap().profile;
                assert!(self.running.insert(number(*hash), owner).is_none(), "what runs is not begun again");
            }
            begun.append(&mut plan.start);
            let stopped = self.to_stop(&conditions, &line);
            if stopped.is_empty() {
                plan.start = begun;
                return (plan, line);
            }
            self.running.retain(|n, _| !stopped.contains(&hash(*n)));
        }
    }

    fn to_stop(&self, conditions: &Conditions, line: &[Queued]) -> Vec<BlobHash> {
        let serves = |n: &u8| -> Vec<DownloadId> { self.needing(*n).map(|queued| queued.id).collect() };
        let serves: Vec<(BlobHash, Vec<DownloadId>)> = self.running.keys().map(|n| (hash(*n), serves(n))).collect();
        let free = |download| {
            let queued = line.iter().find(|queued| queued.id == download).unwrap();
            conditions.wishes.hold_back(queued.profile, queued.own).is_none()
        };
        to_stop(serves.iter().map(|(hash, serves)| (hash, serves.as_slice())), free)
    }

    /// Whether this download's learner, or the learner's choices, forbid it to run; not asked of the scheduler.
    fn forbidden(&self, queued: &Queued) -> Option<WaitReason> {
        let learner = self.learners.iter().find(|learner| learner.id == queued.profile).unwrap();
        if !self.wifi && queued.own.wifi_only.unwrap_or(learner.wifi_only) {
            return Some(WaitReason::Wifi);
        }
        if !self.power && learner.charging_only && !queued.own.on_battery {
            return Some(WaitReason::Power);
        }
        (self.closed(learner) && !queued.own.at_any_hour).then_some(WaitReason::Schedule)
    }

    fn check(&self, plan: &Plan, line: &[Queued]) {
        let of = |profile| self.running.iter().filter(move |(_, of)| **of == profile).map(|(n, _)| size(*n));
        let all = self.running.keys().map(|n| size(*n)).fold(Taken::default(), Taken::with);
        let limit = self.learners.iter().map(|learner| learner.limit).max().unwrap();
        if !plan.start.is_empty() {
            assert!(all.places() <= limit, "no more places than there are");
            for learner in &self.learners {
                let begun =
                    plan.start.iter().any(|(id, _)| line.iter().any(|q| q.id == *id && q.profile == learner.id));
                let taken = of(learner.id).fold(Taken::default(), Taken::with);
                assert!(!begun || taken.places() <= learner.limit, "nor more than this learner wants");
            }
        }
        let taken: u64 = self.running.keys().map(|n| self.left[n]).sum();
        let begun: u64 = plan.start.iter().filter_map(|(_, hash)| self.running_bytes(*hash)).sum();
        assert!(begun == 0 || taken <= self.room_bytes, "the room is enough for all that runs");
        for n in self.running.keys() {
            assert!(
                self.needing(*n).any(|queued| self.forbidden(queued).is_none()),
                "blob {n} runs, and nobody may want it"
            );
        }
        for queued in line {
            self.check_reason(queued, plan, taken);
        }
        if plan.start.is_empty() {
            self.check_nobody_is_passed_over(plan, line, (all, limit), taken);
        }
    }

    /// What is left of a blob that runs.
    fn running_bytes(&self, hash: BlobHash) -> Option<u64> {
        let n = number(hash);
        self.running.contains_key(&n).then(|| self.left[&n])
    }

    fn check_reason(&self, queued: &Queued, plan: &Plan, taken: u64) {
        let learner = self.learners.iter().find(|learner| learner.id == queued.profile).unwrap();
        let fits = |blob: &Wanted| blob.remaining_bytes + taken <= self.room_bytes;
        let true_now = match plan.waits[&queued.id] {
            None => {
                let reachable = matches!(self.network, NetworkState::Online | NetworkState::Unknown);
                self.forbidden(queued).is_none() && learner.signed_in && self.drive && reachable
            }
            Some(WaitReason::SignIn) => !learner.signed_in,
            Some(WaitReason::Drive) => !self.drive,
            Some(WaitReason::Network) => self.network == NetworkState::Offline,
            Some(WaitReason::Server) => {
                let retry = queued.retry.is_some_and(|(at, _)| at > self.now && plan.wake_at.is_some_and(|w| w <= at));
                self.network == NetworkState::Limited || retry
            }
            Some(WaitReason::Space) => queued.blobs.iter().any(|blob| !fits(blob)),
            Some(reason) => self.forbidden(queued) == Some(reason),
        };
        assert!(true_now, "{:?} is not true of {queued:?}", plan.waits[&queued.id]);
        if plan.waits[&queued.id] == Some(WaitReason::Schedule) {
            let opens = learner.hours.unwrap().next_change(self.now, |_| 0);
            assert!(plan.wake_at.is_some_and(|wake| wake > self.now && wake <= opens), "hours end without an event");
        }
    }

    /// Whoever could run and doesn't is behind somebody, or itself, who lacks a place. Of a look that began something this
    /// can't be said: a blob that one lacked a place for may have been begun for another learner after its turn.
    fn check_nobody_is_passed_over(&self, plan: &Plan, line: &[Queued], (all, limit): (Taken, usize), taken: u64) {
        let mut order: Vec<&Queued> = line.iter().filter(|queued| plan.waits[&queued.id].is_none()).collect();
        order.sort_by_key(|queued| (std::cmp::Reverse(queued.priority), queued.position, queued.id));
        let (mut full, mut full_for) = (false, BTreeSet::new());
        for queued in order {
            let own = self.running.iter().filter(|(_, of)| **of == queued.profile);
            let own = own.map(|(n, _)| size(*n)).fold(Taken::default(), Taken::with);
            let own_limit = self.learners.iter().find(|learner| learner.id == queued.profile).unwrap().limit;
            for blob in &queued.blobs {
                let runs = self.running.contains_key(&number(blob.hash));
                if runs || blob.remaining_bytes + taken > self.room_bytes {
                    continue;
                }
                full |= all.with(blob.size).places() > limit;
                if own.with(blob.size).places() > own_limit {
                    full_for.insert(queued.profile);
                }
                assert!(full || full_for.contains(&queued.profile), "{queued:?} could run");
            }
        }
    }

    /// Looks until nothing new begins, and checks each time; gives the last plan.
    fn settle(&mut self) -> Plan {
        for _ in 0..=BLOBS {
            let (plan, line) = self.look();
            self.check(&plan, &line);
            if plan.start.is_empty() {
                return plan;
            }
        }
        panic!("it begins for ever");
    }

    /// Every obstacle goes; then everything must be fetched.
    fn drain(&mut self, dice: &mut Dice) {
        (self.network, self.drive, self.wifi, self.power, self.room_bytes) =
            (NetworkState::Online, true, true, true, 8_000);
        self.paused.clear();
        for learner in &mut self.learners {
            learner.signed_in = true;
        }
        for _ in 0..200 {
            let plan = self.settle();
            if self.queue.iter().all(|queued| queued.blobs.is_empty()) {
                return;
            }
            if self.running.is_empty() {
                // Only time can help, and the plan says when to look.
                let wake = plan.wake_at.expect("nothing runs, and nothing will wake the queue");
                assert!(wake > self.now, "a wait that is over");
                self.now = wake;
            } else {
                self.finish(dice);
            }
        }
        panic!("starved: {:?}", self.queue);
    }
}

fn play(number: u64) {
    let mut dice = Dice(number.wrapping_mul(0x2545_F491_4F6C_DD1D));
    let mut world = World::new(&mut dice);
    for _ in 0..STEPS {
        world.settle();
        world.step(&mut dice);
    }
    world.drain(&mut dice);
}

#[test]
fn nothing_starves_limits_hold_and_every_reason_is_true_in_a_hundred_thousand_histories() {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let played = std::thread::scope(|scope| {
        let part = |first: u64| {
            move || {
                for number in (first..HISTORIES).step_by(usize::try_from(threads).unwrap()) {
                    let played = std::panic::catch_unwind(|| play(number));
                    assert!(played.is_ok(), "history {number}: its first complaint is above");
                }
            }
        };
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).all(|joined| joined.is_ok())
    });
    assert!(played);
}
