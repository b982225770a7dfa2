//! What SQLite's result codes say about the disk underneath.

use std::io;

const SQLITE_READONLY: i32 = 8;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// The cause of an error that no other request would have avoided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// No room left.
    Full,
    /// The file or its folder can't be read or written.
    Unavailable,
    /// What was read is no sound database.
    Damaged,
}

impl DiskFault {
    /// Of an error; none where the disk has no part in it.
    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        if let sqlx::Error::Io(error) = error {
            let full = error.kind() == io::ErrorKind::StorageFull;
            return Some(if full { Self::Full } else { Self::Unavailable });
        }
        // Extended codes keep the primary one in the low byte.
        let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
        match code & 0xff {
            SQLITE_FULL => Some(Self::Full),
            SQLITE_READONLY | SQLITE_IOERR | SQLITE_CANTOPEN => Some(Self::Unavailable),
            SQLITE_CORRUPT | SQLITE_NOTADB => Some(Self::Damaged),
            _ => None,
        }
    }
}
