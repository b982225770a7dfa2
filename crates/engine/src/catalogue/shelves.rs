//! The library screen: every course and unit of a learner, in a fixed number of queries however many there are.

use std::collections::BTreeMap;

use carrel_model::{
    AssetId, CourseId, LessonId, ProfileId, TimeMs, UnitId,
    content::{OLDEST_SUPPORTED_UNIT_SCHEMA, Quality},
    progress::ProgressStatus,
};
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use super::view::{
    Availability, ContinueCard, CourseCard, CourseSummary, LessonCard, LibraryView, OfflineState, UnitCard,
};
use crate::{
    EngineError,
    downloads::OfflineStates,
    learning::{progress::NOT_STARTED, view::ProgressView},
    rows::{parsed, parsed_option, unsigned},
};

/// What lists are painted with besides the catalogue itself.
#[derive(Debug)]
pub(super) struct Paint {
    pub(super) progress: BTreeMap<LessonId, ProgressView>,
    pub(super) offline: OfflineStates,
    pub(super) quality: Quality,
}

/// Reads the shelves.
pub(super) async fn library(
    readers: &SqlitePool,
    profile: ProfileId,
    paint: &Paint,
    fetched_at: Option<TimeMs>,
) -> Result<LibraryView, EngineError> {
    let courses = sqlx::query("SELECT * FROM courses WHERE profile_id = ?1 ORDER BY position, title, id")
        .bind(profile.to_string())
        .fetch_all(readers)
        .await?;
    let mut courses: Vec<CourseCard> = courses
        .iter()
        .map(|row| Ok(CourseCard { course: summary(row)?, units: Vec::new() }))
        .collect::<Result<_, EngineError>>()?;
    let by_id: BTreeMap<CourseId, usize> =
        courses.iter().enumerate().map(|(index, card)| (card.course.id, index)).collect();
    let mut lessons = lessons_by_unit(readers, profile, None, paint).await?;
    let units =
        sqlx::query("SELECT * FROM units WHERE profile_id = ?1 AND schema_version >= ?2 ORDER BY position, title, id")
            .bind(profile.to_string())
            .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
            .fetch_all(readers)
            .await?;
    let mut continue_with: Option<(TimeMs, ContinueCard)> = None;
    for row in &units {
        let id: UnitId = parsed(row, "id")?;
        let lessons = lessons.remove(&id).unwrap_or_default();
        let course_id: CourseId = parsed(row, "course_id")?;
        let Some(course) = by_id.get(&course_id).and_then(|index| courses.get_mut(*index)) else { continue };
        let card = unit_card(row, &lessons, paint, course.course.cover_asset_id)?;
        if let Some((at, lesson)) = where_to_go_on(lessons)
            && continue_with.as_ref().is_none_or(|(latest, _)| at > *latest)
        {
            let accent = course.course.accent.clone();
            continue_with = Some((at, ContinueCard { unit: card.clone(), accent, lesson }));
        }
        course.units.push(card);
    }
    Ok(LibraryView { courses, continue_with: continue_with.map(|(_, card)| card), fetched_at })
}

/// What is said of a course everywhere.
pub(super) fn summary(row: &SqliteRow) -> Result<CourseSummary, EngineError> {
    Ok(CourseSummary {
        id: parsed(row, "id")?,
        title: row.try_get("title")?,
        summary: row.try_get("summary")?,
        subject: row.try_get("subject")?,
        level: row.try_get("level")?,
        language: row.try_get("language")?,
        accent: row.try_get("accent")?,
        cover_asset_id: parsed_option(row, "cover_asset_id")?,
    })
}

/// A unit as a list shows it; where it has no picture of its own, with its course's.
pub(super) fn unit_card(
    row: &SqliteRow,
    lessons: &[LessonCard],
    paint: &Paint,
    course_cover: Option<AssetId>,
) -> Result<UnitCard, EngineError> {
    let id: UnitId = parsed(row, "id")?;
    let state = paint.offline.unit(id);
    let size = match paint.quality {
        Quality::Low => "size_low",
        Quality::Medium => "size_medium",
        Quality::High => "size_high",
    };
    let here = matches!(state.availability, Availability::ReadyOffline | Availability::UpdateAvailable);
    let on_disk = paint.offline.bytes.get(&id).copied().filter(|_| here);
    let percent: u32 = lessons.iter().map(|lesson| u32::from(lesson.progress.percent)).sum();
    let count = u32::try_from(lessons.len()).unwrap_or(u32::MAX);
    let completed = lessons.iter().filter(|lesson| lesson.progress.status == ProgressStatus::Completed).count();
    Ok(UnitCard {
        id,
        course_id: parsed(row, "course_id")?,
        title: row.try_get("title")?,
        summary: row.try_get("summary")?,
        language: row.try_get("language")?,
        cover_asset_id: parsed_option(row, "cover_asset_id")?.or(course_cover),
        lesson_count: count,
        completed_count: u32::try_from(completed).unwrap_or(u32::MAX),
        duration_ms: lessons.iter().filter_map(|lesson| lesson.duration_ms).sum(),
        size_bytes: on_disk.map_or_else(|| unsigned(row, size), Ok)?,
        progress_percent: u8::try_from(percent.checked_div(count).unwrap_or(0)).unwrap_or(100),
        state,
    })
}

/// The lessons of one unit or of all, in their order.
pub(super) async fn lessons_by_unit(
    readers: &SqlitePool,
    profile: ProfileId,
    unit: Option<UnitId>,
    paint: &Paint,
) -> Result<BTreeMap<UnitId, Vec<LessonCard>>, EngineError> {
    let rows = sqlx::query(
        "SELECT id, unit_id, kind, title, summary, duration_ms, primary_asset_id IS NULL AS has_no_file FROM lessons
         WHERE profile_id = ?1 AND (?2 IS NULL OR unit_id = ?2) AND schema_version >= ?3
         ORDER BY unit_id, position, id",
    )
    .bind(profile.to_string())
    .bind(unit.map(|id| id.to_string()))
    .bind(OLDEST_SUPPORTED_UNIT_SCHEMA)
    .fetch_all(readers)
    .await?;
    let mut all: BTreeMap<UnitId, Vec<LessonCard>> = BTreeMap::new();
    for row in &rows {
        let id: LessonId = parsed(row, "id")?;
        let duration_ms: Option<i64> = row.try_get("duration_ms")?;
        let cards = all.entry(parsed(row, "unit_id")?).or_default();
        cards.push(LessonCard {
            id,
            kind: parsed(row, "kind")?,
            title: row.try_get("title")?,
            summary: row.try_get("summary")?,
            duration_ms: duration_ms.and_then(|ms| u64::try_from(ms).ok()),
            number: u32::try_from(cards.len() + 1).unwrap_or(u32::MAX),
            offline: row.try_get::<bool, _>("has_no_file")? || is_here(&paint.offline.lesson(id)),
            progress: paint.progress.get(&id).cloned().unwrap_or(NOT_STARTED),
        });
    }
    Ok(all)
}

/// Whether every file of it is verified on disk and may be opened.
pub(super) const fn is_here(state: &OfflineState) -> bool {
    matches!(state.availability, Availability::ReadyOffline | Availability::UpdateAvailable)
}

/// The lesson to go on with, and when the unit was last worked on: the one that was left in the middle, else the first that
/// is not done. A unit that was never begun or is all done is nothing to go on with.
fn where_to_go_on(lessons: Vec<LessonCard>) -> Option<(TimeMs, LessonCard)> {
    let latest = lessons.iter().filter_map(|lesson| lesson.progress.updated_at).max()?;
    let left = lessons.iter().filter(|lesson| lesson.progress.status == ProgressStatus::InProgress);
    let left = left.max_by_key(|lesson| lesson.progress.updated_at).map(|lesson| lesson.id);
    let next =
        lessons.iter().find(|lesson| lesson.progress.status != ProgressStatus::Completed).map(|lesson| lesson.id);
    let chosen = left.or(next)?;
    lessons.into_iter().find(|lesson| lesson.id == chosen).map(|lesson| (latest, lesson))
}
