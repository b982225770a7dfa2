//! How a request can fail, in the words of protocol.md ("Outbox: what counts as a failure").

use carrel_model::ErrorCode;

use crate::EngineError;

/// Why there is no answer to a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The system says there is no network; nothing was sent.
    #[error("there is no network")]
    Offline,
    /// No connection, no name, no TLS, no answer in time, or a body that was cut.
    #[error("the service can't be reached: {0}")]
    Unreachable(String),
    /// An answer, but not one of ours: a captive portal, another program.
    #[error("not a Carrel service: {0}")]
    NotAService(String),
    /// The service refused.
    #[error("the service answered {status} {code}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The word.
        code: ErrorCode,
        /// For the log.
        detail: String,
        /// When trying again makes sense.
        retry_after_ms: Option<u64>,
    },
    /// The service has other contents under some keys of a batch: this device was restored or cloned.
    #[error("other contents came under this device's numbers before")]
    SeqRegressed {
        /// The numbers of the batch's ops that it has already.
        known: Vec<u64>,
        /// The numbers under which it has something else; none if it doesn't say.
        conflicting: Option<Vec<u64>>,
    },
    /// The session has ended.
    #[error("signed out by the service")]
    SignInNeeded,
    /// It failed on this device.
    #[error(transparent)]
    Here(#[from] EngineError),
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::Here(error.into())
    }
}

impl ApiError {
    /// The word a front end chooses its sentence by.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Offline => ErrorCode::Offline,
            Self::Unreachable(_) => ErrorCode::ServiceUnreachable,
            Self::NotAService(_) => ErrorCode::NotAService,
            Self::Refused { code, .. } => *code,
            Self::SeqRegressed { .. } => ErrorCode::DeviceSeqRegressed,
            Self::SignInNeeded => ErrorCode::SignInNeeded,
            Self::Here(error) => error.code(),
        }
    }
}

impl From<ApiError> for EngineError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Here(error) => error,
            ApiError::Offline | ApiError::SignInNeeded | ApiError::SeqRegressed { .. } => Self::Refused(error.code()),
            ApiError::Refused { code, detail, retry_after_ms, .. } => Self::Service { code, detail, retry_after_ms },
            ApiError::Unreachable(ref detail) | ApiError::NotAService(ref detail) => {
                Self::Service { code: error.code(), detail: detail.clone(), retry_after_ms: None }
            }
        }
    }
}
