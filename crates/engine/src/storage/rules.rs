//! What the rules of clean-up pick. Pure: units and the time go in, picks come out.
//!
//! Rulings: only what is whole on the device is picked – what is still on its way, paused or failed is the learner's to
//! decide on. A pinned unit stays whatever rule would pick it, and so does one with writes that still wait to be sent
//! (D15, S3): those are named, so that nobody wonders. Of several rules the first of *expired, finished, age, space* is the
//! reason that is given.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{
    TimeMs, UnitId,
    time::{DAY_MS, HOUR_MS},
};

use super::view::{CleanUpReason, CleanUpRules, KeptBecause};

/// What the rules ask of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) unit: UnitId,
    /// Every download of it is complete.
    pub(super) complete: bool,
    /// When it was last opened, or else when it was ready.
    pub(super) used_at: TimeMs,
    /// When the last of its downloads ends to open; none: never.
    pub(super) expires_at: Option<TimeMs>,
    /// All lessons that are here are finished.
    pub(super) finished: bool,
    pub(super) waiting: bool,
    pub(super) pinned: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The learner, who sees what goes.
    ByLearner,
    /// The background: nothing goes while somebody may be sitting over it, and what has expired stays for a day in which
    /// renewing it costs no byte.
    ByItself,
}

/// A unit that was opened so recently is in use.
const IN_USE_MS: i64 = HOUR_MS;
/// How long expired content waits for being renewed.
const RENEWAL_MS: i64 = DAY_MS;

/// What goes, and what stays although a rule would pick it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Picks {
    pub(super) going: BTreeMap<UnitId, CleanUpReason>,
    pub(super) kept: BTreeMap<UnitId, (CleanUpReason, KeptBecause)>,
}

/// Decides what is due at `now` (trusted time).
pub(super) fn due(candidates: &[Candidate], rules: &CleanUpRules, now: TimeMs, asked: Asked) -> Picks {
    let mut picks = Picks::default();
    for candidate in candidates {
        let Some(reason) = reason(candidate, rules, now, asked) else { continue };
        match stays(candidate) {
            Some(because) => {
                picks.kept.insert(candidate.unit, (reason, because));
            }
            None => {
                picks.going.insert(candidate.unit, reason);
            }
        }
    }
    picks
}

fn stays(candidate: &Candidate) -> Option<KeptBecause> {
    if candidate.pinned {
        return Some(KeptBecause::Pinned);
    }
    candidate.waiting.then_some(KeptBecause::Unsent)
}

fn reason(candidate: &Candidate, rules: &CleanUpRules, now: TimeMs, asked: Asked) -> Option<CleanUpReason> {
    let grace = if asked == Asked::ByItself { RENEWAL_MS } else { 0 };
    if rules.expired && candidate.expires_at.is_some_and(|end| end.plus_ms(grace) <= now) {
        return Some(CleanUpReason::Expired);
    }
    let in_use = asked == Asked::ByItself && now.since(candidate.used_at) < IN_USE_MS;
    if !candidate.complete || in_use {
        return None;
    }
    if rules.finished && candidate.finished {
        return Some(CleanUpReason::Finished);
    }
    let age = i64::from(rules.age_days) * DAY_MS;
    (rules.by_age && now.since(candidate.used_at) >= age).then_some(CleanUpReason::Age)
}

/// What makes room for `needed` bytes: first what is due anyway, then what was not used for longest; as few units as that
/// takes. `frees` says what becomes free when a set of units goes. None: not even all of them are enough, and nothing is to
/// go for nothing.
pub(super) fn for_space(
    candidates: &[Candidate],
    rules: &CleanUpRules,
    now: TimeMs,
    needed: u64,
    frees: impl Fn(&BTreeSet<UnitId>) -> u64,
) -> Option<BTreeMap<UnitId, CleanUpReason>> {
    let free = |picked: &BTreeMap<UnitId, CleanUpReason>| frees(&picked.keys().copied().collect());
    let mut picked = BTreeMap::new();
    let mut taken = Vec::new();
    let due = due(candidates, rules, now, Asked::ByLearner).going;
    let mut order: Vec<&Candidate> = candidates.iter().filter(|one| one.complete && stays(one).is_none()).collect();
    order.sort_by_key(|one| (!due.contains_key(&one.unit), one.used_at, one.unit));
    for candidate in order {
        if free(&picked) >= needed {
            break;
        }
        picked.insert(candidate.unit, due.get(&candidate.unit).copied().unwrap_or(CleanUpReason::Space));
        taken.push(candidate.unit);
    }
    if free(&picked) < needed {
        return None;
    }
    // What was used last and turns out not to be needed for it stays.
    for unit in taken.into_iter().rev() {
        let reason = picked.remove(&unit);
        if let (true, Some(reason)) = (free(&picked) < needed, reason) {
            picked.insert(unit, reason);
        }
    }
    Some(picked)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
