//! What went wrong, as RFC 9457 problem details.

use std::any::Any;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use carrel_model::{
    ErrorCode,
    wire::problem::{PROBLEM_JSON, Problem},
};

use crate::{
    accounts::PasswordError,
    objects::ObjectError,
    rules::{Denial, Regressed},
    store::StoreError,
};

/// When to come back to a service that is busy.
const BUSY_RETRY_MS: u64 = 2_000;

/// When to come back to a service whose disk is full: somebody has to make room first.
const NO_ROOM_RETRY_MS: u64 = 30_000;

/// A request that gets a problem for an answer.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    code: ErrorCode,
    detail: String,
    retry_after_ms: Option<u64>,
    regressed: Option<Regressed>,
}

impl Failure {
    /// With the status that belongs to the code.
    pub(crate) fn of(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self::with_status(status_of(code), code, detail)
    }

    pub(crate) fn with_status(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        // What parsers say can hold parts of the input; a short part is enough to find the mistake.
        let detail: String = detail.into().chars().filter(|c| !c.is_control()).take(300).collect();
        Self { status, code, detail, retry_after_ms: None, regressed: None }
    }

    pub(crate) fn rate_limited(retry_after_ms: u64) -> Self {
        let failure = Self::of(ErrorCode::RateLimited, "too many attempts");
        Self { retry_after_ms: Some(retry_after_ms), ..failure }
    }

    fn busy() -> Self {
        let failure = Self::with_status(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ServiceFailed, "busy");
        Self { retry_after_ms: Some(BUSY_RETRY_MS), ..failure }
    }

    /// The disk is full or failing: nothing is wrong with the request, and nothing will be better at once.
    fn no_room() -> Self {
        let failure =
            Self::with_status(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::ServiceFailed, "no room on the disk");
        Self { retry_after_ms: Some(NO_ROOM_RETRY_MS), ..failure }
    }

    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::of(ErrorCode::Internal, "details are in the service's log")
    }
}

const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidRequest => StatusCode::BAD_REQUEST,
        ErrorCode::WrongCredentials | ErrorCode::SignInNeeded => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden
        | ErrorCode::NotEnrolled
        | ErrorCode::EnrolmentExpired
        | ErrorCode::PremiumRequired
        | ErrorCode::QuotaExceeded => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Gone | ErrorCode::CursorExpired => StatusCode::GONE,
        ErrorCode::DeviceSeqRegressed => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (known_seqs, conflicting_seqs) = self.regressed.map(|ops| (ops.known, ops.conflicting)).unzip();
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            retry_after_ms: self.retry_after_ms,
            known_seqs,
            conflicting_seqs,
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000)));
        }
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::MalformedCursor => Self::of(ErrorCode::InvalidRequest, error.to_string()),
            StoreError::CursorExpired => Self::of(ErrorCode::CursorExpired, error.to_string()),
            error if error.is_no_room() => {
                tracing::error!(%error, "the database has no room");
                Self::no_room()
            }
            error if error.is_unavailable() => {
                tracing::warn!(%error, "the database is busy");
                Self::busy()
            }
            StoreError::SeqRegressed(regressed) => Self {
                regressed: Some(regressed.clone()),
                ..Self::of(ErrorCode::DeviceSeqRegressed, error.to_string())
            },
            StoreError::DeviceTaken => Self::with_status(StatusCode::CONFLICT, ErrorCode::Forbidden, error.to_string()),
            _ => Self::internal(&error),
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::busy(),
            PasswordError::Length | PasswordError::Hashing(_) => Self::internal(&error),
        }
    }
}

impl From<ObjectError> for Failure {
    fn from(error: ObjectError) -> Self {
        Self::internal(&error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::of(denial.code(), denial.to_string())
    }
}

/// What middleware refuses without words (a body in an encoding nobody reads, an answer that took too long) gets a problem,
/// too.
pub(super) async fn with_words(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == PROBLEM_JSON);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let code = if status.is_server_error() { ErrorCode::ServiceFailed } else { ErrorCode::InvalidRequest };
    Failure::with_status(status, code, "").into_response()
}

/// A panic is a fault of ours: the caller learns no more than that.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Failure::internal(&text.unwrap_or("a panic without words")).into_response()
}
