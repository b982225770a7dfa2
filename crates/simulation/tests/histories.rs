//! Some histories in the ordinary run, and every planted bug; `cargo xtask simulate` plays as many as wanted.
#![expect(clippy::panic, reason = "a test that meets the unexpected has failed")]

use carrel_simulation::{history::play, plant::Plant, world::MOST_EVENTS_PLANTED};

/// Of each of the tests below, which run side by side.
const HISTORIES: u64 = 50;

fn nothing_is_wrong_in(part: u64) {
    for seed in part * HISTORIES + 1..=(part + 1) * HISTORIES {
        let outcome = play(seed, None, false);
        assert!(outcome.verdict.is_clean(), "seed {seed}: {:?} {:#?}", outcome.verdict, outcome.reasons);
    }
}

macro_rules! parts {
    ($($name:ident = $part:literal)*) => {$(
        #[test]
        fn $name() {
            nothing_is_wrong_in($part);
        }
    )*};
}

mod nothing_is_lost_doubled_stuck_or_seen_differently {
    use super::nothing_is_wrong_in;

    parts! { eighth_1 = 0 eighth_2 = 1 eighth_3 = 2 eighth_4 = 3 eighth_5 = 4 eighth_6 = 5 eighth_7 = 6 eighth_8 = 7 }
}

/// Two clones hold the same op unsent, and the service refuses a batch of one of them because of another op.
#[test]
fn what_two_clones_have_not_sent_before_they_part_arrives_once() {
    let outcome = play(6602, None, false);
    assert!(outcome.verdict.is_clean(), "{:?} {:#?}", outcome.verdict, outcome.reasons);
    let planted = play(6602, Some(Plant::RekeysTheUnjudged), false);
    assert_eq!(planted.verdict.duplicated, 1, "this history is one of that kind");
}

/// The histories in which a bug is found are clean without it, so it is the bug that was found.
#[test]
fn every_planted_bug_is_found() {
    for plant in Plant::ALL {
        // Two clones that part just so are rare: this one begins near a history that is known to have them.
        let first = if *plant == Plant::RekeysTheUnjudged { 6_600 } else { 1 };
        let found = (first..first + 300).find(|seed| !play(*seed, Some(*plant), false).verdict.is_clean());
        let Some(seed) = found else { panic!("{plant:?} is not found") };
        let without = play(seed, None, false);
        assert!(without.verdict.is_clean(), "{plant:?} in {seed}: {:?}", without.verdict);
        assert!(without.events < MOST_EVENTS_PLANTED / 2, "{} events in {seed}", without.events);
    }
    assert!(Plant::ALL.len() >= 15);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let (Some(one), Some(two)) = (play(7, None, true).trace, play(7, None, true).trace) else {
        panic!("no trace although one was asked for");
    };
    assert!(!one.is_empty() && one == two);
}
