//! The plan asks for everything that is missing, once, and for nothing else.

use std::sync::Arc;

use carrel_model::pieces::{Manifest, PIECE_BYTES, fold};
use proptest::prelude::*;

use super::{Plan, Span};

fn plan(pieces: u64) -> Plan {
    // Any list folds into some hash; what the pieces hold doesn't matter here.
    let values = vec![[3; 32]; usize::try_from(pieces).unwrap()];
    let hash = fold(&values).unwrap();
    Plan::new(Arc::new(Manifest::new(hash, pieces * PIECE_BYTES - 10, values).unwrap()))
}

#[test]
fn asks_for_the_gaps_in_order() {
    let mut plan = plan(10);
    plan.claimed(0);
    plan.claimed(4);
    assert_eq!(plan.next(), Some(Span { first: 1, end: 4 }));
    (1..4).for_each(|piece| plan.sent(piece));
    assert_eq!(plan.next(), Some(Span { first: 5, end: 10 }));
    assert_eq!(plan.bytes(Span { first: 5, end: 10 }), (5 * PIECE_BYTES, 10 * PIECE_BYTES - 10));
}

#[test]
fn asks_for_a_wrong_piece_alone() {
    let mut plan = plan(10);
    (0..5).for_each(|piece| plan.sent(piece));
    assert_eq!(plan.came_wrong(3), 1);
    assert_eq!(plan.next(), Some(Span { first: 3, end: 4 }));
    plan.sent(3);
    assert_eq!(plan.came_wrong(3), 2);
    plan.came_wrong(2);
    assert_eq!(plan.next(), Some(Span { first: 2, end: 3 }));
    plan.verified(2);
    plan.verified(3);
    assert_eq!(plan.next(), Some(Span { first: 5, end: 10 }));
}

#[test]
fn a_claim_is_no_proof() {
    let mut plan = plan(3);
    (0..3).for_each(|piece| plan.claimed(piece));
    plan.verified(1);
    assert_eq!((plan.next_unproven(0), plan.next_unproven(1)), (Some(0), Some(2)));
    plan.lost(2);
    assert_eq!(plan.held_bytes(), 2 * PIECE_BYTES);
    assert_eq!(plan.next(), Some(Span { first: 2, end: 3 }));
    plan.verified(0);
    plan.verified(2);
    assert_eq!(plan.next_unproven(0), None);
    plan.doubt_all();
    assert_eq!(plan.next_unproven(0), Some(0));
}

#[derive(Debug, Clone)]
enum Event {
    Claimed(u64),
    Sent(u64),
    Verified(u64),
    Wrong(u64),
    Lost(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let piece = 0_u64..20;
    prop_oneof![
        piece.clone().prop_map(Event::Claimed),
        piece.clone().prop_map(Event::Sent),
        piece.clone().prop_map(Event::Verified),
        piece.clone().prop_map(Event::Wrong),
        piece.prop_map(Event::Lost),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_only_missing_pieces_are_asked_for(events in prop::collection::vec(event(), 0..80)) {
        let mut plan = plan(20);
        for event in events {
            match event {
                Event::Claimed(piece) => plan.claimed(piece),
                Event::Sent(piece) => plan.sent(piece),
                Event::Verified(piece) => plan.verified(piece),
                // Only what was sent and isn't held can be judged wrong.
                Event::Wrong(piece) if !plan.held().contains(piece) => {
                    plan.came_wrong(piece);
                }
                Event::Wrong(_) => {}
                Event::Lost(piece) => plan.lost(piece),
            }
            let held: u64 = plan.held().iter().map(|piece| plan.manifest.piece_range(piece).1).sum();
            prop_assert_eq!(plan.held_bytes(), held);
        }
        // Whatever is in flight gets through in the end.
        for piece in 0..20 {
            if plan.taken.contains(piece) {
                plan.verified(piece);
            }
        }
        let mut asked = Vec::new();
        while let Some(span) = plan.next() {
            prop_assert!(span.first < span.end);
            for piece in span.first..span.end {
                prop_assert!(!plan.held().contains(piece));
                plan.verified(piece);
                asked.push(piece);
            }
        }
        prop_assert!(asked.is_sorted(), "each once, in order");
        prop_assert!(plan.held().is_full());
    }
}
