//! The hours of the day in which downloads run (D9). Pure.
//!
//! They are hours of the clock on the wall, so what they mean in time changes with summer time. The offset of a moment is
//! an argument: whoever asks has a clock.

use carrel_model::TimeMs;

use super::SettingRefusal;

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;

view! {
    /// From one minute of the day to another, local time; past midnight where the end comes before the beginning.
    #[derive(Copy, Eq)]
    pub struct Hours {
        /// The first minute, 0–1439: 22:00 is 1320.
        pub from_minute: u16,
        /// The first minute that is outside again, 0–1439.
        pub to_minute: u16,
    }
}

impl Hours {
    /// Minutes of a day, and not the same: whether that were all day or never, nobody could tell.
    pub(super) fn check(self) -> Result<(), SettingRefusal> {
        let in_day = i64::from(self.from_minute.max(self.to_minute)) < DAY_MINUTES;
        if in_day && self.from_minute != self.to_minute { Ok(()) } else { Err(SettingRefusal::Hours) }
    }

    /// Whether a moment lies within them. `offset_ms` is how far local time is ahead of UTC then.
    pub(crate) fn are_open(self, at: TimeMs, offset_ms: i64) -> bool {
        let minute = local_minute(at, offset_ms);
        let (from, to) = (i64::from(self.from_minute), i64::from(self.to_minute));
        if from <= to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }

    /// The first moment after `now` at which they begin or end. Where the clock is put forward over that minute, it is the
    /// moment of putting forward; where it is put back, the minute may come twice, and so may this.
    pub(crate) fn next_change(self, now: TimeMs, offset_ms: impl Fn(TimeMs) -> i64) -> TimeMs {
        let open = self.are_open(now, offset_ms(now));
        let edge = i64::from(if open { self.to_minute } else { self.from_minute });
        let mut at = now;
        // Two changes of the offset within a day is more than any place has had.
        for _ in 0..4 {
            let offset = offset_ms(at);
            let minutes = (edge - local_minute(at, offset)).rem_euclid(DAY_MINUTES);
            let minutes = if minutes == 0 { DAY_MINUTES } else { minutes };
            let into_minute = (at.as_ms() + offset).rem_euclid(MINUTE_MS);
            let there = at.plus_ms(minutes * MINUTE_MS - into_minute);
            if offset_ms(there) == offset {
                return there;
            }
            let turn = first_with_another_offset(at, there, &offset_ms);
            if self.are_open(turn, offset_ms(turn)) != open {
                return turn;
            }
            at = turn;
        }
        at
    }
}

fn local_minute(at: TimeMs, offset_ms: i64) -> i64 {
    (at.as_ms() + offset_ms).div_euclid(MINUTE_MS).rem_euclid(DAY_MINUTES)
}

/// The moment in `(from, to]` at which the offset changes.
fn first_with_another_offset(from: TimeMs, to: TimeMs, offset_ms: impl Fn(TimeMs) -> i64) -> TimeMs {
    let before = offset_ms(from);
    let (mut same, mut other) = (from.as_ms(), to.as_ms());
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if offset_ms(TimeMs::from_ms(middle)) == before { same = middle } else { other = middle }
    }
    TimeMs::from_ms(other)
}

#[cfg(test)]
#[path = "hours_tests.rs"]
mod tests;
