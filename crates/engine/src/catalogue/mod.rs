//! The read path: SQLite first, refreshed behind (requirement C1).
//!
//! Everything a screen needs is read from this device; only a library that was never fetched is fetched before it is shown.

mod lost;
mod outlines;
pub(crate) mod pulled;
pub(crate) mod rows;
mod shelves;
pub mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use carrel_model::{
    BlobHash, ErrorCode, LessonId, ProfileId, TimeMs, UnitId,
    content::{Course, LessonKind, Quality, Unit},
};
use sqlx::Row as _;

use crate::{
    EngineError, EngineEvent,
    access::Accounts,
    downloads::{Downloads, offline_states},
    events::EventBus,
    learning::progress,
    library::Library,
    rows::time_option,
    service_api::{ApiError, ServiceApi},
    settings::SettingsStore,
};
pub(crate) use lost::lost_units;
pub(crate) use outlines::{outlines, shares, units_of};
use pulled::Applied;
use shelves::Paint;
use view::{CourseSummary, LessonView, LibraryView, QualityChoice, UnitView};

/// More pages than any catalogue has; a service that never ends is not believed.
const MAX_PAGES: usize = 10_000;

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Catalogue {
    library: Library,
    events: EventBus,
    accounts: Accounts,
    downloads: Downloads,
    settings: SettingsStore,
    fetching: Fetching,
}

/// Fetching pages: shared with `sync`, so that the two never fetch at the same time. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fetching {
    library: Library,
    events: EventBus,
    accounts: Accounts,
    api: ServiceApi,
    turns: Arc<Mutex<BTreeMap<ProfileId, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Catalogue {
    pub(crate) const fn new(
        library: Library,
        events: EventBus,
        accounts: Accounts,
        downloads: Downloads,
        settings: SettingsStore,
        fetching: Fetching,
    ) -> Self {
        Self { library, events, accounts, downloads, settings, fetching }
    }

    /// Courses and units of a learner. Where nothing was ever fetched, one fetch is made first; offline that is an error.
    pub async fn library(&self, profile: ProfileId) -> Result<LibraryView, EngineError> {
        let mut fetched_at = self.fetched_at(profile).await?;
        if fetched_at.is_none() {
            self.fetching.first(profile).await?;
            fetched_at = self.fetched_at(profile).await?;
        }
        let paint = self.paint(profile, None).await?;
        shelves::library(self.library.readers(), profile, &paint, fetched_at).await
    }

    /// A unit with its lessons, sizes and download.
    pub async fn unit(&self, profile: ProfileId, unit: UnitId) -> Result<UnitView, EngineError> {
        let readers = self.library.readers();
        let (course, whole) = rows::unit(readers, profile, unit).await?.ok_or(EngineError::NotFound("unit"))?;
        let paint = self.paint(profile, None).await?;
        let row = sqlx::query("SELECT * FROM units WHERE profile_id = ?1 AND id = ?2")
            .bind(profile.to_string())
            .bind(unit.to_string())
            .fetch_one(readers)
            .await?;
        let lessons = shelves::lessons_by_unit(readers, profile, Some(unit), &paint).await?;
        let lessons = lessons.into_values().next().unwrap_or_default();
        let download = self.downloads.for_unit(profile, unit).await?;
        Ok(UnitView {
            unit: shelves::unit_card(&row, &lessons, &paint, course.cover.as_ref().map(|cover| cover.id))?,
            course: course_summary(&course),
            lessons,
            qualities: self.qualities(&whole).await?,
            default_quality: paint.quality,
            available_bytes: self.downloads.space().await?.available_bytes(),
            expires_at: download.as_ref().and_then(|download| download.expires_at),
            download,
        })
    }

    /// A lesson.
    pub async fn lesson(&self, profile: ProfileId, lesson: LessonId) -> Result<LessonView, EngineError> {
        let readers = self.library.readers();
        let whole = rows::unit_of_lesson(readers, profile, lesson).await?;
        let (course, unit) = whole.ok_or(EngineError::NotFound("lesson"))?;
        let index = unit.lessons.iter().position(|candidate| candidate.id == lesson);
        let index = index.ok_or(EngineError::NotFound("lesson"))?;
        let id_at = |index: Option<usize>| index.and_then(|index| unit.lessons.get(index)).map(|lesson| lesson.id);
        let (previous, next) = (id_at(index.checked_sub(1)), id_at(index.checked_add(1)));
        let offline = offline_states(readers, profile, self.accounts.trusted_now()).await?;
        let progress = progress::of_lesson(readers, profile, lesson).await?;
        let cover_asset_id = unit.cover.as_ref().or(course.cover.as_ref()).map(|cover| cover.id);
        let whole = unit.lessons.into_iter().nth(index).ok_or(EngineError::NotFound("lesson"))?;
        Ok(LessonView {
            offline: whole.kind == LessonKind::Quiz || shelves::is_here(&offline.lesson(lesson)),
            lesson: whole,
            unit_id: unit.id,
            unit_title: unit.title,
            course: course_summary(&course),
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            cover_asset_id,
            previous,
            next,
            progress,
        })
    }

    /// Fetches what changed at the service now.
    pub async fn refresh(&self, profile: ProfileId) -> Result<(), EngineError> {
        self.fetching.all(profile).await?;
        self.events.send(EngineEvent::Catalogue { profile_id: profile });
        Ok(())
    }

    async fn paint(&self, profile: ProfileId, quality: Option<Quality>) -> Result<Paint, EngineError> {
        let readers = self.library.readers();
        let quality = match quality {
            Some(quality) => quality,
            None => self.settings.get(profile).await?.default_quality,
        };
        Ok(Paint {
            progress: progress::of_all(readers, profile).await?,
            offline: offline_states(readers, profile, self.accounts.trusted_now()).await?,
            quality,
        })
    }

    /// By quality ascending; a quality that takes the same bytes as the one below it is no choice.
    async fn qualities(&self, unit: &Unit) -> Result<Vec<QualityChoice>, EngineError> {
        let mut choices = Vec::new();
        let mut last: Option<Vec<(BlobHash, u64)>> = None;
        for quality in Quality::ALL.iter().copied() {
            let blobs: Vec<(BlobHash, u64)> =
                unit.renditions_for(quality).iter().map(|(_, rendition)| (rendition.hash, rendition.size)).collect();
            if last.as_ref() == Some(&blobs) {
                continue;
            }
            choices.push(QualityChoice {
                quality,
                total_bytes: blobs.iter().map(|(_, size)| size).sum(),
                net_bytes: self.downloads.net_bytes(&blobs).await?,
            });
            last = Some(blobs);
        }
        Ok(choices)
    }

    async fn fetched_at(&self, profile: ProfileId) -> Result<Option<TimeMs>, EngineError> {
        let row = sqlx::query("SELECT units_fetched_at FROM sync_state WHERE profile_id = ?1")
            .bind(profile.to_string())
            .fetch_optional(self.library.readers())
            .await?;
        row.map_or(Err(EngineError::NotFound("profile")), |row| time_option(&row, "units_fetched_at"))
    }
}

impl Fetching {
    pub(crate) fn new(library: Library, events: EventBus, accounts: Accounts, api: ServiceApi) -> Self {
        Self { library, events, accounts, api, turns: Arc::default() }
    }

    /// Fetches everything unless somebody else did while this waited for its turn.
    async fn first(&self, profile: ProfileId) -> Result<(), EngineError> {
        let turn = self.turn(profile);
        let _turn = turn.lock().await;
        let row = sqlx::query("SELECT units_fetched_at FROM sync_state WHERE profile_id = ?1")
            .bind(profile.to_string())
            .fetch_optional(self.library.readers())
            .await?;
        let fetched: Option<i64> = row.map(|row| row.try_get("units_fetched_at")).transpose()?.flatten();
        if fetched.is_some() { Ok(()) } else { Ok(self.pages(profile).await?) }
    }

    /// Fetches all pages there are now.
    pub(crate) async fn all(&self, profile: ProfileId) -> Result<(), ApiError> {
        let turn = self.turn(profile);
        let _turn = turn.lock().await;
        self.pages(profile).await
    }

    async fn pages(&self, profile: ProfileId) -> Result<(), ApiError> {
        let mut changed = false;
        let mut began_anew = false;
        for _ in 0..MAX_PAGES {
            let applied = match self.page(profile).await {
                Ok(applied) => applied,
                Err(ApiError::Refused { code: ErrorCode::CursorExpired, .. }) if !began_anew => {
                    began_anew = true;
                    self.start_over(profile).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            changed |= applied.changed;
            if applied.complete && applied.differs && !began_anew {
                tracing::warn!(%profile, "the catalogue differs from the service's and is fetched anew");
                began_anew = true;
                self.start_over(profile).await?;
            } else if applied.complete {
                break;
            }
        }
        if changed {
            self.events.send(EngineEvent::Catalogue { profile_id: profile });
        }
        Ok(())
    }

    async fn page(&self, profile: ProfileId) -> Result<Applied, ApiError> {
        let cursor = pulled::cursor(self.library.readers(), profile).await?;
        let page = self.api.units_page(profile, cursor.as_deref()).await?;
        let now = self.accounts.trusted_now();
        let mut tx = self.library.write().await?;
        let applied = pulled::apply(&mut tx, profile, &page, now).await?;
        tx.commit().await?;
        Ok(applied)
    }

    async fn start_over(&self, profile: ProfileId) -> Result<(), ApiError> {
        let mut tx = self.library.write().await?;
        pulled::start_over(&mut tx, profile).await?;
        tx.commit().await?;
        Ok(())
    }

    fn turn(&self, profile: ProfileId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(profile).or_default())
    }
}

fn course_summary(course: &Course) -> CourseSummary {
    CourseSummary {
        id: course.id,
        title: course.title.clone(),
        summary: course.summary.clone(),
        subject: course.subject.clone(),
        level: course.level.clone(),
        language: course.language.clone(),
        accent: course.accent.clone(),
        cover_asset_id: course.cover.as_ref().map(|cover| cover.id),
    }
}
