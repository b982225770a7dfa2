//! What changed between two publications: a row keeps its time where it is as it was.

use carrel_model::{
    TimeMs,
    content::{Asset, Course, Unit},
};

/// Gives a course its times. Whether it differs from what was there.
pub(crate) fn carry_over_course(old: Option<&Course>, new: &mut Course, now: TimeMs) -> bool {
    let now = later(old.map(|old| old.updated_at), now);
    carry_over_cover(old.and_then(|old| old.cover.as_ref()), new.cover.as_mut(), now);
    new.updated_at = old.map_or(now, |old| old.updated_at);
    if old == Some(&*new) {
        return false;
    }
    new.updated_at = now;
    true
}

/// Gives a unit and everything in it their times. Whether anything differs from what was there.
pub(crate) fn carry_over_unit(old: Option<&Unit>, new: &mut Unit, now: TimeMs) -> bool {
    let now = later(old.map(|old| old.updated_at), now);
    carry_over_cover(old.and_then(|old| old.cover.as_ref()), new.cover.as_mut(), now);
    for lesson in &mut new.lessons {
        let before = old.and_then(|old| old.lessons.iter().find(|before| before.id == lesson.id));
        lesson.updated_at = before.map_or(now, |before| before.updated_at);
        if before.is_some_and(|before| before != lesson) {
            lesson.updated_at = now;
        }
    }
    for asset in &mut new.assets {
        let before = old.and_then(|old| old.assets.iter().find(|before| before.id == asset.id));
        carry_over_asset(before, asset, now);
    }
    new.updated_at = old.map_or(now, |old| old.updated_at);
    if old == Some(&*new) {
        return false;
    }
    new.updated_at = now;
    true
}

/// Times only rise, so that a version is never taken for an older one after the clock was set back.
fn later(before: Option<TimeMs>, now: TimeMs) -> TimeMs {
    before.map_or(now, |before| now.max(before.plus_ms(1)))
}

fn carry_over_cover(old: Option<&Asset>, new: Option<&mut Asset>, now: TimeMs) {
    if let Some(new) = new {
        carry_over_asset(old, new, now);
    }
}

fn carry_over_asset(before: Option<&Asset>, asset: &mut Asset, now: TimeMs) {
    asset.updated_at = before.map_or(now, |before| before.updated_at);
    if before.is_some_and(|before| before != asset) {
        asset.updated_at = now;
    }
}
