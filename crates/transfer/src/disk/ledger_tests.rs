use proptest::prelude::*;

use super::*;

#[test]
fn a_need_that_fits_alone_but_not_beside_the_others_is_refused() {
    let mut ledger = Ledger::default();
    ledger.promise(60, 110, 10).unwrap();
    assert_eq!(ledger.promise(50, 110, 10), Err(Shortage { needed_bytes: 50, free_bytes: 40 }), "60 are promised");
    ledger.promise(40, 110, 10).unwrap();
    assert_eq!(ledger.promise(1, 110, 10), Err(Shortage { needed_bytes: 1, free_bytes: 0 }), "the floor stays");
}

#[test]
fn a_refused_need_promises_nothing() {
    let mut ledger = Ledger::default();
    ledger.promise(101, 100, 0).unwrap_err();
    assert_eq!(ledger, Ledger::default());
}

#[test]
fn room_somebody_else_took_after_the_promise_is_noticed_before_the_floor() {
    assert_eq!(Ledger::may_write(10, 30, 20), Ok(()));
    assert_eq!(Ledger::may_write(11, 30, 20), Err(Shortage { needed_bytes: 11, free_bytes: 10 }));
    assert_eq!(Ledger::may_write(1, 5, 20), Err(Shortage { needed_bytes: 1, free_bytes: 0 }), "below it already");
}

#[derive(Debug, Clone)]
enum Event {
    Begin(u64),
    /// Of the n-th fetch: writes so much of what it has left.
    Write(usize, u64),
    End(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_u64..500).prop_map(Event::Begin),
        (any::<usize>(), 0_u64..200).prop_map(|(fetch, bytes)| Event::Write(fetch, bytes)),
        any::<usize>().prop_map(Event::End),
    ]
}

proptest! {
    /// With nobody else on the volume, whatever is let in can be written to its end without touching the floor.
    #[test]
    fn promises_are_kept_and_the_floor_is_never_touched(
        events in prop::collection::vec(event(), 0..200),
        mut free in 0_u64..2_000,
        floor in 0_u64..500,
    ) {
        let mut ledger = Ledger::default();
        let mut left: Vec<u64> = Vec::new();
        for event in events {
            match event {
                Event::Begin(bytes) => match ledger.promise(bytes, free, floor) {
                    Ok(()) => left.push(bytes),
                    Err(shortage) => {
                        prop_assert_eq!(shortage.needed_bytes, bytes);
                        let free_for_it = free.saturating_sub(floor).saturating_sub(left.iter().sum());
                        prop_assert_eq!(shortage.free_bytes, free_for_it, "the numbers are true");
                        prop_assert!(bytes > free_for_it);
                    }
                },
                Event::Write(fetch, bytes) if !left.is_empty() => {
                    let fetch = fetch % left.len();
                    let bytes = bytes.min(left[fetch]);
                    prop_assert_eq!(Ledger::may_write(bytes, free, floor), Ok(()), "it was promised");
                    free -= bytes;
                    left[fetch] -= bytes;
                    ledger.settle(bytes);
                    prop_assert!(free >= floor || bytes == 0);
                }
                Event::End(fetch) if !left.is_empty() => {
                    let fetch = fetch % left.len();
                    ledger.settle(left.swap_remove(fetch));
                }
                _ => {}
            }
            prop_assert_eq!(ledger.promised_bytes(), left.iter().sum::<u64>());
        }
    }
}
