//! The database: one file, one writer, a few readers.
//!
//! SQLite has one writer at a time whatever a pool does; a second writing connection only turns waiting into
//! `SQLITE_BUSY`. So there is exactly one, behind a queue ([`Library::write`]), and each transaction on it begins
//! `IMMEDIATE`. Readers are opened read-only (`mode=ro`, `query_only`), so no code path can write around the queue.
//! Tables belong to rooms; each room has its own migration file and its SQL beside its functions.
//!
//! A lock file keeps a second process out: two of them would each believe to be the only writer of `partial/`.

mod disk_fault;
mod lock;
mod open;
mod pragmas;
mod salvage;
mod write_back;

use std::path::Path;

use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::{OpenError, OpenNotice, ports::Clock};
pub(crate) use disk_fault::DiskFault;
use lock::StoreLock;
use write_back::WriteBack;

/// Name of the database within the data folder.
pub const DATABASE_FILE: &str = "carrel.db";

/// A transaction on the one writing connection.
pub type WriteTx = Transaction<'static, Sqlite>;

/// The open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Library {
    writer: SqlitePool,
    readers: SqlitePool,
    write_back: WriteBack,
    lock: StoreLock,
}

impl Library {
    /// Opens the database of a data folder, makes it if there is none, and brings it up to date.
    ///
    /// A newer database is refused and left untouched. One that can't be read is set aside under another name; what can be
    /// read of its unsent writes is carried over, and the notice says so.
    pub async fn open(data_dir: &Path, clock: &dyn Clock) -> Result<(Self, Vec<OpenNotice>), OpenError> {
        let lock = StoreLock::take(data_dir).await?;
        let (writer, readers, notices) = open::open(data_dir, clock).await?;
        let write_back = WriteBack::new(&data_dir.join(DATABASE_FILE));
        Ok((Self { writer, readers, write_back, lock }, notices))
    }

    /// Begins a transaction on the one writing connection, waiting for its turn. Dropped without a commit it rolls back.
    pub async fn write(&self) -> Result<WriteTx, sqlx::Error> {
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        self.write_back.note_write();
        Ok(tx)
    }

    /// Writes the journal back now: after much was written, so that nothing that follows is slowed by it.
    pub(crate) async fn checkpoint(&self) {
        self.write_back.write_back().await;
    }

    /// As [`checkpoint`](Self::checkpoint), while the caller goes on.
    pub(crate) fn checkpoint_behind(&self) {
        let write_back = self.write_back.clone();
        tokio::spawn(async move { write_back.write_back().await });
    }

    /// The readers.
    #[must_use]
    pub const fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Closes all connections and lets go of the store.
    pub async fn close(&self) {
        self.readers.close().await;
        self.write_back.close().await;
        // The last connection to close would do this itself, but only if it may write; so it isn't left to their order.
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer).await {
            tracing::warn!(%error, "the journal was not written back; it stays beside the database");
        }
        self.writer.close().await;
        self.lock.release();
    }
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
