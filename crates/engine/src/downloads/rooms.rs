//! What the queue, playback and storage ask of the other rooms, in one place.
//!
//! A trait, because each of these answers depends on a network, a lease or a catalogue, and the rules of the queue are to
//! be shown without all three. [`crate::engine`] puts the real rooms behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use async_trait::async_trait;
use carrel_model::{
    AssetId, CourseId, ErrorCode, LessonId, ProfileId, TimeMs, UnitId,
    content::{Asset, Course, Unit},
    op::Op,
    wire::{
        content::{UrlWanted, UrlsResponse},
        downloads::AuthorizeRequest,
    },
};
use tokio::sync::watch;

use super::grant::Granted;

use crate::{EngineError, library::WriteTx, network::device::DeviceView, settings::Settings, sync::view::NetworkState};

/// An asset that a learner may see, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedAsset {
    /// The asset as the catalogue lists it now.
    pub(crate) asset: Asset,
    /// Its course.
    pub(crate) course_id: CourseId,
    /// Whether that course needs no enrolment.
    pub(crate) course_is_open: bool,
    /// Its unit; none for a course's cover.
    pub(crate) unit_id: Option<UnitId>,
}

/// A unit as a download needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) course_id: CourseId,
    /// Whether that course needs no enrolment.
    pub(crate) course_is_open: bool,
    /// Its name.
    pub(crate) title: String,
    /// Colour of the course.
    pub(crate) accent: String,
    /// Its picture, or that of its course.
    pub(crate) cover_asset_id: Option<AssetId>,
    /// Its assets, each with a lesson that needs it (none: the unit as a whole), in their order.
    pub(crate) uses: Vec<(AssetId, Option<LessonId>)>,
}

impl Outline {
    /// Of a unit that was read as a whole, or of one lesson of it; none: it has no such lesson.
    pub(crate) fn of(course: &Course, unit: &Unit, only: Option<LessonId>) -> Option<Self> {
        let title = match only {
            None => &unit.title,
            Some(id) => &unit.lessons.iter().find(|lesson| lesson.id == id)?.title,
        };
        let assets = unit.cover.iter().chain(&unit.assets).filter(|asset| only.is_none() || asset.lesson_id == only);
        let mut uses: Vec<_> = assets.map(|asset| (asset.id, asset.lesson_id)).collect();
        for lesson in unit.lessons.iter().filter(|lesson| only.is_none_or(|only| only == lesson.id)) {
            let payload = &lesson.payload;
            let assets = lesson.primary_asset_id.iter().chain(&payload.caption_asset_ids);
            uses.extend(assets.chain(&payload.image_asset_ids).map(|asset| (*asset, Some(lesson.id))));
        }
        Some(Self {
            course_id: course.id,
            course_is_open: course.open,
            title: title.clone(),
            accent: course.accent.clone(),
            cover_asset_id: unit.cover.as_ref().or(course.cover.as_ref()).map(|asset| asset.id),
            uses,
        })
    }
}

/// Some units of a course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CourseShare {
    pub(crate) course: CourseId,
    /// Those that were asked about.
    pub(crate) units: Vec<UnitId>,
    /// How many it has.
    pub(crate) units_of_course: usize,
    /// How many assets all of them have.
    pub(crate) assets_of_course: usize,
}

/// The other rooms.
#[async_trait]
pub(crate) trait Rooms: Send + Sync + fmt::Debug {
    /// Network: whether the service answers, since when, and every change of it.
    fn network(&self) -> watch::Receiver<(NetworkState, TimeMs)>;

    /// Network: link and power, and every change of them.
    fn device(&self) -> watch::Receiver<DeviceView>;

    /// Access: trusted time.
    fn trusted_now(&self) -> TimeMs;

    /// Access: the learners whose queues may run: who uses the device now, while their session holds.
    async fn signed_in(&self) -> Result<Vec<ProfileId>, EngineError>;

    /// Access: whether content of a course opens now.
    async fn permits(
        &self,
        profile: ProfileId,
        course: CourseId,
        open: bool,
        download_expires_at: Option<TimeMs>,
    ) -> Result<(), EngineError>;

    /// Service: the manifest of a download, with absolute addresses.
    async fn authorize(&self, profile: ProfileId, request: AuthorizeRequest) -> Result<Granted, EngineError>;

    /// Service: signed addresses, absolute.
    async fn urls(&self, profile: ProfileId, items: Vec<UrlWanted>) -> Result<UrlsResponse, EngineError>;

    /// Catalogue: a unit and its course, if the learner may see them.
    async fn unit(&self, profile: ProfileId, unit: UnitId) -> Result<Option<(Course, Unit)>, EngineError>;

    /// Catalogue: what a download needs to know of these units; those the learner doesn't see are left out.
    async fn outlines(&self, profile: ProfileId, units: &[UnitId]) -> Result<BTreeMap<UnitId, Outline>, EngineError>;

    /// Catalogue: the units of a course, in their order; none where the learner doesn't see it.
    async fn units_of(&self, profile: ProfileId, course: CourseId) -> Result<Vec<UnitId>, EngineError>;

    /// Catalogue: these units by their courses.
    async fn shares(&self, profile: ProfileId, units: &[UnitId]) -> Result<Vec<CourseShare>, EngineError>;

    /// Catalogue: the unit of a lesson, and its course.
    async fn lesson(&self, profile: ProfileId, lesson: LessonId) -> Result<Option<(Course, Unit)>, EngineError>;

    /// Catalogue: an asset, if the learner may see it.
    async fn asset(&self, profile: ProfileId, asset: AssetId) -> Result<Option<OwnedAsset>, EngineError>;

    /// Catalogue: which of these units of courses a learner may not see any more, and why: `not_enrolled` or `gone`.
    async fn lost_units(
        &self,
        profile: ProfileId,
        units: &[(UnitId, CourseId)],
    ) -> Result<BTreeMap<UnitId, ErrorCode>, EngineError>;

    /// Learning: lessons that were finished, sent or not.
    async fn completed_lessons(&self, profile: ProfileId) -> Result<BTreeSet<LessonId>, EngineError>;

    /// Settings of a learner.
    async fn settings(&self, profile: ProfileId) -> Result<Settings, EngineError>;

    /// Learning: where to go on, in the lesson's own unit.
    async fn resume_position(&self, profile: ProfileId, lesson: LessonId) -> Result<u64, EngineError>;

    /// Outbox: what a learner did and is still to be sent, by unit; what the device reports by itself not counted.
    async fn waiting(&self, profile: ProfileId) -> Result<BTreeMap<UnitId, u32>, EngineError>;

    /// Outbox: keeps a write in the caller's transaction.
    async fn enqueue(&self, tx: &mut WriteTx, profile: ProfileId, op: &Op) -> Result<(), EngineError>;
}
