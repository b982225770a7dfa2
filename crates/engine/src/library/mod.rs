//! The database: one file, one writer, a few readers.
//!
//! SQLite has one writer at a time whatever a pool does; a second writing connection only turns waiting into
//! `SQLITE_BUSY`. So there is exactly one, behind a queue ([`Library::write`]), and each transaction on it begins
//! `IMMEDIATE`. Readers are opened read-only (`mode=ro`, `query_only`), so no code path can write around the queue.
//! Tables belong to rooms; each room has its own migration file and its SQL beside its functions.

use sqlx::{Sqlite, SqlitePool, Transaction};

/// The open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Library {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Library {
    /// Begins a transaction on the one writing connection, waiting for its turn. Dropped without a commit it rolls back.
    pub async fn write(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// The readers.
    #[must_use]
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}
