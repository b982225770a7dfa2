//! The store over an SQL database, written once.
//!
//! Every use case is plain SQL in the dialect that SQLite and PostgreSQL share, so that there is one place where each rule of
//! storing lives, and the two stores can't drift apart. What differs – opening, beginning a transaction, handing over a set
//! of values, inserting many rows in one statement – is behind [`Database`] and [`Transaction`]; where a statement itself
//! must differ, both spellings stand beside each other.
//!
//! Writing transactions of PostgreSQL can fail through no fault of theirs (a deadlock, a row somebody else was faster
//! with). They are tried again from their beginning: a use case reads everything it decides on within its transaction.

mod accounts;
mod content;
mod downloads;
mod enrolments;
mod epochs;
mod insert;
mod learning;
mod publish;
mod pull;
mod push;
mod recall;
mod record_sums;
mod retention;
mod row;
mod scopes;
mod store;
mod tombstones;
mod units_page;
mod value;

/// The statements on hot paths, by what they are for; their plans are tested for each database.
#[cfg(test)]
pub(super) mod hot {
    pub(in crate::store) use super::accounts::AUTHENTICATE;
    pub(in crate::store) use super::content::VISIBLE;
    pub(in crate::store) use super::epochs::BY_NAME as EPOCH_BY_NAME;
    pub(in crate::store) use super::pull::{
        ANSWERS as PAGE_OF_ANSWERS, BOOKMARKS as PAGE_OF_BOOKMARKS, PROGRESS as PAGE_OF_PROGRESS,
        SESSIONS as PAGE_OF_SESSIONS, TOMBSTONES as PAGE_OF_TOMBSTONES,
    };
    pub(in crate::store) use super::recall::{
        ANSWERS_IN, BOOKMARKS, DOWNLOADS, LESSONS, LOGGED, PERIODS, PROGRESS, QUIZZES, SESSIONS, UNITS,
    };
    pub(in crate::store) use super::record_sums::{ANSWERS_THERE, KEPT as SUMS_KEPT};
    pub(in crate::store) use super::scopes::COUNTERS;
    pub(in crate::store) use super::units_page::{CHANGED, THERE};
}

use async_trait::async_trait;

use super::StoreError;

pub(super) use epochs::begin as begin_epoch;
pub(crate) use insert::{Insert, Kind};
pub(crate) use row::Row;
pub(in crate::store) use store::SqlStore;
pub(crate) use value::Value;
pub(crate) use value::values;

/// Which of the two SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A statement that can't be spelled the same way for both.
pub(crate) struct Spelled {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl Spelled {
    pub(super) const fn for_dialect(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// A database that use cases run on.
#[async_trait]
pub(crate) trait Database: Send + Sync + 'static {
    /// A transaction that writes.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;
    /// A transaction that sees one state of everything for as long as it lasts, and doesn't write.
    async fn snapshot(&self) -> Result<Box<dyn Transaction>, StoreError>;
    /// The rows of one statement by itself, as of now.
    async fn read(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError>;
    /// Closes every connection.
    async fn close(&self);
}

/// What can be done within a transaction. Dropped without [`Transaction::commit`] it never was.
#[async_trait]
pub(crate) trait Transaction: Send {
    /// Which SQL it speaks.
    fn dialect(&self) -> Dialect;
    /// The rows a statement gives.
    async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError>;
    /// How many rows a statement changed.
    async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError>;
    /// Inserts many rows in as few statements as the database allows. How many were inserted or changed.
    async fn insert(&mut self, into: &'static Insert, rows: Vec<Vec<Value>>) -> Result<u64, StoreError>;
    /// Makes what was done last.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

impl dyn Transaction + '_ {
    /// The first row of a statement that gives at most one.
    async fn row(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The rows of a statement with two spellings.
    async fn rows_of(&mut self, sql: &Spelled, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = sql.for_dialect(self.dialect());
        self.rows(sql, values).await
    }
}
