//! The store's trait over whichever database it is.

use async_trait::async_trait;
use carrel_model::{
    BlobHash, CourseId, DeviceId, LearnerId, TimeMs, UnitId,
    content::{Course, Quality, Unit},
    lease::{Enrolment, Role},
    pieces::Manifest,
    wire::{
        content::{UnitsPage, UrlWanted},
        sync::{PullPage, PushResult},
    },
};

use super::{
    Database, accounts, content, downloads, enrolments, epochs, publish, pull, push, retention, tombstones, units_page,
    values,
};
use crate::{
    rules::{Denial, IncomingOp},
    store::{
        Account, Blob, BuiltCourse, Caller, DownloadWanted, GrantedDownload, GrantedRendition, KnownIds, NewTokens,
        Published, Since, Store, StoreError, TokenHash, UnitScope,
    },
};

/// How often a transaction that failed through no fault of its own is begun again.
const ATTEMPTS: u32 = 8;

/// A store over an SQL database.
pub(in crate::store) struct SqlStore {
    db: Box<dyn Database>,
}

impl SqlStore {
    /// Over a database whose tables are there.
    pub(in crate::store) fn over(db: impl Database) -> Self {
        Self { db: Box::new(db) }
    }

    fn db(&self) -> &dyn Database {
        self.db.as_ref()
    }
}

/// Runs a writing use case, again from its beginning where another transaction got into its way. (A macro, since a function
/// that takes what can be run again can't yet promise that it may move between threads.)
macro_rules! undisturbed {
    ($attempt:expr) => {{
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            match $attempt.await {
                Err(error) if left > 0 && StoreError::is_transient(&error) => {
                    tracing::debug!(%error, "a transaction is begun again");
                }
                done => break done,
            }
        }
    }};
}

#[async_trait]
impl Store for SqlStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.db().read("SELECT 1 AS one", values![]).await?;
        Ok(())
    }

    async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        undisturbed!(accounts::add(self.db(), account))
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        accounts::all(self.db()).await
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        accounts::by_name(self.db(), name).await
    }

    async fn set_password(&self, learner: LearnerId, password_hash: &str) -> Result<(), StoreError> {
        undisturbed!(accounts::set_password(self.db(), learner, password_hash))
    }

    async fn open_session(
        &self,
        caller: Caller,
        device_name: &str,
        tokens: &NewTokens,
        now: TimeMs,
    ) -> Result<(), StoreError> {
        undisturbed!(accounts::open_session(self.db(), caller, device_name, tokens, now))
    }

    async fn bind_device(&self, learner: LearnerId, device: DeviceId, now: TimeMs) -> Result<(), StoreError> {
        undisturbed!(accounts::bind_device(self.db(), learner, device, now))
    }

    async fn rotate_session(
        &self,
        presented: TokenHash,
        device: DeviceId,
        tokens: &NewTokens,
        now: TimeMs,
    ) -> Result<Option<Account>, StoreError> {
        undisturbed!(accounts::rotate_session(self.db(), presented, device, tokens, now))
    }

    async fn authenticate(&self, access: TokenHash, now: TimeMs) -> Result<Option<Caller>, StoreError> {
        accounts::authenticate(self.db(), access, now).await
    }

    async fn close_session(&self, caller: Caller) -> Result<(), StoreError> {
        undisturbed!(accounts::close_session(self.db(), caller))
    }

    async fn enrol(
        &self,
        learner: LearnerId,
        course_key: &str,
        role: Role,
        until: Option<TimeMs>,
        now: TimeMs,
    ) -> Result<(), StoreError> {
        undisturbed!(enrolments::enrol(self.db(), learner, course_key, role, until, now))
    }

    async fn unenrol(&self, learner: LearnerId, course_key: &str, now: TimeMs) -> Result<(), StoreError> {
        undisturbed!(enrolments::unenrol(self.db(), learner, course_key, now))
    }

    async fn enrolments(&self, learner: LearnerId) -> Result<Vec<Enrolment>, StoreError> {
        let mut tx = self.db().snapshot().await?;
        enrolments::current(tx.as_mut(), learner).await
    }

    async fn courses(&self, learner: LearnerId) -> Result<Vec<Course>, StoreError> {
        content::courses(self.db(), learner).await
    }

    async fn units(&self, learner: LearnerId, scope: UnitScope) -> Result<Vec<Unit>, StoreError> {
        content::units(self.db(), learner, scope).await
    }

    async fn unit(&self, learner: LearnerId, unit: UnitId) -> Result<Result<Unit, Denial>, StoreError> {
        content::unit(self.db(), learner, unit).await
    }

    async fn units_page(
        &self,
        learner: LearnerId,
        since: &Since,
        limit: u32,
        include_deleted: bool,
        now: TimeMs,
    ) -> Result<UnitsPage, StoreError> {
        units_page::read(self.db(), learner, since, limit, include_deleted, now).await
    }

    async fn renditions(
        &self,
        learner: LearnerId,
        wanted: &[UrlWanted],
        now: TimeMs,
    ) -> Result<Vec<GrantedRendition>, StoreError> {
        downloads::renditions(self.db(), learner, wanted, now).await
    }

    async fn authorize_download(
        &self,
        learner: LearnerId,
        wanted: DownloadWanted,
        quality: Quality,
        default_quota: Option<u64>,
        now: TimeMs,
    ) -> Result<Result<GrantedDownload, Denial>, StoreError> {
        downloads::authorize(self.db(), learner, wanted, quality, default_quota, now).await
    }

    async fn blob(&self, hash: BlobHash) -> Result<Option<Blob>, StoreError> {
        content::blob(self.db(), hash).await
    }

    async fn manifest(&self, hash: BlobHash) -> Result<Option<Manifest>, StoreError> {
        let mut tx = self.db().snapshot().await?;
        Ok(content::manifest(tx.as_mut(), hash).await?.map(|(manifest, _)| manifest))
    }

    async fn may_read_blob(&self, learner: LearnerId, hash: BlobHash, now: TimeMs) -> Result<bool, StoreError> {
        downloads::may_read_blob(self.db(), learner, hash, now).await
    }

    async fn apply_push(&self, caller: Caller, ops: &[IncomingOp], now: TimeMs) -> Result<Vec<PushResult>, StoreError> {
        undisturbed!(push::apply(self.db(), caller, ops, now))
    }

    async fn pull_page(
        &self,
        learner: LearnerId,
        cursor: Option<&str>,
        limit: u32,
        now: TimeMs,
    ) -> Result<PullPage, StoreError> {
        pull::read(self.db(), learner, cursor, limit, now).await
    }

    async fn known_ids(&self, course_key: &str) -> Result<KnownIds, StoreError> {
        let mut tx = self.db().snapshot().await?;
        publish::known_ids(tx.as_mut(), course_key).await
    }

    async fn publish(&self, built: BuiltCourse, now: TimeMs) -> Result<Published, StoreError> {
        undisturbed!(publish::publish(self.db(), &built, now))
    }

    async fn withdraw(&self, course_key: &str, now: TimeMs) -> Result<CourseId, StoreError> {
        undisturbed!(tombstones::withdraw(self.db(), course_key, now))
    }

    async fn prune(&self, now: TimeMs) -> Result<(), StoreError> {
        undisturbed!(async {
            let mut tx = self.db().begin().await?;
            tombstones::prune(tx.as_mut(), now).await?;
            accounts::prune(tx.as_mut(), now).await?;
            epochs::prune(tx.as_mut(), now).await?;
            tx.commit().await
        })?;
        while undisturbed!(retention::prune_audit(self.db(), now))? {}
        undisturbed!(retention::recount(self.db(), now))
    }

    async fn close(&self) {
        self.db().close().await;
    }
}
