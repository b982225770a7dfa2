//! The store in one SQLite file.
//!
//! WAL, one writer connection (`BEGIN IMMEDIATE`, so that a transaction waits for its turn at its first statement and never
//! fails at its last), four read-only readers. The command line works on the same file while the service runs: it is one
//! more writer that waits for its turn.

mod accounts;
mod content;
mod downloads;
mod effects;
mod enrolments;
mod publish;
mod pull;
mod push;
mod rows;
mod tombstones;
mod units_page;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

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
use sqlx::{
    Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Account, Blob, BuiltCourse, Caller, DownloadWanted, GrantedDownload, GrantedRendition, KnownIds, NewTokens,
    Published, Since, Store, StoreError, TokenHash, UnitScope,
};
use crate::rules::{Denial, IncomingOp};

const READERS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// The store in one SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    epoch: String,
}

impl SqliteStore {
    /// Opens the file, making it and its tables where they are missing.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("trusted_schema", "OFF");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // After a full or failing disk SQLite has rolled back by itself and refuses the `ROLLBACK` that follows; sqlx
            // would believe in that transaction for ever, and the connection never begin another one.
            .before_acquire(|connection, _| {
                let stuck = connection.is_in_transaction();
                Box::pin(async move { Ok(!stuck) })
            })
            .connect_with(options.clone())
            .await?;
        migrate(&writer).await?;
        let epoch =
            sqlx::query_scalar("SELECT value FROM service_state WHERE key = 'epoch'").fetch_one(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await?;
        Ok(Self { writer, readers, epoch })
    }

    /// Closes every connection; the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// One consistent state for as long as it is read.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.readers.begin().await?)
    }
}

/// Advances a scope's counter by `count` and gives the first of the new numbers. The first statement of every transaction
/// that writes to the scope.
async fn advance(conn: &mut SqliteConnection, scope: &str, count: usize) -> Result<i64, StoreError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let last: i64 = sqlx::query_scalar(
        "INSERT INTO sync_scope (scope, seq) VALUES (?1, ?2)
         ON CONFLICT (scope) DO UPDATE SET seq = seq + excluded.seq RETURNING seq",
    )
    .bind(scope)
    .bind(count)
    .fetch_one(conn)
    .await?;
    Ok(last - count + 1)
}

async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let migrator = Migrator {
        migrations: Cow::Owned(vec![Migration::new(
            1,
            "initial".into(),
            MigrationType::Simple,
            include_str!("migrations/0001_initial.sql").into(),
            false,
        )]),
        ..Migrator::DEFAULT
    };
    match migrator.run(writer).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => Err(StoreError::TooNew),
        // Two processes started on an empty folder: the other one was first, and now there is nothing left to do.
        Err(MigrateError::ExecuteMigration(..) | MigrateError::Execute(_)) => {
            migrator.run(writer).await.map_err(StoreError::Migration)
        }
        Err(error) => Err(StoreError::Migration(error)),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<(), StoreError> {
        let _: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&self.readers).await?;
        Ok(())
    }

    async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        accounts::add(self, account).await
    }

    async fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        accounts::all(self).await
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        accounts::by_name(self, name).await
    }

    async fn set_password(&self, learner: LearnerId, password_hash: &str) -> Result<(), StoreError> {
        accounts::set_password(self, learner, password_hash).await
    }

    async fn open_session(
        &self,
        caller: Caller,
        device_name: &str,
        tokens: &NewTokens,
        now: TimeMs,
    ) -> Result<(), StoreError> {
        accounts::open_session(self, caller, device_name, tokens, now).await
    }

    async fn rotate_session(
        &self,
        presented: TokenHash,
        device: DeviceId,
        tokens: &NewTokens,
        now: TimeMs,
    ) -> Result<Option<Account>, StoreError> {
        accounts::rotate_session(self, presented, device, tokens, now).await
    }

    async fn authenticate(&self, access: TokenHash, now: TimeMs) -> Result<Option<Caller>, StoreError> {
        accounts::authenticate(self, access, now).await
    }

    async fn close_session(&self, caller: Caller) -> Result<(), StoreError> {
        accounts::close_session(self, caller).await
    }

    async fn enrol(
        &self,
        learner: LearnerId,
        course_key: &str,
        role: Role,
        until: Option<TimeMs>,
        now: TimeMs,
    ) -> Result<(), StoreError> {
        enrolments::enrol(self, learner, course_key, role, until, now).await
    }

    async fn unenrol(&self, learner: LearnerId, course_key: &str, now: TimeMs) -> Result<(), StoreError> {
        enrolments::unenrol(self, learner, course_key, now).await
    }

    async fn enrolments(&self, learner: LearnerId) -> Result<Vec<Enrolment>, StoreError> {
        let mut tx = self.snapshot().await?;
        enrolments::current(&mut tx, learner).await
    }

    async fn courses(&self, learner: LearnerId) -> Result<Vec<Course>, StoreError> {
        content::courses(self, learner).await
    }

    async fn units(&self, learner: LearnerId, scope: UnitScope) -> Result<Vec<Unit>, StoreError> {
        content::units(self, learner, scope).await
    }

    async fn unit(&self, learner: LearnerId, unit: UnitId) -> Result<Result<Unit, Denial>, StoreError> {
        content::unit(self, learner, unit).await
    }

    async fn units_page(
        &self,
        learner: LearnerId,
        since: &Since,
        limit: u32,
        include_deleted: bool,
        now: TimeMs,
    ) -> Result<UnitsPage, StoreError> {
        units_page::read(self, learner, since, limit, include_deleted, now).await
    }

    async fn renditions(
        &self,
        learner: LearnerId,
        wanted: &[UrlWanted],
        now: TimeMs,
    ) -> Result<Vec<GrantedRendition>, StoreError> {
        downloads::renditions(self, learner, wanted, now).await
    }

    async fn authorize_download(
        &self,
        learner: LearnerId,
        wanted: DownloadWanted,
        quality: Quality,
        default_quota: Option<u64>,
        now: TimeMs,
    ) -> Result<Result<GrantedDownload, Denial>, StoreError> {
        downloads::authorize(self, learner, wanted, quality, default_quota, now).await
    }

    async fn blob(&self, hash: BlobHash) -> Result<Option<Blob>, StoreError> {
        content::blob(self, hash).await
    }

    async fn manifest(&self, hash: BlobHash) -> Result<Option<Manifest>, StoreError> {
        let mut tx = self.snapshot().await?;
        Ok(content::manifest(&mut tx, hash).await?.map(|(manifest, _)| manifest))
    }

    async fn may_read_blob(&self, learner: LearnerId, hash: BlobHash, now: TimeMs) -> Result<bool, StoreError> {
        downloads::may_read_blob(self, learner, hash, now).await
    }

    async fn apply_push(&self, caller: Caller, ops: &[IncomingOp], now: TimeMs) -> Result<Vec<PushResult>, StoreError> {
        push::apply(self, caller, ops, now).await
    }

    async fn pull_page(
        &self,
        learner: LearnerId,
        cursor: Option<&str>,
        limit: u32,
        now: TimeMs,
    ) -> Result<PullPage, StoreError> {
        pull::read(self, learner, cursor, limit, now).await
    }

    async fn known_ids(&self, course_key: &str) -> Result<KnownIds, StoreError> {
        let mut tx = self.snapshot().await?;
        publish::known_ids(&mut tx, course_key).await
    }

    async fn publish(&self, built: BuiltCourse, now: TimeMs) -> Result<Published, StoreError> {
        publish::publish(self, built, now).await
    }

    async fn withdraw(&self, course_key: &str, now: TimeMs) -> Result<CourseId, StoreError> {
        tombstones::withdraw(self, course_key, now).await
    }

    async fn prune(&self, now: TimeMs) -> Result<(), StoreError> {
        accounts::prune(self, now).await?;
        tombstones::prune(self, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full can't be had in a test; a database that must not grow is as good as one.
    #[tokio::test]
    async fn a_full_disk_refuses_one_transaction_and_not_all_that_follow() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("service.db")).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *tx).await.unwrap();
        sqlx::query(&format!("PRAGMA max_page_count = {pages}")).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.begin().await.unwrap();
        let large = "INSERT INTO service_state (key, value) VALUES ('large', hex(zeroblob(4000000)))";
        let full = sqlx::query(large).execute(&mut *tx).await.unwrap_err();
        assert!(full.to_string().contains("full"), "{full}");
        drop(tx);

        let mut tx = store.begin().await.unwrap();
        assert_eq!(advance(&mut tx, "content", 1).await.unwrap(), 1);
        tx.commit().await.unwrap();
    }
}
