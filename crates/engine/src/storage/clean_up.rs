//! Cleaning up by rules (S3, D15): what would go, and letting it go.
//!
//! A learner's rules delete what is theirs alone: another learner's copy of the same unit stays, and so do the files both
//! need; what a preview says becomes free counts only files that nothing else needs.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{ProfileId, TimeMs, UnitId, download::DownloadState};

use super::{
    StorageParts, deletion,
    deletion::What,
    holdings::{Holder, Holdings},
    records,
    rules::{self, Asked, Candidate},
    usage,
    view::{CleanUpItem, CleanUpPreview, CleanUpRules, Deleted, DeletedBy, DeletedWhy, KeptUnit},
};
use crate::{EngineError, downloads::rows::DownloadRow};

/// A learner's units as the rules see them.
struct Shelf {
    by_unit: BTreeMap<UnitId, Vec<DownloadRow>>,
    candidates: Vec<Candidate>,
    /// Name of the unit and of its course.
    names: BTreeMap<UnitId, (String, String)>,
}

async fn shelf(parts: &StorageParts, profile: ProfileId) -> Result<Shelf, EngineError> {
    let readers = parts.library.readers();
    let by_unit = usage::by_unit(readers, profile).await?;
    let opened = usage::opened(readers, profile).await?;
    let pinned = records::pinned(readers, profile).await?;
    let waiting = parts.rooms.waiting(profile).await?;
    let completed = parts.rooms.completed_lessons(profile).await?;
    let (mut candidates, mut names) = (Vec::new(), BTreeMap::new());
    for (unit, downloads) in &by_unit {
        let known = parts.rooms.unit(profile, *unit).await?;
        let whole = downloads.iter().any(|row| row.lesson_id.is_none());
        let finished = match &known {
            Some((_, known)) if whole => {
                !known.lessons.is_empty() && known.lessons.iter().all(|lesson| completed.contains(&lesson.id))
            }
            _ => !whole && downloads.iter().filter_map(|row| row.lesson_id).all(|id| completed.contains(&id)),
        };
        let ready_at = downloads.iter().filter_map(|row| row.completed_at).max();
        let ends: Option<Vec<TimeMs>> = downloads.iter().map(|row| row.expires_at).collect();
        candidates.push(Candidate {
            unit: *unit,
            complete: downloads
                .iter()
                .all(|row| matches!(row.state, DownloadState::Completed | DownloadState::Expired)),
            used_at: opened.get(unit).copied().max(ready_at).unwrap_or_default(),
            expires_at: ends.and_then(|ends| ends.into_iter().max()),
            finished,
            waiting: waiting.get(unit).is_some_and(|count| *count > 0),
            pinned: pinned.contains(unit),
        });
        let title = downloads.first().map(|row| row.title.clone()).unwrap_or_default();
        let name = known.map_or((title, String::new()), |(course, unit)| (unit.title, course.title));
        names.insert(*unit, name);
    }
    Ok(Shelf { by_unit, candidates, names })
}

/// What rules would delete now.
pub(super) async fn preview(
    parts: &StorageParts,
    profile: ProfileId,
    rules: &CleanUpRules,
) -> Result<CleanUpPreview, EngineError> {
    let shelf = shelf(parts, profile).await?;
    let picks = rules::due(&shelf.candidates, rules, parts.rooms.trusted_now(), Asked::ByLearner);
    let frees = frees(&Holdings::read(parts, profile).await?, profile, &shelf.by_unit, &picks.going.keys().collect());
    let used: BTreeMap<UnitId, TimeMs> = shelf.candidates.iter().map(|one| (one.unit, one.used_at)).collect();
    let name = |unit: &UnitId| shelf.names.get(unit).cloned().unwrap_or_default();
    let item = |(unit, reason): (&UnitId, _)| CleanUpItem {
        unit_id: *unit,
        title: name(unit).0,
        course_title: name(unit).1,
        reason,
        frees_bytes: frees.get(unit).copied().unwrap_or(0),
        used_at: used.get(unit).copied().unwrap_or_default(),
    };
    let kept = |(unit, (reason, because)): (&UnitId, &(_, _))| KeptUnit {
        unit_id: *unit,
        title: name(unit).0,
        reason: *reason,
        because: *because,
    };
    Ok(CleanUpPreview {
        items: picks.going.iter().map(|(unit, reason)| item((unit, *reason))).collect(),
        kept: picks.kept.iter().map(kept).collect(),
        frees_bytes: frees.values().sum(),
    })
}

/// What becomes free when these units go; a file that several of them need counts with the first.
fn frees(
    holdings: &Holdings,
    profile: ProfileId,
    by_unit: &BTreeMap<UnitId, Vec<DownloadRow>>,
    going: &BTreeSet<&UnitId>,
) -> BTreeMap<UnitId, u64> {
    let mine = usage::units_of(by_unit);
    let of_unit = usage::unit_of(profile, &mine);
    let goes = |holder: &Holder| of_unit(holder).is_some_and(|unit| going.contains(&unit));
    let mut frees = BTreeMap::new();
    for (_, held, bytes) in holdings.freed(&goes) {
        if let Some(first) = held.iter().filter_map(&of_unit).min() {
            *frees.entry(first).or_insert(0) += bytes;
        }
    }
    frees
}

/// Deletes what the learner's rules pick now; none: they pick nothing.
pub(super) async fn run(
    parts: &StorageParts,
    profile: ProfileId,
    asked: Asked,
) -> Result<Option<Deleted>, EngineError> {
    let rules = records::rules(parts.library.readers(), profile).await?;
    if !(rules.by_age || rules.expired || rules.finished) {
        return Ok(None);
    }
    let shelf = shelf(parts, profile).await?;
    let picks = rules::due(&shelf.candidates, &rules, parts.rooms.trusted_now(), asked);
    if picks.going.is_empty() {
        return Ok(None);
    }
    let what = What::Units(picks.going.into_iter().map(|(unit, reason)| (unit, reason.into())).collect());
    deletion::delete(parts, profile, &what, DeletedBy::Rules, true).await.map(Some)
}

/// Makes room for so many bytes, if the learner's rules allow it: first what was kept by opening it, then units. Says
/// whether anything went. What goes for space goes at once.
pub(super) async fn make_room(parts: &StorageParts, profile: ProfileId, needed: u64) -> Result<bool, EngineError> {
    if needed == 0 {
        return Ok(false);
    }
    let freed = forget_opened(parts, profile).await?;
    if freed >= needed {
        return Ok(true);
    }
    let rules = records::rules(parts.library.readers(), profile).await?;
    if !rules.when_full {
        return Ok(freed > 0);
    }
    let shelf = shelf(parts, profile).await?;
    let picked = {
        let holdings = Holdings::read(parts, profile).await?;
        let mine = usage::units_of(&shelf.by_unit);
        let of_unit = usage::unit_of(profile, &mine);
        let frees = |units: &BTreeSet<UnitId>| {
            holdings.frees(|holder| of_unit(holder).is_some_and(|unit| units.contains(&unit)))
        };
        rules::for_space(&shelf.candidates, &rules, parts.rooms.trusted_now(), needed - freed, frees)
    };
    let Some(picked) = picked.filter(|picked| !picked.is_empty()) else { return Ok(freed > 0) };
    let what: BTreeMap<UnitId, DeletedWhy> = picked.into_iter().map(|(unit, reason)| (unit, reason.into())).collect();
    deletion::delete(parts, profile, &What::Units(what), DeletedBy::Rules, false).await?;
    Ok(true)
}

/// Forgets what was kept by opening it; says how many bytes that freed. Covers stay.
pub(super) async fn forget_opened(parts: &StorageParts, profile: ProfileId) -> Result<u64, EngineError> {
    let mut tx = parts.library.write().await?;
    let gone = sqlx::query("DELETE FROM cache_entries WHERE profile_id = ? AND lesson_id <> ''")
        .bind(profile.to_string())
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    if gone.rows_affected() == 0 { Ok(0) } else { parts.downloads.release().await }
}
