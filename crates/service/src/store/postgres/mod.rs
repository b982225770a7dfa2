//! The store in a PostgreSQL database, for services with several processes or more learners than one disk likes.
//!
//! Writing transactions are READ COMMITTED: their first statement takes the row of the scope's counter, and every statement
//! after it sees all that was committed under it before. Reading ones are REPEATABLE READ, so that a page and its cursor
//! are of one moment. Sets and rows are handed over as arrays, so a statement is the same text whatever their number, and
//! found prepared.
//!
//! Texts are compared byte by byte (`COLLATE "C"` on every column), as SQLite does: an order that depended on the
//! machine's language would make pages differ.

use std::borrow::Cow;
use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use carrel_model::TimeMs;
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions},
    query::Query,
};

use super::{
    Store, StoreError, new_epoch_name,
    sql::{Database, Dialect, Insert, Kind, Row, SqlStore, Transaction, Value, begin_epoch},
};

/// Each is a process on the database's side; more of them than it has processors only wait for each other.
const CONNECTIONS: u32 = 12;
/// How long one waits for a connection; then the answer is "busy".
const ACQUIRE_WITHIN: Duration = Duration::from_secs(20);
/// What of a statement's life the database may spend: it is then a fault and no load.
const SESSION_SETTINGS: [(&str, &str); 3] =
    [("statement_timeout", "30s"), ("lock_timeout", "20s"), ("idle_in_transaction_session_timeout", "60s")];
/// The advisory lock that every process holds, shared, as long as it has the database open: "Carrel" in ASCII.
const OPEN_LOCK: i64 = 0x4361_7272_656c;

/// Opens the database an address names, making its tables where they are missing.
///
/// The address is `postgres://user@host/name`; a password comes from it, from `PGPASSWORD` or from a password file.
pub async fn open(address: &str, now: TimeMs) -> Result<impl Store, StoreError> {
    Ok(SqlStore::over(PostgresDatabase::open(address, now).await?))
}

struct PostgresDatabase {
    pool: PgPool,
    /// Its session holds the lock; it does nothing else.
    open: tokio::sync::Mutex<Option<PgConnection>>,
}

impl PostgresDatabase {
    async fn open(address: &str, now: TimeMs) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(address).map_err(|_| StoreError::Address)?.options(SESSION_SETTINGS);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(ACQUIRE_WITHIN)
            .connect_with(options.clone())
            .await?;
        migrate(&pool).await?;
        let mut open =
            PgConnection::connect_with(&options.options([("idle_in_transaction_session_timeout", "0")])).await?;
        let alone: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(OPEN_LOCK).fetch_one(&mut open).await?;
        let database = Self { pool, open: tokio::sync::Mutex::new(None) };
        if alone {
            let mut tx = database.begin().await?;
            begin_epoch(tx.as_mut(), &new_epoch_name()?, now).await?;
            tx.commit().await?;
        }
        // Whoever had it alone has it shared, too, before giving the first up: there is no moment without.
        sqlx::query("SELECT pg_advisory_lock_shared($1)").bind(OPEN_LOCK).execute(&mut open).await?;
        if alone {
            sqlx::query("SELECT pg_advisory_unlock($1)").bind(OPEN_LOCK).execute(&mut open).await?;
        }
        *database.open.lock().await = Some(open);
        Ok(database)
    }
}

async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    let migration = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into(), false)
    };
    let migrator = Migrator {
        migrations: Cow::Owned(vec![
            migration(1, "initial", include_str!("migrations/0001_initial.sql")),
            migration(40, "grades", include_str!("migrations/0040_grades.sql")),
            migration(50, "record sums", include_str!("migrations/0050_record_sums.sql")),
            migration(51, "lapsed downloads", include_str!("migrations/0051_lapsed_downloads.sql")),
        ]),
        ..Migrator::DEFAULT
    };
    match migrator.run(pool).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => Err(StoreError::TooNew),
        Err(error) => Err(StoreError::Migration(error)),
    }
}

#[async_trait]
impl Database for PostgresDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        Ok(Box::new(PostgresTransaction(self.pool.begin().await?)))
    }

    async fn snapshot(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(Box::new(PostgresTransaction(self.pool.begin_with(begin).await?)))
    }

    async fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bound(sqlx::query(sql), values).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }

    async fn close(&self) {
        self.pool.close().await;
        if let Some(open) = self.open.lock().await.take()
            && let Err(error) = open.close().await
        {
            tracing::debug!(%error, "the session of the lock ended badly");
        }
    }
}

struct PostgresTransaction(sqlx::Transaction<'static, Postgres>);

#[async_trait]
impl Transaction for PostgresTransaction {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let rows = bound(sqlx::query(sql), values).fetch_all(&mut *self.0).await?;
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }

    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(bound(sqlx::query(sql), values).execute(&mut *self.0).await?.rows_affected())
    }

    async fn insert(&mut self, into: &'static Insert, rows: Vec<Vec<Value>>) -> Result<u64, StoreError> {
        let sql = into.of_arrays();
        let mut query = sqlx::query(&sql);
        for column in columns(into, rows) {
            query = match column {
                Column::Ints(values) => query.bind(values),
                Column::Texts(values) => query.bind(values),
                Column::Bytes(values) => query.bind(values),
                Column::Flags(values) => query.bind(values),
            };
        }
        Ok(query.execute(&mut *self.0).await?.rows_affected())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

type Asked<'q> = Query<'q, Postgres, PgArguments>;

fn bound(mut query: Asked<'_>, values: Vec<Value>) -> Asked<'_> {
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Free(value) => query.bind(value.into_bytes()),
            Value::Bytes(value) => query.bind(value),
            Value::Flag(value) => query.bind(value),
            Value::Texts(values) => query.bind(values),
            Value::Ints(values) => query.bind(values),
        };
    }
    query
}

/// A column of the rows to be inserted.
enum Column {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Vec<u8>>),
    Flags(Vec<bool>),
}

/// Rows turned into columns.
fn columns(into: &Insert, rows: Vec<Vec<Value>>) -> Vec<Column> {
    let mut columns: Vec<Column> = into
        .columns
        .iter()
        .map(|(_, kind)| match kind {
            Kind::Int => Column::Ints(Vec::with_capacity(rows.len())),
            Kind::Text => Column::Texts(Vec::with_capacity(rows.len())),
            Kind::Free | Kind::Bytes => Column::Bytes(Vec::with_capacity(rows.len())),
            Kind::Flag => Column::Flags(Vec::with_capacity(rows.len())),
        })
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            match (column, value) {
                (Column::Ints(column), Value::Int(value)) => column.push(value),
                (Column::Texts(column), Value::Text(value)) => column.push(value),
                (Column::Bytes(column), Value::Free(value)) => column.push(value.into_bytes()),
                (Column::Bytes(column), Value::Bytes(value)) => column.push(value),
                (Column::Flags(column), Value::Flag(value)) => column.push(value),
                // An array that is too short makes the statement fail on a column that may not be null.
                (_, value) => debug_assert!(false, "{value:?} is of another kind than its column"),
            }
        }
    }
    columns
}

#[cfg(test)]
#[path = "../../../tests/service/postgres.rs"]
mod server;

#[cfg(test)]
mod plans_tests;
