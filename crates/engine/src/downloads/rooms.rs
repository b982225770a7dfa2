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
        downloads::{AuthorizeRequest, Authorized},
    },
};
use tokio::sync::watch;

use crate::{
    EngineError, library::WriteTx, network::device::DeviceView, settings::Settings, sync::view::NetworkState,
};

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

/// The other rooms.
#[async_trait]
pub(crate) trait Rooms: Send + Sync + fmt::Debug {
    /// Network: whether the service answers, since when, and every change of it.
    fn network(&self) -> watch::Receiver<(NetworkState, TimeMs)>;

    /// Network: link and power, and every change of them.
    fn device(&self) -> watch::Receiver<DeviceView>;

    /// Access: trusted time.
    fn trusted_now(&self) -> TimeMs;

    /// Access: the learners whose session holds.
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
    async fn authorize(&self, profile: ProfileId, request: AuthorizeRequest) -> Result<Authorized, EngineError>;

    /// Service: signed addresses, absolute.
    async fn urls(&self, profile: ProfileId, items: Vec<UrlWanted>) -> Result<UrlsResponse, EngineError>;

    /// Catalogue: a unit and its course, if the learner may see them.
    async fn unit(&self, profile: ProfileId, unit: UnitId) -> Result<Option<(Course, Unit)>, EngineError>;

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
