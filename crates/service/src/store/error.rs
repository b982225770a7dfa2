//! What can go wrong with the store.

use crate::rules::Regressed;

/// Why the store can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The address of the database can't be read. It is not repeated: it may hold a password.
    #[error("the address of the database can't be read; postgres://user@host/name is wanted")]
    Address,
    /// The file beside the database that says who has it open can't be used.
    #[error("the database's lock can't be used: {0}")]
    Lock(std::io::Error),
    /// The database was written by a newer service.
    #[error("the database was written by a newer version of this service")]
    TooNew,
    /// The tables could not be made.
    #[error("the tables could not be made: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// A row isn't what the service writes.
    #[error("a row of {0} is damaged")]
    Damaged(&'static str),
    /// Somebody else was faster with a row; done again, the transaction will see it.
    #[error("another transaction was faster")]
    Overtaken,
    /// There is an account of that name.
    #[error("there is an account of that name already")]
    NameTaken,
    /// There is no account of that name.
    #[error("there is no such account")]
    UnknownAccount,
    /// There is no course of that key.
    #[error("there is no course {0:?}")]
    UnknownCourse(String),
    /// The learner isn't enrolled in that course.
    #[error("not enrolled in {0:?}")]
    NotEnrolled(String),
    /// The device belongs to another learner.
    #[error("this device id belongs to another learner")]
    DeviceTaken,
    /// Another content came under a number the device had used before: it was restored or cloned.
    #[error("this device's numbers went backwards: it was restored or cloned")]
    SeqRegressed(Regressed),
    /// The cursor isn't one of this service.
    #[error("the cursor can't be read")]
    MalformedCursor,
    /// The cursor is of another incarnation of the database, or older than its tombstones.
    #[error("the cursor has expired")]
    CursorExpired,
    /// Somebody else published the same course at the same moment.
    #[error("this course was published by somebody else meanwhile; publish again")]
    PublishedMeanwhile,
}

/// What a database's own code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Another transaction got into the way.
    Conflict,
    /// Busy, ending, unreachable: later it will do.
    Unavailable,
    /// There is no room left, or the disk fails.
    NoRoom,
    /// Something else.
    Other,
}

impl StoreError {
    /// Whether the transaction, begun again, may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Overtaken) || self.cause() == Cause::Conflict
    }

    /// Whether it is the disk that has no room or fails, and not the request.
    pub(crate) fn is_no_room(&self) -> bool {
        self.cause() == Cause::NoRoom
    }

    /// Whether the database can't be had just now.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Overtaken) || matches!(self.cause(), Cause::Conflict | Cause::Unavailable)
    }

    fn cause(&self) -> Cause {
        let Self::Database(error) = self else { return Cause::Other };
        match error {
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some(code) if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() => of_sqlite(code),
                Some(code) => of_postgres(code),
                None => Cause::Other,
            },
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            // What PostgreSQL says when it goes in the middle of an answer.
            | sqlx::Error::Protocol(_) => Cause::Unavailable,
            _ => Cause::Other,
        }
    }
}

/// The primary result code is the lowest byte of an extended one.
fn of_sqlite(code: &str) -> Cause {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const IO_ERROR: u32 = 10;
    const FULL: u32 = 13;
    const CANT_OPEN: u32 = 14;
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(BUSY | LOCKED) => Cause::Unavailable,
        Ok(IO_ERROR | FULL | CANT_OPEN) => Cause::NoRoom,
        _ => Cause::Other,
    }
}

/// The first two characters are the class.
fn of_postgres(code: &str) -> Cause {
    match code {
        // serialization_failure, deadlock_detected, unique_violation, lock_not_available
        "40001" | "40P01" | "23505" | "55P03" => Cause::Conflict,
        // disk_full, io_error
        "53100" | "58030" => Cause::NoRoom,
        // query_canceled, read_only_sql_transaction (a standby)
        "57014" | "25006" => Cause::Unavailable,
        // insufficient resources, operator intervention, connection exception
        _ if ["53", "57", "08"].iter().any(|class| code.starts_with(class)) => Cause::Unavailable,
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_understood() {
        assert_eq!(of_sqlite("13"), Cause::NoRoom, "SQLITE_FULL");
        assert_eq!(of_sqlite("4874"), Cause::NoRoom, "SQLITE_IOERR_SHMSIZE, what a full disk is under WAL");
        assert_eq!(of_sqlite("517"), Cause::Unavailable, "SQLITE_BUSY_SNAPSHOT");
        assert_eq!(of_sqlite("2067"), Cause::Other, "SQLITE_CONSTRAINT_UNIQUE");
        assert_eq!(of_postgres("40P01"), Cause::Conflict, "deadlock_detected");
        assert_eq!(of_postgres("53100"), Cause::NoRoom, "disk_full");
        assert_eq!(of_postgres("57P01"), Cause::Unavailable, "admin_shutdown");
        assert_eq!(of_postgres("42601"), Cause::Other, "syntax_error");
    }
}
