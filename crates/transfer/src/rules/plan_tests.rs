//! The plan asks for everything that is missing, once, and for nothing else – however many lanes there are.

use std::{sync::Arc, time::Duration};

use carrel_model::pieces::{Manifest, PIECE_BYTES, fold};
use proptest::prelude::*;

use super::{Arrived, Job, Plan, Span, Worth};

const NOW: Duration = Duration::from_secs(100);
const LATER: Duration = Duration::from_secs(110);
const WORTH: Worth = Worth { split_pieces: 2, slow_after: Duration::from_secs(5) };

fn plan(pieces: u64) -> Plan {
    // Any list folds into some hash; what the pieces hold doesn't matter here.
    let values = vec![[3; 32]; usize::try_from(pieces).unwrap()];
    let hash = fold(&values).unwrap();
    Plan::new(Arc::new(Manifest::new(hash, pieces * PIECE_BYTES - 10, values).unwrap()))
}

fn job(first: u64, end: u64) -> Option<Job> {
    Some(Job { span: Span { first, end }, suspect: false })
}

fn alone(piece: u64) -> Option<Job> {
    Some(Job { span: Span { first: piece, end: piece + 1 }, suspect: true })
}

/// Lets a lane receive its whole job.
fn run_through(plan: &mut Plan, lane: usize) {
    while plan.arrived(lane, NOW).next.is_some() {}
}

#[test]
fn asks_for_the_gaps_in_order() {
    let mut plan = plan(10);
    plan.claimed(0);
    plan.claimed(4);
    assert_eq!(plan.assign(0, NOW, WORTH), job(1, 4));
    assert_eq!(plan.assign(1, NOW, WORTH), job(5, 10));
    assert_eq!(plan.bytes(Span { first: 5, end: 10 }), (5 * PIECE_BYTES, 10 * PIECE_BYTES - 10));
}

#[test]
fn a_request_ends_where_a_piece_was_begun() {
    let mut plan = plan(10);
    plan.begun(0, 700_000);
    plan.begun(3, 300_000);
    plan.begun(5, 1000);
    assert_eq!(plan.assign(0, NOW, WORTH), job(0, 3));
    assert_eq!(plan.assign(1, NOW, WORTH), job(3, 10));
    plan.release(1);
    assert_eq!(plan.assign(1, NOW, WORTH), job(3, 10), "and once is enough");
}

#[test]
fn an_idle_lane_takes_half_of_the_longest_span() {
    let mut plan = plan(20);
    assert_eq!(plan.assign(0, NOW, WORTH), job(0, 20));
    assert_eq!(plan.arrived(0, NOW), Arrived { wanted: true, next: Some(1) });
    assert_eq!(plan.assign(1, NOW, WORTH), job(11, 20));
    assert_eq!(plan.end_of(0), Some(11));
    assert_eq!(plan.assign(2, NOW, WORTH), job(6, 11));
    // Two behind the piece in the air are as few as are worth a request.
    let few = Worth { split_pieces: 9, ..WORTH };
    assert_eq!(plan.assign(3, NOW, few), None);
    assert_eq!(plan.assign(3, NOW, Worth { split_pieces: 8, ..WORTH }), job(16, 20));
}

#[test]
fn the_last_piece_of_a_slow_lane_is_raced_once() {
    let mut plan = plan(1);
    assert_eq!(plan.assign(0, NOW, WORTH), job(0, 1));
    assert_eq!(plan.assign(1, NOW, WORTH), None, "it isn't slow yet");
    assert_eq!(plan.assign(1, LATER, WORTH), job(0, 1));
    assert_eq!(plan.assign(2, LATER, WORTH), None, "one rival is enough");
    assert_eq!(plan.arrived(1, LATER), Arrived { wanted: true, next: None });
    assert_eq!(plan.arrived(0, LATER), Arrived { wanted: false, next: None }, "the other has won");
    plan.verified(0);
    assert!(plan.held().is_full());
}

#[test]
fn knows_how_long_a_piece_takes() {
    let mut plan = plan(9);
    assert_eq!(plan.typical(), None);
    plan.assign(0, NOW, WORTH);
    let mut now = NOW;
    for _ in 0..4 {
        now += Duration::from_millis(400);
        plan.arrived(0, now);
    }
    assert_eq!(plan.typical(), Some(Duration::from_millis(400)));
    plan.arrived(0, now + Duration::from_secs(4));
    assert_eq!(plan.typical(), Some(Duration::from_millis(1300)));
}

#[test]
fn a_lane_that_moves_is_not_raced_soon() {
    let mut plan = plan(1);
    plan.assign(0, NOW, WORTH);
    plan.moves(0, LATER);
    assert_eq!(plan.assign(1, LATER, WORTH), None);
    let much_later = NOW + 5 * WORTH.slow_after;
    plan.moves(0, much_later);
    assert_eq!(plan.assign(1, much_later, WORTH), job(0, 1), "a trickle doesn't help");
}

#[test]
fn a_lane_that_nothing_reaches_loses_everything_at_once() {
    let mut plan = plan(20);
    plan.assign(0, NOW, WORTH);
    assert_eq!(plan.assign(1, LATER, WORTH), job(1, 20));
    run_through(&mut plan, 1);
    assert_eq!(plan.assign(1, LATER, WORTH), job(0, 1), "and is raced for the rest");
}

#[test]
fn a_body_goes_on_into_what_a_mute_lane_was_to_bring() {
    let mut plan = plan(9);
    plan.assign(0, NOW, WORTH);
    assert_eq!(plan.assign(1, NOW, WORTH), job(5, 9));
    (0..4).for_each(|piece| assert_eq!(plan.arrived(0, NOW).next, Some(piece + 1)));
    assert_eq!(plan.arrived(0, LATER).next, Some(5));
    run_through(&mut plan, 0);
    assert_eq!(plan.arrived(1, LATER), Arrived { wanted: false, next: None }, "it comes too late");
    assert!(!plan.has_gap());
}

#[test]
fn a_raced_piece_that_came_wrong_may_still_come_right_from_the_other() {
    let mut plan = plan(1);
    plan.assign(0, NOW, WORTH);
    plan.assign(1, LATER, WORTH);
    assert!(plan.arrived(1, LATER).wanted);
    assert_eq!(plan.came_wrong(0), 1);
    assert!(!plan.has_gap(), "the first lane is still at it");
    assert!(plan.arrived(0, LATER).wanted);
}

#[test]
fn a_lane_goes_on_into_what_another_gave_up() {
    let mut plan = plan(10);
    plan.assign(0, NOW, WORTH);
    assert_eq!(plan.assign(1, NOW, WORTH), job(5, 10));
    plan.revoke(1);
    assert_eq!(plan.arrived(1, NOW), Arrived { wanted: true, next: None }, "it ends with its piece");
    let mut received = vec![0];
    while let Some(next) = plan.arrived(0, NOW).next {
        received.push(next);
    }
    assert_eq!(received, [0, 1, 2, 3, 4], "5 is there, so the body is of no use beyond it");
    assert_eq!(plan.assign(0, NOW, WORTH), job(6, 10));

    let mut plan = self::plan(10);
    plan.assign(0, NOW, WORTH);
    plan.assign(1, NOW, WORTH);
    plan.release(1);
    run_through(&mut plan, 0);
    assert!(!plan.has_gap(), "one body, to its end");
}

#[test]
fn asks_for_a_wrong_piece_alone() {
    let mut plan = plan(10);
    plan.assign(0, NOW, WORTH);
    (0..5).for_each(|_| assert!(plan.arrived(0, NOW).wanted));
    plan.release(0);
    assert_eq!(plan.came_wrong(3), 1);
    assert_eq!(plan.assign(0, NOW, WORTH), alone(3));
    plan.arrived(0, NOW);
    assert_eq!(plan.came_wrong(3), 2);
    plan.came_wrong(2);
    assert_eq!(plan.assign(0, NOW, WORTH), alone(2));
    plan.verified(2);
    plan.verified(3);
    assert_eq!(plan.assign(1, NOW, WORTH), job(5, 10));
}

#[test]
fn a_claim_is_no_proof() {
    let mut plan = plan(3);
    (0..3).for_each(|piece| plan.claimed(piece));
    plan.verified(1);
    assert_eq!((plan.next_unproven(0), plan.next_unproven(1)), (Some(0), Some(2)));
    plan.lost(2);
    assert_eq!(plan.held_bytes(), 2 * PIECE_BYTES);
    assert_eq!(plan.assign(0, NOW, WORTH), job(2, 3));
    plan.verified(0);
    plan.verified(2);
    assert_eq!(plan.next_unproven(0), None);
    plan.doubt_all();
    assert_eq!(plan.next_unproven(0), Some(0));
}

#[derive(Debug, Clone)]
enum Event {
    Assign(usize),
    Arrived(usize),
    Release(usize),
    Revoke(usize),
    Claimed(u64),
    Right,
    Wrong,
    Lost(u64),
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    let lane = 0_usize..4;
    prop_oneof![
        3 => lane.clone().prop_map(Event::Assign),
        6 => lane.clone().prop_map(Event::Arrived),
        1 => lane.clone().prop_map(Event::Release),
        1 => lane.prop_map(Event::Revoke),
        1 => (0_u64..20).prop_map(Event::Claimed),
        4 => Just(Event::Right),
        1 => Just(Event::Wrong),
        1 => (0_u64..20).prop_map(Event::Lost),
        1 => Just(Event::Wait),
    ]
}

fn check(plan: &Plan) -> Result<(), TestCaseError> {
    let held: u64 = plan.held.iter().map(|piece| plan.manifest.piece_range(piece).1).sum();
    prop_assert_eq!(plan.held_bytes(), held);
    for piece in 0..20 {
        let lanes: Vec<_> = plan.lanes.values().filter(|lane| (lane.at..lane.end).contains(&piece)).collect();
        prop_assert!(lanes.len() <= 2);
        if lanes.len() == 2 {
            prop_assert!(lanes.iter().any(|lane| lane.race), "twice only in a race");
            prop_assert!(lanes.iter().all(|lane| lane.at == piece), "and only for the piece in the air");
        }
        let busy = !lanes.is_empty() || plan.held.contains(piece) || plan.submitted.contains(&piece);
        prop_assert_eq!(plan.taken.contains(piece), busy, "piece {}", piece);
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_each_missing_piece_is_asked_for_once(events in prop::collection::vec(event(), 0..200)) {
        let mut plan = plan(20);
        let mut now = NOW;
        for event in events {
            match event {
                Event::Assign(lane) if !plan.lanes.contains_key(&lane) => {
                    let held = plan.held.clone();
                    if let Some(Job { span, .. }) = plan.assign(lane, now, WORTH) {
                        prop_assert!((span.first..span.end).all(|piece| !held.contains(piece)));
                        prop_assert!(span.first < span.end);
                    }
                }
                Event::Assign(_) => {}
                Event::Arrived(lane) => {
                    let before = plan.lanes.get(&lane).map(|lane| lane.at);
                    let arrived = plan.arrived(lane, now);
                    prop_assert!(!arrived.wanted || before.is_some_and(|piece| plan.submitted.contains(&piece)));
                }
                Event::Release(lane) => plan.release(lane),
                Event::Revoke(lane) => plan.revoke(lane),
                // Claims come from the journal, before anything is asked for.
                Event::Claimed(piece) if !plan.taken.contains(piece) => plan.claimed(piece),
                Event::Claimed(_) => {}
                Event::Right => {
                    if let Some(piece) = plan.submitted.first().copied() {
                        plan.verified(piece);
                    }
                }
                Event::Wrong => {
                    if let Some(piece) = plan.submitted.last().copied() {
                        plan.came_wrong(piece);
                    }
                }
                Event::Lost(piece) => plan.lost(piece),
                Event::Wait => now += WORTH.slow_after,
            }
            check(&plan)?;
        }
        // From here on everything goes well, on two lanes: it ends, with everything held.
        (0..4).for_each(|lane| plan.release(lane));
        let mut steps = 0;
        while !plan.held().is_full() {
            steps += 1;
            prop_assert!(steps < 200, "it must end");
            for lane in 0..2 {
                if plan.lanes.contains_key(&lane) || plan.assign(lane, now, WORTH).is_some() {
                    plan.arrived(lane, now);
                }
            }
            while let Some(piece) = plan.submitted.first().copied() {
                plan.verified(piece);
            }
            check(&plan)?;
        }
        prop_assert!(!plan.has_gap() && !plan.has_submitted());
    }
}
