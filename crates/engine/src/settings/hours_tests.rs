use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// 22:00 to 06:00.
const NIGHT: Hours = Hours { from_minute: 22 * 60, to_minute: 6 * 60 };

fn at(hour: i64, minute: i64) -> TimeMs {
    TimeMs::from_ms(20_000 * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS)
}

#[test]
fn hours_may_wrap_midnight() {
    let cases = [(21, 59, false), (22, 0, true), (23, 59, true), (0, 0, true), (5, 59, true), (6, 0, false)];
    for (hour, minute, open) in cases {
        assert_eq!(NIGHT.are_open(at(hour, minute), 0), open, "{hour}:{minute}");
    }
    assert!(NIGHT.are_open(at(20, 30), 2 * HOUR_MS), "22:30 on the wall");
    let day = Hours { from_minute: 60, to_minute: 120 };
    assert_eq!([0, 1, 2].map(|hour| day.are_open(at(hour, 0), 0)), [false, true, false]);
}

#[test]
fn they_begin_and_end_to_the_minute() {
    let next = |hour, minute| NIGHT.next_change(at(hour, minute).plus_ms(12_345), |_| 0);
    assert_eq!(next(12, 7), at(22, 0));
    assert_eq!(next(22, 0), at(30, 0), "the morning after");
    assert_eq!(NIGHT.next_change(at(22, 0), |_| HOUR_MS), at(29, 0), "in local time");
}

#[test]
fn a_clock_that_is_put_forward_or_back_moves_them() {
    // At 3:00 local time it is 4:00.
    let forward = |moment: TimeMs| if moment < at(2, 0) { HOUR_MS } else { 2 * HOUR_MS };
    let over = Hours { from_minute: 3 * 60 + 30, to_minute: 5 * 60 };
    assert_eq!(over.next_change(at(0, 0), forward), at(2, 0), "3:30 doesn't come: it is 4:00 at once");
    let after = Hours { from_minute: 5 * 60, to_minute: 6 * 60 };
    assert_eq!(after.next_change(at(0, 0), forward), at(3, 0), "an hour earlier than it looked");
    assert_eq!(NIGHT.next_change(at(0, 0), forward), at(4, 0), "and the night is an hour shorter");
    // At 4:00 local time it is 3:00.
    let back = |moment: TimeMs| if moment < at(2, 0) { 2 * HOUR_MS } else { HOUR_MS };
    assert_eq!(NIGHT.next_change(at(0, 0), back), at(5, 0), "an hour longer");
    let twice = Hours { from_minute: 3 * 60 + 30, to_minute: 3 * 60 + 45 };
    let mut moment = at(0, 0);
    let mut changes = Vec::new();
    for _ in 0..4 {
        moment = twice.next_change(moment, back);
        changes.push(moment);
    }
    assert_eq!(changes, [at(1, 30), at(1, 45), at(2, 30), at(2, 45)], "half past three comes twice");
}

#[test]
fn what_is_no_part_of_a_day_is_refused() {
    for (from_minute, to_minute) in [(0, 1440), (1440, 3), (600, 600), (u16::MAX, 0)] {
        assert_eq!(Hours { from_minute, to_minute }.check(), Err(SettingRefusal::Hours), "{from_minute}–{to_minute}");
    }
    assert_eq!(NIGHT.check(), Ok(()));
}

proptest! {
    #[test]
    fn the_next_change_is_the_first_one(
        from_minute in 0u16..1440, to_minute in 0u16..1440, now in 0i64..3 * DAY_MS, turn in 0i64..6 * 24,
        before in -12i64..=12, by in prop::sample::select(vec![-2i64, -1, 0, 1, 2]),
    ) {
        prop_assume!(from_minute != to_minute);
        let hours = Hours { from_minute, to_minute };
        let now = TimeMs::from_ms(20_000 * DAY_MS + now);
        // Offsets of half hours that change at a half hour.
        let turn = TimeMs::from_ms(20_000 * DAY_MS + turn * 30 * MINUTE_MS);
        let offset = |at: TimeMs| if at < turn { before * HOUR_MS } else { before * HOUR_MS + by * 30 * MINUTE_MS };
        let open = |at: TimeMs| hours.are_open(at, offset(at));
        let next = hours.next_change(now, offset);
        prop_assert!(next > now);
        prop_assert_ne!(open(next), open(now));
        prop_assert_eq!(open(next.plus_ms(-1)), open(now));
        // Nothing changes within a minute, so looking at each is looking at all.
        let mut minute = now;
        while minute < next {
            prop_assert_eq!(open(minute), open(now), "an earlier change at {:?}", minute);
            minute = minute.plus_ms(MINUTE_MS);
        }
    }
}
