//! What downloads, playback and storage ask of the other rooms, answered by those rooms.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use carrel_model::{
    AssetId, CourseId, ErrorCode, LessonId, ProfileId, TimeMs, UnitId,
    content::{Course, Unit},
    op::Op,
    progress::ProgressStatus,
    wire::{
        content::{UrlWanted, UrlsResponse},
        downloads::AuthorizeRequest,
    },
};
use sqlx::{Sqlite, Transaction};
use tokio::sync::watch;

use crate::{
    EngineError,
    access::Accounts,
    catalogue::rows as catalogue,
    downloads::{
        grant::Granted,
        rooms::{CourseShare, Outline, OwnedAsset, Rooms},
    },
    learning::progress,
    library::Library,
    network::{
        Network,
        device::{Device, DeviceView},
    },
    outbox::Outbox,
    service_api::ServiceApi,
    settings::{self, Settings},
    sync::view::NetworkState,
};

/// The real rooms.
#[derive(Debug)]
pub(crate) struct RoomLinks {
    pub(crate) library: Library,
    pub(crate) network: Network,
    pub(crate) device: Device,
    pub(crate) accounts: Accounts,
    pub(crate) api: ServiceApi,
    pub(crate) outbox: Outbox,
}

#[async_trait]
impl Rooms for RoomLinks {
    fn network(&self) -> watch::Receiver<(NetworkState, TimeMs)> {
        self.network.watch()
    }

    fn device(&self) -> watch::Receiver<DeviceView> {
        self.device.watch()
    }

    fn trusted_now(&self) -> TimeMs {
        self.accounts.trusted_now()
    }

    async fn signed_in(&self) -> Result<Vec<ProfileId>, EngineError> {
        self.accounts.learning_now().await
    }

    async fn permits(
        &self,
        profile: ProfileId,
        course: CourseId,
        open: bool,
        download_expires_at: Option<TimeMs>,
    ) -> Result<(), EngineError> {
        self.accounts.permits(profile, course, open, download_expires_at).await
    }

    async fn authorize(&self, profile: ProfileId, request: AuthorizeRequest) -> Result<Granted, EngineError> {
        self.api.authorize_download(profile, request).await
    }

    async fn urls(&self, profile: ProfileId, items: Vec<UrlWanted>) -> Result<UrlsResponse, EngineError> {
        self.api.asset_urls(profile, items).await
    }

    async fn unit(&self, profile: ProfileId, unit: UnitId) -> Result<Option<(Course, Unit)>, EngineError> {
        catalogue::unit(self.library.readers(), profile, unit).await
    }

    async fn outlines(&self, profile: ProfileId, units: &[UnitId]) -> Result<BTreeMap<UnitId, Outline>, EngineError> {
        crate::catalogue::outlines(self.library.readers(), profile, units).await
    }

    async fn units_of(&self, profile: ProfileId, course: CourseId) -> Result<Vec<UnitId>, EngineError> {
        crate::catalogue::units_of(self.library.readers(), profile, course).await
    }

    async fn shares(&self, profile: ProfileId, units: &[UnitId]) -> Result<Vec<CourseShare>, EngineError> {
        crate::catalogue::shares(self.library.readers(), profile, units).await
    }

    async fn lesson(&self, profile: ProfileId, lesson: LessonId) -> Result<Option<(Course, Unit)>, EngineError> {
        catalogue::unit_of_lesson(self.library.readers(), profile, lesson).await
    }

    async fn asset(&self, profile: ProfileId, asset: AssetId) -> Result<Option<OwnedAsset>, EngineError> {
        catalogue::owned_asset(self.library.readers(), profile, asset).await
    }

    async fn lost_units(
        &self,
        profile: ProfileId,
        units: &[(UnitId, CourseId)],
    ) -> Result<BTreeMap<UnitId, ErrorCode>, EngineError> {
        crate::catalogue::lost_units(self.library.readers(), profile, units).await
    }

    async fn completed_lessons(&self, profile: ProfileId) -> Result<BTreeSet<LessonId>, EngineError> {
        let all = progress::of_all(self.library.readers(), profile).await?;
        let completed = all.into_iter().filter(|(_, progress)| progress.status == ProgressStatus::Completed);
        Ok(completed.map(|(lesson, _)| lesson).collect())
    }

    async fn settings(&self, profile: ProfileId) -> Result<Settings, EngineError> {
        settings::kept(self.library.readers(), profile).await
    }

    async fn resume_position(&self, profile: ProfileId, lesson: LessonId) -> Result<u64, EngineError> {
        Ok(progress::of_lesson(self.library.readers(), profile, lesson).await?.position)
    }

    async fn waiting(&self, profile: ProfileId) -> Result<BTreeMap<UnitId, u32>, EngineError> {
        self.outbox.by_unit(profile).await
    }

    async fn enqueue(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        profile: ProfileId,
        op: &Op,
    ) -> Result<(), EngineError> {
        self.outbox.enqueue(tx, profile, op).await?;
        Ok(())
    }
}
