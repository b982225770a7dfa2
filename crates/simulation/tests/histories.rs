//! Some histories in the ordinary run; `cargo xtask simulate` plays as many as wanted, and `--planted` looks for bugs put in on purpose.
#![expect(clippy::panic, reason = "a test that meets the unexpected has failed")]

use carrel_simulation::{history::play, plant::Plant};

/// As many as a test without optimisations plays in half a minute.
const HISTORIES: u64 = 400;

#[test]
fn nothing_is_lost_doubled_stuck_or_seen_differently() {
    for seed in 1..=HISTORIES {
        let outcome = play(seed, None, false);
        assert!(outcome.verdict.is_clean(), "seed {seed}: {:?} {:#?}", outcome.verdict, outcome.reasons);
    }
}

/// Two clones hold the same op unsent, and the service refuses a batch of one of them because of another op.
#[test]
fn what_two_clones_have_not_sent_before_they_part_arrives_once() {
    let outcome = play(6602, None, false);
    assert!(outcome.verdict.is_clean(), "{:?} {:#?}", outcome.verdict, outcome.reasons);
    let planted = play(6602, Some(Plant::RekeysTheUnjudged), false);
    assert_eq!(planted.verdict.duplicated, 1, "this history is one of that kind");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let (Some(one), Some(two)) = (play(7, None, true).trace, play(7, None, true).trace) else {
        panic!("no trace although one was asked for");
    };
    assert!(!one.is_empty() && one == two);
}
