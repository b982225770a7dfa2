//! What can go wrong, as one enum inside and one closed code outside.

use std::path::PathBuf;

use carrel_model::ErrorCode;
use serde_json::{Value, json};

use crate::{blobs::MoveRefusal, library::DiskFault, settings::SettingRefusal};

/// Why the engine could not be opened. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has this store open.
    #[error("another Carrel has {0} open")]
    StoreInUse(PathBuf),
    /// The folder can't be made, read or written.
    #[error("{path} can't be used: {source}")]
    StorageUnavailable {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database was written by a newer Carrel; it is left as it is.
    #[error("the database has version {found}, this app knows up to {known}")]
    DatabaseTooNew {
        /// Its version.
        found: i64,
        /// The newest this app knows.
        known: i64,
    },
    /// The disk is full: not even an empty database can be made.
    #[error("no space left at {0}")]
    StorageFull(PathBuf),
    /// Anything else SQLite said.
    #[error("the database can't be opened: {0}")]
    Database(#[from] sqlx::Error),
}

impl OpenError {
    /// The word a front end chooses its sentence by.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::StoreInUse(_) => ErrorCode::StoreInUse,
            Self::StorageUnavailable { .. } => ErrorCode::StorageUnavailable,
            Self::DatabaseTooNew { .. } => ErrorCode::DatabaseTooNew,
            Self::StorageFull(_) => ErrorCode::StorageFull,
            Self::Database(_) => ErrorCode::Internal,
        }
    }
}

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A plain refusal with a code of its own, when there is no more to say.
    #[error("{0}")]
    Refused(ErrorCode),
    /// A request that makes no sense.
    #[error("invalid request: {0}")]
    Invalid(&'static str),
    /// A choice that can't be kept.
    #[error("{0}")]
    Setting(#[from] SettingRefusal),
    /// The thing asked for is not here.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Too little space; the numbers in bytes.
    #[error("{needed} bytes are needed, {available} can be used")]
    StorageFull {
        /// Net bytes needed.
        needed: u64,
        /// Bytes that can be used above the floor.
        available: u64,
    },
    /// The service's quota of this learner.
    #[error("the quota of {limit} bytes is used up")]
    QuotaExceeded {
        /// Bytes in use.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The service or the network refused; `retry_after_ms` where it said so.
    #[error("the service answered {code}: {detail}")]
    Service {
        /// The word.
        code: ErrorCode,
        /// For the log.
        detail: String,
        /// When trying again makes sense.
        retry_after_ms: Option<u64>,
    },
    /// The store can't be moved to the folder that was chosen.
    #[error("the store can't be moved: {0}")]
    CanNotMove(MoveRefusal),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Getting a file failed.
    #[error("transfer: {0}")]
    Transfer(String),
    /// SQLite failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row or a message that this app wrote can't be read back.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

impl From<serde_json::Error> for EngineError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl EngineError {
    /// The word a front end chooses its sentence by.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(code) | Self::Service { code, .. } => *code,
            Self::CanNotMove(MoveRefusal::AnotherStore) => ErrorCode::StoreInUse,
            Self::CanNotMove(MoveRefusal::NotNow) => ErrorCode::WrongState,
            Self::CanNotMove(_) | Self::Invalid(_) | Self::Setting(_) => ErrorCode::InvalidRequest,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::StorageFull { .. } => ErrorCode::StorageFull,
            Self::QuotaExceeded { .. } => ErrorCode::QuotaExceeded,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => ErrorCode::StorageFull,
            Self::Io { .. } => ErrorCode::StorageUnavailable,
            Self::Database(error) => match DiskFault::of(error) {
                Some(DiskFault::Full) => ErrorCode::StorageFull,
                Some(DiskFault::Unavailable) => ErrorCode::StorageUnavailable,
                Some(DiskFault::Damaged) | None => ErrorCode::Internal,
            },
            Self::Transfer(_) | Self::Unreadable(_) => ErrorCode::Internal,
        }
    }

    /// Whether the same request may succeed later without anybody changing it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.code(),
            ErrorCode::Offline
                | ErrorCode::ServiceUnreachable
                | ErrorCode::ServiceFailed
                | ErrorCode::NotAService
                | ErrorCode::RateLimited
                | ErrorCode::StorageFull
        )
    }

    /// Numbers a front end can use in its sentence.
    #[must_use]
    pub fn details(&self) -> Value {
        match self {
            Self::StorageFull { needed, available } => json!({ "needed_bytes": needed, "available_bytes": available }),
            Self::QuotaExceeded { used, limit } => json!({ "used_bytes": used, "limit_bytes": limit }),
            Self::Service { retry_after_ms: Some(ms), .. } => json!({ "retry_after_ms": ms }),
            Self::CanNotMove(refusal) => json!({ "reason": refusal.to_string() }),
            Self::Setting(refusal) => json!({ "setting": refusal.field() }),
            Self::NotFound(what) => json!({ "what": what }),
            _ => Value::Null,
        }
    }
}
