//! One request and its answer: what comes back is read as JSON of the expected shape, a problem, or not ours at all.

use std::{error::Error as _, io, time::Duration};

use carrel_model::{
    ErrorCode,
    wire::problem::{PROBLEM_JSON, Problem},
};
use http::{HeaderMap, Method, StatusCode, header};
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::{
    ApiError,
    arriving::{self, ReadAnswer, Unread},
    packing::{Packed, packed},
};
use crate::{
    network::{Network, Reached},
    ports::Http,
};

/// The longest body that is read. A page of 200 large units stays well below.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER_MS: u64 = 15 * 60 * 1_000;

/// Performs requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    http: Http,
    network: Network,
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Address of the service.
    pub(crate) base: &'a Url,
    /// Below `/api/v1/`.
    pub(crate) path: &'a str,
    pub(crate) query: &'a [(&'a str, String)],
    /// JSON.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) bearer: Option<&'a str>,
    /// For all of it.
    pub(crate) patience: Duration,
}

impl Exchange {
    pub(crate) const fn new(http: Http, network: Network) -> Self {
        Self { http, network }
    }

    /// Sends it and reads the answer. While the system says there is no network, nothing is sent (requirement O5).
    pub(crate) async fn perform<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, ApiError> {
        if self.network.is_link_down() {
            return Err(ApiError::Offline);
        }
        let base = request.base.clone();
        let answer = tokio::select! {
            answer = self.send(request) => answer,
            // A connection that died without a word would hold it until its patience is over. Nothing is lost: whoever sends
            // it again sends it with the same key.
            () = self.network.was_away() => {
                Err((Reached::SomethingElse, ApiError::Unreachable("the network went away under it".to_owned())))
            }
        };
        self.network.report(&base, reached(&answer));
        let (status, headers, body) = answer.map_err(|(_, error)| error)?;
        read(status, &headers, &body)
    }

    /// As [`perform`](Self::perform), with a list of manifests for an answer, which is read while it arrives.
    pub(crate) async fn perform_reading<T: Send + 'static>(
        &self,
        request: Request<'_>,
        how: ReadAnswer<T>,
    ) -> Result<T, ApiError> {
        if self.network.is_link_down() {
            return Err(ApiError::Offline);
        }
        let base = request.base.clone();
        let begun = tokio::select! {
            begun = self.begin(request) => begun,
            () = self.network.was_away() => {
                Err((Reached::SomethingElse, ApiError::Unreachable("the network went away under it".to_owned())))
            }
        };
        let response = match begun {
            Ok(response) if response.status().is_success() && media_type(response.headers()) == "application/json" => {
                response
            }
            other => {
                let answer = match other {
                    Ok(response) => whole(response).await,
                    Err(error) => Err(error),
                };
                self.network.report(&base, reached(&answer));
                let (status, headers, body) = answer.map_err(|(_, error)| error)?;
                read::<serde::de::IgnoredAny>(status, &headers, &body)?;
                return Err(ApiError::NotAService(format!("{status} without what was asked for")));
            }
        };
        self.network.report(&base, Reached::Service);
        let read = tokio::select! {
            read = arriving::read(response, how) => read,
            () = self.network.was_away() => {
                return Err(ApiError::Unreachable("the network went away under it".to_owned()));
            }
        };
        read.map_err(|error| match error {
            Unread::Broken(error) => ApiError::Unreachable(chain(&error)),
            Unread::Endless => ApiError::NotAService("a body without end".to_owned()),
            // The service answered, and in its own language: what can't be read then is a manifest that doesn't fit its own
            // hash, and saying "that is no service" would send the learner looking in the wrong place.
            Unread::Unexpected(error) if error.is_data() => {
                let (code, detail) = (ErrorCode::BadManifest, error.to_string());
                ApiError::Refused { status: StatusCode::OK.as_u16(), code, detail, retry_after_ms: None }
            }
            Unread::Unexpected(error) => ApiError::NotAService(format!("unexpected JSON: {error}")),
        })
    }

    /// How far a request comes; what it says doesn't matter. Reports nothing: the prober judges.
    pub(crate) async fn probe(&self, request: Request<'_>) -> Reached {
        let answer = self.send(request).await;
        let met = reached(&answer);
        match answer {
            // Anything may answer 200; the service answers with JSON.
            Ok((status, headers, body)) if met == Reached::Service && status.is_success() => {
                match read::<serde::de::IgnoredAny>(status, &headers, &body) {
                    Ok(_) => Reached::Service,
                    Err(_) => Reached::SomethingElse,
                }
            }
            _ => met,
        }
    }

    async fn send(&self, request: Request<'_>) -> Result<(StatusCode, HeaderMap, Vec<u8>), (Reached, ApiError)> {
        whole(self.begin(request).await?).await
    }

    async fn begin(&self, request: Request<'_>) -> Result<reqwest::Response, (Reached, ApiError)> {
        // Packing costs more than it saves where nothing goes over a wire.
        let is_near = match request.base.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            _ => false,
        };
        let url = request.base.join(&format!("api/v1/{}", request.path));
        let url = url.map_err(|error| (Reached::Service, ApiError::NotAService(error.to_string())))?;
        let mut builder = self
            .http
            .client()
            .request(request.method, url)
            .query(request.query)
            .header(header::ACCEPT, "application/json")
            .timeout(request.patience);
        if let Some(bearer) = request.bearer {
            builder = builder.bearer_auth(bearer);
        }
        if let Some(body) = request.body {
            let Packed { body, encoding } = packed(body);
            if let Some(encoding) = encoding {
                builder = builder.header(header::CONTENT_ENCODING, encoding);
            }
            builder = builder.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        if is_near {
            builder = builder.header(header::ACCEPT_ENCODING, "identity");
        }
        builder.send().await.map_err(unreachable)
    }
}

async fn whole(mut response: reqwest::Response) -> Result<(StatusCode, HeaderMap, Vec<u8>), (Reached, ApiError)> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err((Reached::Service, ApiError::NotAService("a body without end".to_owned())));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, body))
}

fn unreachable(error: reqwest::Error) -> (Reached, ApiError) {
    (how_far(&error), ApiError::Unreachable(chain(&error)))
}

fn media_type(headers: &HeaderMap) -> &str {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim()
}

fn read<T: DeserializeOwned>(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<T, ApiError> {
    let media_type = media_type(headers);
    if status.is_success() {
        if body.is_empty() {
            // "Done, nothing to say": for the requests that ask for nothing.
            return serde_json::from_str("null").map_err(|_| ApiError::NotAService("an empty answer".to_owned()));
        }
        if media_type != "application/json" {
            return Err(ApiError::NotAService(format!("{status} with {media_type:.60}")));
        }
        return serde_json::from_slice(body)
            .map_err(|error| ApiError::NotAService(format!("unexpected JSON: {error}")));
    }
    let retry_after_ms = retry_after(headers);
    if media_type == PROBLEM_JSON {
        // A code of a newer service is a failure of the kind its status says.
        if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
            if problem.code == ErrorCode::DeviceSeqRegressed {
                return Err(ApiError::SeqRegressed {
                    known: problem.known_seqs.unwrap_or_default(),
                    conflicting: problem.conflicting_seqs,
                });
            }
            return Err(ApiError::Refused {
                status: status.as_u16(),
                code: problem.code,
                detail: format!("{} {}", problem.title, problem.detail),
                retry_after_ms: problem.retry_after_ms.map(|ms| ms.min(MAX_RETRY_AFTER_MS)).or(retry_after_ms),
            });
        }
    }
    let code = match status.as_u16() {
        401 => ErrorCode::SignInNeeded,
        413 => ErrorCode::InvalidRequest,
        426 => ErrorCode::UpgradeRequired,
        429 => ErrorCode::RateLimited,
        408 | 425 | 500.. => ErrorCode::ServiceFailed,
        _ if media_type == PROBLEM_JSON => ErrorCode::ServiceFailed,
        _ => return Err(ApiError::NotAService(format!("{status} with {media_type:.60}"))),
    };
    Err(ApiError::Refused { status: status.as_u16(), code, detail: status.to_string(), retry_after_ms })
}

/// Seconds only: a date would be judged by a clock that may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000).min(MAX_RETRY_AFTER_MS))
}

fn reached(answer: &Result<(StatusCode, HeaderMap, Vec<u8>), (Reached, ApiError)>) -> Reached {
    match answer {
        Ok((status, headers, _)) if status.is_redirection() || is_html(headers) => Reached::SomethingElse,
        Ok((status, ..)) if matches!(status.as_u16(), 502..=504) => Reached::SomethingElse,
        Ok(_) => Reached::Service,
        Err((reached, _)) => *reached,
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// Whether there was a network at all. An unknown name or a missing route says there is none; a refusal says there is.
fn how_far(error: &reqwest::Error) -> Reached {
    let mut source = error.source();
    while let Some(cause) = source {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(
            kind,
            Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown)
        ) {
            return Reached::Nothing;
        }
        // The resolver's error has no type of its own.
        if cause.to_string().starts_with("dns error") {
            return Reached::Nothing;
        }
        source = cause.source();
    }
    Reached::SomethingElse
}

/// The error with its causes; reqwest keeps what matters in them.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
