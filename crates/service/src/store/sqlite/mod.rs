//! The store in one SQLite file.
//!
//! WAL, one writer connection (`BEGIN IMMEDIATE`, so that a transaction waits for its turn at its first statement and never
//! fails at its last), four read-only readers, each with a thread of its own. The command line works on the same file while
//! the service runs: it is one more writer that waits for its turn.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use carrel_model::TimeMs;
use sqlx::{
    Sqlite, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    Store, StoreError, new_epoch_name,
    sql::{Database, Dialect, Insert, Row, SqlStore, Transaction, Value, begin_epoch},
};

const READERS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// Rows wait here for the async side; with sqlx's own 50 a page of 500 is ten changes of threads.
const ROW_BUFFER: usize = 512;
/// Inserts of many rows come in several lengths, each a statement of its own.
const STATEMENTS: usize = 300;
/// Rows of one `INSERT`; the longest row has 17 values and a statement may have 32,766.
const ROWS_AT_ONCE: usize = 256;

/// Opens the file, making it and its tables where they are missing.
pub async fn open(path: &Path, now: TimeMs) -> Result<impl Store, StoreError> {
    Ok(SqlStore::over(SqliteDatabase::open(path, now).await?))
}

/// One SQLite file.
pub(super) struct SqliteDatabase {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Held, shared, for as long as the file is open: whoever can have it alone begins an epoch.
    _open: File,
}

impl SqliteDatabase {
    pub(super) async fn open(path: &Path, now: TimeMs) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .statement_cache_capacity(STATEMENTS)
            .row_buffer_size(ROW_BUFFER)
            .pragma("trusted_schema", "OFF");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // After a full or failing disk SQLite has rolled back by itself and refuses the `ROLLBACK` that follows; sqlx
            // would believe in that transaction for ever, and the connection never begin another one.
            .before_acquire(|connection, _| {
                use sqlx::Connection as _;
                let stuck = connection.is_in_transaction();
                Box::pin(async move { Ok(!stuck) })
            })
            .connect_with(options.clone())
            .await?;
        migrate(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await?;
        let (open, alone) = lock(path.with_extension("lock"))?;
        let database = Self { writer, readers, _open: open };
        if alone {
            let mut tx = database.begin().await?;
            begin_epoch(tx.as_mut(), &new_epoch_name()?, now).await?;
            tx.commit().await?;
            database._open.lock_shared().map_err(StoreError::Lock)?;
        }
        Ok(database)
    }
}

/// Takes the file's lock: alone where nobody has it, else shared with those who have.
fn lock(path: PathBuf) -> Result<(File, bool), StoreError> {
    let file = File::options().create(true).write(true).truncate(false).open(path).map_err(StoreError::Lock)?;
    match file.try_lock() {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => {
            file.lock_shared().map_err(StoreError::Lock)?;
            Ok((file, false))
        }
        Err(TryLockError::Error(error)) => Err(StoreError::Lock(error)),
    }
}

async fn migrate(writer: &SqlitePool) -> Result<(), StoreError> {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
    };
    let migrator = Migrator {
        migrations: Cow::Owned(vec![
            migration(1, "initial", include_str!("migrations/0001_initial.sql")),
            migration(2, "epochs", include_str!("migrations/0002_epochs.sql")),
            migration(40, "grades", include_str!("migrations/0040_grades.sql")),
            migration(50, "record sums", include_str!("migrations/0050_record_sums.sql")),
            migration(51, "lapsed downloads", include_str!("migrations/0051_lapsed_downloads.sql")),
        ]),
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
impl Database for SqliteDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(SqliteTransaction(self.writer.begin_with("BEGIN IMMEDIATE").await?)))
    }

    async fn snapshot(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(SqliteTransaction(self.readers.begin().await?)))
    }

    async fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bound(sqlx::query(sql), values)?.fetch_all(&self.readers).await?;
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    async fn close(&self) {
        self.readers.close().await;
        // Whoever copies the file of a service that has ended copies all of it.
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer).await {
            tracing::debug!(%error, "the log was not folded into the file");
        }
        self.writer.close().await;
    }
}

struct SqliteTransaction(sqlx::Transaction<'static, Sqlite>);

#[async_trait]
impl Transaction for SqliteTransaction {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bound(sqlx::query(sql), values)?.fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(bound(sqlx::query(sql), values)?.execute(&mut *self.0).await?.rows_affected())
    }

    /// In portions of a few lengths, so that their statements are found prepared.
    async fn insert(&mut self, into: &'static Insert, rows: Vec<Vec<Value>>) -> Result<u64, StoreError> {
        let mut changed = 0;
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let portion = (1 << rows.len().ilog2()).min(ROWS_AT_ONCE);
            let sql = into.of_rows(portion);
            let values = rows.by_ref().take(portion).flatten().collect();
            changed += bound(sqlx::query(&sql), values)?.execute(&mut *self.0).await?.rows_affected();
        }
        Ok(changed)
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

type Asked<'q> = Query<'q, Sqlite, SqliteArguments<'q>>;

fn bound(mut query: Asked<'_>, values: Vec<Value>) -> Result<Asked<'_>, StoreError> {
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Free(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
            Value::Flag(value) => query.bind(value),
            Value::Texts(values) => query.bind(as_json(&values)?),
            Value::Ints(values) => query.bind(as_json(&values)?),
        };
    }
    Ok(query)
}

/// A set is handed over as JSON and unpacked by `json_each`.
fn as_json<T: serde::Serialize>(set: &[T]) -> Result<String, StoreError> {
    serde_json::to_string(set).map_err(|_| StoreError::Damaged("set"))
}

#[cfg(test)]
mod plans_tests;

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full can't be had in a test; a database that must not grow is as good as one.
    #[tokio::test]
    async fn a_full_disk_refuses_one_transaction_and_not_all_that_follow() {
        let folder = tempfile::tempdir().unwrap();
        let database = SqliteDatabase::open(&folder.path().join("service.db"), TimeMs::default()).await.unwrap();
        let mut tx = database.writer.begin().await.unwrap();
        let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *tx).await.unwrap();
        sqlx::query(&format!("PRAGMA max_page_count = {pages}")).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = database.begin().await.unwrap();
        let large = "INSERT INTO service_state (key, value) VALUES ('large', hex(zeroblob(4000000)))";
        let full = tx.execute(large, Vec::new()).await.unwrap_err();
        assert!(full.is_no_room(), "{full}");
        drop(tx);

        let mut tx = database.begin().await.unwrap();
        let small = "UPDATE service_state SET value = 'small' WHERE key = 'epoch'";
        assert_eq!(tx.execute(small, Vec::new()).await.unwrap(), 1);
        tx.commit().await.unwrap();
    }
}
