use proptest::prelude::*;

use super::*;
use crate::downloads::fixture::id;

const NOW: TimeMs = TimeMs::from_ms(1_800_000_000_000);

fn unit(n: u32, days_ago: i64) -> Candidate {
    Candidate {
        unit: id(n),
        complete: true,
        used_at: NOW.plus_ms(-days_ago * DAY_MS),
        expires_at: None,
        finished: false,
        waiting: false,
        pinned: false,
    }
}

fn all() -> CleanUpRules {
    CleanUpRules { by_age: true, age_days: 30, expired: true, finished: true, when_full: true }
}

#[test]
fn each_rule_picks_what_it_is_for_and_nothing_without_it() {
    let expired = Candidate { expires_at: Some(NOW), ..unit(1, 2) };
    let finished = Candidate { finished: true, ..unit(2, 2) };
    let (old, fresh) = (unit(3, 30), unit(4, 29));
    let shelf = [expired, finished, old, fresh];
    let picks = due(&shelf, &all(), NOW, Asked::ByLearner);
    let expected = [(id(1), CleanUpReason::Expired), (id(2), CleanUpReason::Finished), (id(3), CleanUpReason::Age)];
    assert_eq!(picks.going, BTreeMap::from(expected), "not opened for 29 days is not 30");
    let off = CleanUpRules { by_age: false, expired: false, finished: false, ..all() };
    assert_eq!(due(&shelf, &off, NOW, Asked::ByLearner), Picks::default());
    let default = due(&shelf, &CleanUpRules::default(), NOW, Asked::ByLearner);
    assert_eq!(
        default.going.keys().collect::<Vec<_>>(),
        [&id(1)],
        "only what nothing can open goes without being asked"
    );
}

#[test]
fn pinned_units_and_units_with_unsent_work_stay_and_are_named() {
    let pinned = Candidate { pinned: true, waiting: true, ..unit(1, 90) };
    let unsent = Candidate { waiting: true, finished: true, ..unit(2, 90) };
    let coming = Candidate { complete: false, ..unit(3, 90) };
    let shelf = [pinned, unsent, coming];
    let picks = due(&shelf, &all(), NOW, Asked::ByLearner);
    assert!(picks.going.is_empty(), "{picks:?}");
    let expected =
        [(id(1), (CleanUpReason::Age, KeptBecause::Pinned)), (id(2), (CleanUpReason::Finished, KeptBecause::Unsent))];
    assert_eq!(picks.kept, BTreeMap::from(expected), "what is still coming is no rule's business");
    assert_eq!(for_space(&shelf, &all(), NOW, 1, |_| 1_000), Some(BTreeMap::new()), "nothing picked, as all is free");
    assert_eq!(for_space(&shelf, &all(), NOW, 1, |units| units.len() as u64), None, "not even for space");
}

#[test]
fn nothing_goes_by_itself_while_it_is_in_use_or_could_be_renewed() {
    let finished = Candidate { finished: true, used_at: NOW.plus_ms(-IN_USE_MS + 1), ..unit(1, 0) };
    let expired = Candidate { expires_at: Some(NOW.plus_ms(-RENEWAL_MS + 1)), ..unit(2, 3) };
    let shelf = [finished, expired];
    assert!(due(&shelf, &all(), NOW, Asked::ByItself).going.is_empty());
    let later = due(&shelf, &all(), NOW.plus_ms(1), Asked::ByItself);
    assert_eq!(later.going.len(), 2, "both a moment later");
    assert_eq!(due(&shelf, &all(), NOW, Asked::ByLearner).going.len(), 2, "who asks for it sees it go");
}

#[test]
fn room_is_made_by_what_is_due_and_then_by_what_was_not_used_for_longest() {
    let finished = Candidate { finished: true, ..unit(1, 1) };
    let shelf = [unit(4, 3), finished, unit(2, 10), unit(3, 5)];
    let sizes: BTreeMap<UnitId, u64> = BTreeMap::from([(id(1), 10), (id(2), 5), (id(3), 100), (id(4), 100)]);
    let frees = |units: &BTreeSet<UnitId>| units.iter().map(|unit| sizes[unit]).sum();
    let rules = CleanUpRules { by_age: false, ..all() };
    let picked = |needed| for_space(&shelf, &rules, NOW, needed, frees).map(|picked| picked.into_iter().collect());
    assert_eq!(picked(0), Some(vec![]));
    assert_eq!(picked(10), Some(vec![(id(1), CleanUpReason::Finished)]));
    assert_eq!(picked(100), Some(vec![(id(3), CleanUpReason::Space)]), "the small ones would not have been needed");
    assert_eq!(picked(216), None, "more than all of them free: nothing goes for nothing");
}

proptest! {
    #[test]
    fn room_is_made_whole_or_not_at_all_and_never_by_what_is_kept(
        shelf in prop::collection::vec((0_u32..40, 0_i64..100, any::<[bool; 4]>(), 0_u64..100), 0..25),
        needed in 0_u64..1_000,
    ) {
        let sizes: BTreeMap<UnitId, u64> = shelf.iter().map(|(n, _, _, size)| (id(*n), *size)).collect();
        let candidate = |(n, days, [complete, finished, waiting, pinned], _): &(u32, i64, [bool; 4], u64)| Candidate {
            complete: *complete, finished: *finished, waiting: *waiting, pinned: *pinned, ..unit(*n, *days)
        };
        let units: BTreeMap<UnitId, Candidate> = shelf.iter().map(candidate).map(|one| (one.unit, one)).collect();
        let shelf: Vec<Candidate> = units.values().cloned().collect();
        let frees = |units: &BTreeSet<UnitId>| units.iter().map(|unit| sizes[unit]).sum::<u64>();
        let can_go: BTreeSet<UnitId> =
            shelf.iter().filter(|one| one.complete && !one.waiting && !one.pinned).map(|one| one.unit).collect();
        match for_space(&shelf, &all(), NOW, needed, frees) {
            None => prop_assert!(frees(&can_go) < needed),
            Some(picked) => {
                let picked: BTreeSet<UnitId> = picked.into_keys().collect();
                prop_assert!(picked.is_subset(&can_go));
                prop_assert!(frees(&picked) >= needed);
                for unit in &picked {
                    let without = picked.iter().copied().filter(|one| one != unit).collect();
                    prop_assert!(frees(&without) < needed, "each of them is needed");
                }
            }
        }
    }
}
