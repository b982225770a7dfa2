//! Errors as a front end meets them: a code to choose words by, and facts to fill them.

use carrel_engine::model::ErrorCode;
use carrel_engine::{EngineError, OpenError};
use http::StatusCode;
use serde_json::Value;

/// What went wrong. The UI chooses its words by `code`; `message` is for "Copy details" and logs.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ts_rs::TS, thiserror::Error)]
#[error("{code}: {message}")]
pub struct HostError {
    /// The closed word.
    pub code: ErrorCode,
    /// For a log; not for a learner.
    pub message: String,
    /// Whether the same request may succeed later without anybody changing it.
    pub retryable: bool,
    /// Numbers for the sentence; its shape depends on the code.
    #[ts(type = "Record<string, unknown> | null")]
    pub details: Value,
}

impl HostError {
    /// A refusal by the host itself.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: false, details: Value::Null }
    }

    /// The HTTP status that fits.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        use ErrorCode as C;
        match self.code {
            C::InvalidRequest => StatusCode::BAD_REQUEST,
            C::SignInNeeded | C::WrongCredentials => StatusCode::UNAUTHORIZED,
            C::Forbidden
            | C::NotEnrolled
            | C::EnrolmentExpired
            | C::PremiumRequired
            | C::QuotaExceeded
            | C::DeviceRevoked => StatusCode::FORBIDDEN,
            C::NotFound => StatusCode::NOT_FOUND,
            C::WrongState | C::UnsentWrites | C::StoreInUse | C::CursorExpired | C::DeviceSeqRegressed => {
                StatusCode::CONFLICT
            }
            C::Gone | C::Expired => StatusCode::GONE,
            C::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            C::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            C::ServiceFailed | C::NotAService | C::BadManifest | C::UpgradeRequired => StatusCode::BAD_GATEWAY,
            C::Offline | C::ServiceUnreachable => StatusCode::SERVICE_UNAVAILABLE,
            C::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            C::StorageUnavailable | C::Damaged | C::DatabaseTooNew | C::DatabaseDamaged | C::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl From<EngineError> for HostError {
    fn from(error: EngineError) -> Self {
        Self {
            code: error.code(),
            retryable: error.is_retryable(),
            details: error.details(),
            message: error.to_string(),
        }
    }
}

impl From<&OpenError> for HostError {
    fn from(error: &OpenError) -> Self {
        let retryable =
            matches!(error.code(), ErrorCode::StoreInUse | ErrorCode::StorageFull | ErrorCode::StorageUnavailable);
        Self { code: error.code(), message: error.to_string(), retryable, details: Value::Null }
    }
}
