//! What can go wrong with the store.

/// Why the store can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The database was written by a newer service.
    #[error("the database was written by a newer version of this service")]
    TooNew,
    /// The tables could not be made.
    #[error("the tables could not be made: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// A row isn't what the service writes.
    #[error("a row of {0} is damaged")]
    Damaged(&'static str),
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
