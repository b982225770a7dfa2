//! What the service remembers, as use cases.
//!
//! The grain is the use case and not the table: each method is one transaction with one outcome, so that a store can keep
//! the two promises everything else rests on. *Once*: an op's log row and its effect are written together or not at all.
//! *In order*: every writing transaction first advances the counter of the scope it writes to, so the order of sequence
//! numbers is the order of commits and a cursor never skips a row (protocol.md, Cursor).

mod error;
pub mod postgres;
mod sql;
pub mod sqlite;
mod types;

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

use rand::TryRngCore as _;

pub use crate::rules::{Denial, IncomingOp};
pub use error::StoreError;
pub use types::*;

/// A fresh name for an epoch.
fn new_epoch_name() -> Result<String, StoreError> {
    let mut random = [0; 8];
    rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|error| StoreError::Lock(std::io::Error::other(error)))?;
    Ok(hex::encode(random))
}

/// The store of the service.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    // Accounts

    /// Adds an account. [`StoreError::NameTaken`] if there is one of that name.
    async fn add_account(&self, account: &Account) -> Result<(), StoreError>;
    /// All accounts by name.
    async fn accounts(&self) -> Result<Vec<Account>, StoreError>;
    /// The account of a name, folded by [`crate::accounts::folded_name`].
    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError>;
    /// Changes a password and ends every session of the account.
    async fn set_password(&self, learner: LearnerId, password_hash: &str) -> Result<(), StoreError>;
    /// Binds the device to the learner and keeps the tokens. [`StoreError::DeviceTaken`] if it is another learner's.
    async fn open_session(
        &self,
        caller: Caller,
        device_name: &str,
        tokens: &NewTokens,
        now: TimeMs,
    ) -> Result<(), StoreError>;
    /// Makes a device the learner's own if it is nobody's. [`StoreError::DeviceTaken`] if it is another learner's.
    async fn bind_device(&self, learner: LearnerId, device: DeviceId, now: TimeMs) -> Result<(), StoreError>;
    /// Exchanges a refresh token. `None`: it is unknown, over, or was used before the grace of 60 s – in which case the
    /// whole session ends, since somebody else may hold a copy.
    async fn rotate_session(
        &self,
        presented: TokenHash,
        device: DeviceId,
        tokens: &NewTokens,
        now: TimeMs,
    ) -> Result<Option<Account>, StoreError>;
    /// Whose access token it is.
    async fn authenticate(&self, access: TokenHash, now: TimeMs) -> Result<Option<Caller>, StoreError>;
    /// Ends the session of an access token.
    async fn close_session(&self, caller: Caller) -> Result<(), StoreError>;

    // Enrolments

    /// Enrols, or changes role and end of an enrolment.
    async fn enrol(
        &self,
        learner: LearnerId,
        course_key: &str,
        role: Role,
        until: Option<TimeMs>,
        now: TimeMs,
    ) -> Result<(), StoreError>;
    /// Ends an enrolment; what was recorded before stays and what was recorded offline until now is still accepted.
    async fn unenrol(&self, learner: LearnerId, course_key: &str, now: TimeMs) -> Result<(), StoreError>;
    /// The enrolments that have not been ended, expired ones included.
    async fn enrolments(&self, learner: LearnerId) -> Result<Vec<Enrolment>, StoreError>;

    // Content

    /// The courses a learner may see: open ones and their own.
    async fn courses(&self, learner: LearnerId) -> Result<Vec<Course>, StoreError>;
    /// The units a learner may see, of their own courses or of open ones.
    async fn units(&self, learner: LearnerId, scope: UnitScope) -> Result<Vec<Unit>, StoreError>;
    /// One unit.
    async fn unit(&self, learner: LearnerId, unit: UnitId) -> Result<Result<Unit, Denial>, StoreError>;
    /// A page of what changed.
    async fn units_page(
        &self,
        learner: LearnerId,
        since: &Since,
        limit: u32,
        include_deleted: bool,
        now: TimeMs,
    ) -> Result<UnitsPage, StoreError>;
    /// Of the renditions wanted, those the learner may have now.
    async fn renditions(
        &self,
        learner: LearnerId,
        wanted: &[UrlWanted],
        now: TimeMs,
    ) -> Result<Vec<GrantedRendition>, StoreError>;
    /// Decides on a download and lists its blobs.
    async fn authorize_download(
        &self,
        learner: LearnerId,
        wanted: DownloadWanted,
        quality: Quality,
        default_quota: Option<u64>,
        now: TimeMs,
    ) -> Result<Result<GrantedDownload, Denial>, StoreError>;
    /// Size and media type of a blob.
    async fn blob(&self, hash: BlobHash) -> Result<Option<Blob>, StoreError>;
    /// The pieces of a blob.
    async fn manifest(&self, hash: BlobHash) -> Result<Option<Manifest>, StoreError>;
    /// Whether a blob belongs to something the learner may have now.
    async fn may_read_blob(&self, learner: LearnerId, hash: BlobHash, now: TimeMs) -> Result<bool, StoreError>;

    // Learners' own rows

    /// Takes a batch: one transaction, one verdict for each op, in their order. [`StoreError::SeqRegressed`] if the device
    /// was restored or cloned; then nothing is taken.
    async fn apply_push(&self, caller: Caller, ops: &[IncomingOp], now: TimeMs) -> Result<Vec<PushResult>, StoreError>;
    /// A page of the learner's own rows that changed. The lease is left to the caller.
    async fn pull_page(
        &self,
        learner: LearnerId,
        cursor: Option<&str>,
        limit: u32,
        now: TimeMs,
    ) -> Result<PullPage, StoreError>;

    // Publishing

    /// The ids that the keys of a course were given when they were first published.
    async fn known_ids(&self, course_key: &str) -> Result<KnownIds, StoreError>;
    /// Makes a course what was built. Its objects must be there already.
    async fn publish(&self, built: BuiltCourse, now: TimeMs) -> Result<Published, StoreError>;
    /// Withdraws a course: a tombstone for everybody who has it.
    async fn withdraw(&self, course_key: &str, now: TimeMs) -> Result<CourseId, StoreError>;

    /// The scheduled jobs: forgets tombstones, tokens, epochs and the audit past their time, and counts anew what devices
    /// keep.
    async fn prune(&self, now: TimeMs) -> Result<(), StoreError>;

    /// Closes every connection; what follows fails.
    async fn close(&self);
}
