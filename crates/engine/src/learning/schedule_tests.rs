//! The schedule follows from the answers alone.

use carrel_model::time::DAY_MS;
use proptest::prelude::*;

use super::*;

const NOON: i64 = 1_795_176_000_000;

fn stamp(at: i64, device: u8, seq: u64) -> Stamp {
    let device_id = format!("01900000-0000-7000-8000-0000000000{device:02}").parse().unwrap();
    Stamp { at: TimeMs::from_ms(at), device_id, seq }
}

fn memory(ratings: &[Rating]) -> Memory {
    // Each time on the day on which it is due.
    let mut reviews: Vec<(Stamp, Rating)> = Vec::new();
    for (rating, seq) in ratings.iter().zip(1..) {
        let at = Memory::after(reviews.iter().copied()).map_or(NOON, |memory| memory.due().as_ms());
        reviews.push((stamp(at, 1, seq), *rating));
    }
    Memory::after(reviews).unwrap()
}

#[test]
fn what_is_known_comes_back_later_and_later_and_what_is_forgotten_soon() {
    let mut last = 0;
    for times in 2..8 {
        let known = memory(&vec![Rating::Good; times]);
        let days = known.due().since(TimeMs::from_ms(known.card.last_review.timestamp_millis())) / DAY_MS;
        assert_eq!(known.state(), CardState::Review);
        assert!(days > last, "{days} days after {times} times, {last} before");
        last = days;
    }
    let forgotten = memory(&[Rating::Good, Rating::Good, Rating::Good, Rating::Again]);
    assert_eq!(forgotten.state(), CardState::Learning);
    let at = TimeMs::from_ms(forgotten.card.last_review.timestamp_millis());
    assert!(forgotten.due().since(at) <= 20 * MINUTE_MS, "within the session");
    assert!(forgotten.is_nearly_due(at), "so it is shown again in it");
    assert!(!memory(&[Rating::Easy]).is_nearly_due(TimeMs::from_ms(NOON)), "what was easy is not");
}

#[test]
fn the_better_it_was_remembered_the_later_it_comes_back() {
    for before in [vec![], vec![Rating::Good], vec![Rating::Good, Rating::Good, Rating::Again]] {
        let known = (!before.is_empty()).then(|| memory(&before));
        let now = known.as_ref().map_or(TimeMs::from_ms(NOON), Memory::due);
        let choices = choices(known.as_ref(), now);
        assert_eq!(choices.iter().map(|(rating, _)| *rating).collect::<Vec<_>>(), Rating::ALL);
        assert!(choices.iter().all(|(_, due)| *due > now), "never at once: {choices:?}");
        assert!(choices.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{choices:?}");
    }
}

#[test]
fn times_no_clock_should_show_are_taken_as_they_come() {
    for at in [i64::MIN, -1, 0, LAST_MS, i64::MAX] {
        for rating in Rating::ALL {
            let memory = Memory::after([(stamp(at, 1, 1), *rating), (stamp(0, 1, 2), *rating)]).unwrap();
            assert!(memory.due().as_ms() > 0, "{at}");
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_the_same_answers_gives_the_same_schedule(
        reviews in proptest::collection::vec((0..400_i64, 1..4_u8, 0..4_usize), 0..30),
        seed in any::<u64>(),
    ) {
        let mut reviews: Vec<(Stamp, Rating)> = reviews
            .into_iter()
            .zip(1..)
            .map(|((hours, device, rating), seq)| (stamp(NOON + hours * 3_600_000, device, seq), Rating::ALL[rating]))
            .collect();
        let first = Memory::after(reviews.iter().copied());
        let mut random = seed | 1;
        reviews.sort_by_cached_key(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        });
        prop_assert_eq!(Memory::after(reviews), first);
    }
}
