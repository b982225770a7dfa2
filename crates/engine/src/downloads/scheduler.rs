//! What may run next. Pure: the queue and the conditions go in, what to start and why the rest waits comes out.
//!
//! Order is priority (10 first), then position (D2). A place is one large blob or a group of up to 32 small ones, so that
//! one large unit can use all places, small files don't wait for each other's round trips, and two units never take more
//! than the limit together (D3). A download that can't run doesn't hold back those behind it, and always gets the reason
//! that holds now – so when the reason goes, the next plan lets it run. One that only lacks a place does hold them back:
//! else small blobs could fill up a group for ever, and a large one that comes first would never get its place.
//!
//! Wi-Fi, power and hours (D8, D9) hold for what runs as well: [`to_stop`] says which transfers end where they are. They
//! keep what they have verified, and start again when the condition is back.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{BlobHash, DownloadId, ProfileId, TimeMs, download::WaitReason};

use super::view::OwnConditions;
use crate::sync::view::NetworkState;

/// A download that isn't finished, paused or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) id: DownloadId,
    pub(crate) profile: ProfileId,
    pub(crate) priority: u8,
    pub(crate) position: i64,
    /// After a failed round: not before this, and why.
    pub(crate) retry: Option<(TimeMs, WaitReason)>,
    /// What it may do that the learner's settings don't say.
    pub(crate) own: OwnConditions,
    /// Blobs that are not here, in the order they are wanted. May be cut to the first few that are not running.
    pub(crate) blobs: Vec<Wanted>,
}

/// A blob that is not here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) hash: BlobHash,
    /// Its length: large or small.
    pub(crate) size: u64,
    /// Bytes the disk must still give.
    pub(crate) remaining_bytes: u64,
}

/// A blob that is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetching {
    /// For whom.
    pub(crate) profile: ProfileId,
    /// Its length.
    pub(crate) size: u64,
    /// Bytes the disk must still give.
    pub(crate) remaining_bytes: u64,
}

/// Whom their own settings hold back now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The network doesn't count as Wi-Fi: those who want it. None: it does, for everybody.
    pub(crate) without_wifi: Option<BTreeSet<ProfileId>>,
    /// Learners who want power while there is none.
    pub(crate) without_power: BTreeSet<ProfileId>,
    /// Learners outside whose hours it is.
    pub(crate) out_of_hours: BTreeSet<ProfileId>,
    /// When the hours of any of them begin or end next.
    pub(crate) hours_change_at: Option<TimeMs>,
}

impl Wishes {
    /// Whether any download could be held back by them.
    pub(crate) fn hold_back_some(&self) -> bool {
        self.without_wifi.is_some() || !self.without_power.is_empty() || !self.out_of_hours.is_empty()
    }

    /// The reason of a download of this learner.
    pub(crate) fn hold_back(&self, profile: ProfileId, own: OwnConditions) -> Option<WaitReason> {
        let wants_wifi = |those: &BTreeSet<_>| own.wifi_only.unwrap_or_else(|| those.contains(&profile));
        if self.without_wifi.as_ref().is_some_and(wants_wifi) {
            Some(WaitReason::Wifi)
        } else if self.without_power.contains(&profile) && !own.on_battery {
            Some(WaitReason::Power)
        } else if self.out_of_hours.contains(&profile) && !own.at_any_hour {
            Some(WaitReason::Schedule)
        } else {
            None
        }
    }
}

/// Of what is fetched, what no download may go on with: `serves` names those each is for, `may_run` those that are not
/// held back.
pub(crate) fn to_stop<'a>(
    running: impl IntoIterator<Item = (&'a BlobHash, &'a [DownloadId])>,
    may_run: impl Fn(DownloadId) -> bool,
) -> Vec<BlobHash> {
    let running = running.into_iter().filter(|(_, serves)| !serves.iter().any(|id| may_run(*id)));
    running.map(|(hash, _)| *hash).collect()
}

/// What the surroundings allow now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) now: TimeMs,
    pub(crate) network: NetworkState,
    /// Whether the drive of the store is there.
    pub(crate) drive_is_here: bool,
    pub(crate) signed_in: BTreeSet<ProfileId>,
    /// What learners chose, as it holds now.
    pub(crate) wishes: Wishes,
    /// How many places each learner wants at once; together never more than the largest.
    pub(crate) limits: BTreeMap<ProfileId, usize>,
    /// Bytes that can be written before the floor is reached.
    pub(crate) room_bytes: u64,
    /// What is being fetched.
    pub(crate) running: BTreeMap<BlobHash, Fetching>,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Blobs to begin now, in order.
    pub(crate) start: Vec<(DownloadId, BlobHash)>,
    /// Why each download can't run; none: it runs or its turn comes.
    pub(crate) waits: BTreeMap<DownloadId, Option<WaitReason>>,
    /// When a wait ends by itself.
    pub(crate) wake_at: Option<TimeMs>,
}

/// Places for a learner who has no setting.
pub(crate) const DEFAULT_CONCURRENCY: usize = 3;
/// From this length on a blob has a place of its own.
pub(crate) const LARGE_BYTES: u64 = 4 << 20;
/// So many small blobs share a place.
pub(crate) const GROUP: usize = 32;

/// Decides.
#[must_use]
pub(crate) fn plan(queue: &[Queued], conditions: &Conditions) -> Plan {
    let mut plan = Plan { wake_at: conditions.wishes.hours_change_at, ..Plan::default() };
    let mut places = Places::new(conditions);
    let mut order: Vec<&Queued> = queue.iter().collect();
    order.sort_by_key(|queued| (std::cmp::Reverse(queued.priority), queued.position, queued.id));
    for queued in order {
        let mut wait = held_back(queued, conditions);
        if let Some((at, reason)) = queued.retry
            && at > conditions.now
            && wait == Some(reason)
        {
            plan.wake_at = Some(plan.wake_at.map_or(at, |other| other.min(at)));
        }
        if wait.is_none() {
            wait = places.give(queued, &mut plan.start);
        }
        plan.waits.insert(queued.id, wait);
    }
    plan
}

/// The reason that has nothing to do with the rest of the queue.
pub(crate) fn held_back(queued: &Queued, conditions: &Conditions) -> Option<WaitReason> {
    if !conditions.signed_in.contains(&queued.profile) {
        return Some(WaitReason::SignIn);
    }
    if !conditions.drive_is_here {
        return Some(WaitReason::Drive);
    }
    match conditions.network {
        NetworkState::Offline => return Some(WaitReason::Network),
        NetworkState::Limited => return Some(WaitReason::Server),
        // Not known yet: trying is how it becomes known.
        NetworkState::Online | NetworkState::Unknown => {}
    }
    if let Some(reason) = conditions.wishes.hold_back(queued.profile, queued.own) {
        return Some(reason);
    }
    queued.retry.and_then(|(at, reason)| (at > conditions.now).then_some(reason))
}

/// Blobs that take places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    large: usize,
    small: usize,
}

impl Taken {
    /// With one more.
    #[must_use]
    pub(crate) const fn with(self, size: u64) -> Self {
        if size >= LARGE_BYTES {
            Self { large: self.large + 1, ..self }
        } else {
            Self { small: self.small + 1, ..self }
        }
    }

    /// How many places that is.
    #[must_use]
    pub(crate) const fn places(self) -> usize {
        self.large + self.small.div_ceil(GROUP)
    }
}

struct Places<'a> {
    conditions: &'a Conditions,
    of_profile: BTreeMap<ProfileId, Taken>,
    of_all: Taken,
    begun: BTreeSet<BlobHash>,
    limit: usize,
    room_bytes: u64,
    /// One that comes before lacks a place: whatever comes now is behind it.
    full: bool,
    full_for: BTreeSet<ProfileId>,
}

impl<'a> Places<'a> {
    fn new(conditions: &'a Conditions) -> Self {
        let mut of_profile: BTreeMap<_, Taken> = BTreeMap::new();
        let mut of_all = Taken::default();
        let mut room_bytes = conditions.room_bytes;
        for running in conditions.running.values() {
            let taken = of_profile.entry(running.profile).or_default();
            *taken = taken.with(running.size);
            of_all = of_all.with(running.size);
            room_bytes = room_bytes.saturating_sub(running.remaining_bytes);
        }
        let limit = conditions.limits.values().copied().max().unwrap_or(DEFAULT_CONCURRENCY);
        let (begun, full_for) = (BTreeSet::new(), BTreeSet::new());
        Self { conditions, of_profile, of_all, begun, limit, room_bytes, full: false, full_for }
    }

    /// Gives places to a download's blobs. Says `Space` when room is all that it lacks.
    fn give(&mut self, queued: &Queued, start: &mut Vec<(DownloadId, BlobHash)>) -> Option<WaitReason> {
        let own_limit = self.conditions.limits.get(&queued.profile).copied().unwrap_or(DEFAULT_CONCURRENCY);
        let mut runs = false;
        let mut too_large = false;
        for wanted in &queued.blobs {
            if self.conditions.running.contains_key(&wanted.hash) || self.begun.contains(&wanted.hash) {
                // Another learner's fetch of the same blob serves this one as well.
                runs = true;
                continue;
            }
            if wanted.remaining_bytes > self.room_bytes {
                too_large = true;
                continue;
            }
            let of_profile = self.of_profile.entry(queued.profile).or_default();
            let (own, all) = (of_profile.with(wanted.size), self.of_all.with(wanted.size));
            self.full |= all.places() > self.limit;
            if own.places() > own_limit {
                self.full_for.insert(queued.profile);
            }
            if self.full || self.full_for.contains(&queued.profile) {
                // Its turn comes: the queue itself is no reason to wait.
                return None;
            }
            *of_profile = own;
            self.of_all = all;
            self.room_bytes = self.room_bytes.saturating_sub(wanted.remaining_bytes);
            self.begun.insert(wanted.hash);
            start.push((queued.id, wanted.hash));
            runs = true;
        }
        (too_large && !runs).then_some(WaitReason::Space)
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "scheduler_histories_tests.rs"]
mod histories;
