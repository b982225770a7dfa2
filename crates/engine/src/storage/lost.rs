//! What the service took back while it was kept here: an enrolment that ended, a unit that left its course.
//!
//! The catalogue learns it by a tombstone, offline or not whenever the next sync comes. What nobody else on this device may
//! use leaves the disk then; the record of the download stays with its reason, and so does everything the learner did:
//! progress, answers and waiting writes belong to lessons and are not touched (A2, C2).

use std::collections::BTreeMap;

use carrel_model::{ErrorCode, ProfileId, UnitId};

use super::{
    StorageParts, deletion,
    deletion::What,
    usage,
    view::{Deleted, DeletedBy, DeletedWhy},
};
use crate::EngineError;

/// Lets go of what a learner may not see any more; none: there is nothing of the kind.
pub(super) async fn let_go(parts: &StorageParts, profile: ProfileId) -> Result<Option<Deleted>, EngineError> {
    let by_unit = usage::by_unit(parts.library.readers(), profile).await?;
    let downloaded = by_unit.iter().filter_map(|(unit, rows)| Some((*unit, rows.first()?.course_id)));
    let lost = parts.rooms.lost_units(profile, &downloaded.collect::<Vec<_>>()).await?;
    if lost.is_empty() {
        return Ok(None);
    }
    let why = |(unit, code): (UnitId, ErrorCode)| match code {
        ErrorCode::Gone => (unit, DeletedWhy::Gone),
        _ => (unit, DeletedWhy::NotEnrolled),
    };
    let what: BTreeMap<UnitId, DeletedWhy> = lost.into_iter().map(why).collect();
    deletion::delete(parts, profile, &What::Units(what), DeletedBy::Service, false).await.map(Some)
}
