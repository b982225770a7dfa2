//! The bytes of blobs, in ranges, for whoever has a signed address.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use carrel_model::{BlobHash, ErrorCode, wire::problem::Problem};
use http_range_header::{EndPosition, StartPosition, SyntacticallyCorrectRange, parse_range_header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    App,
    extract::{Path, Query, SignedInAs},
    failure::Failure,
};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Signature {
    /// Until when the address holds, in seconds since 1970.
    exp: Option<i64>,
    /// The signature.
    sig: Option<String>,
}

impl Signature {
    fn check(&self, app: &App, hash: BlobHash) -> Result<(), Failure> {
        let (Some(expires), Some(signature)) = (self.exp, &self.sig) else {
            return Err(Failure::of(ErrorCode::Forbidden, "a signed address is needed"));
        };
        let checked = app.signer.verify(hash, expires, signature, (app.clock)());
        checked.map_err(|error| Failure::of(ErrorCode::Forbidden, error.to_string()))
    }
}

/// The bytes of a blob; one range at a time. HEAD gives its length.
#[utoipa::path(method(get, head), path = "/blobs/{hash}", tag = "blobs", params(("hash" = BlobHash, Path), Signature),
    responses(
    (status = 200, description = "all of it", content_type = "*/*"),
    (status = 206, description = "the range", content_type = "*/*"),
    (status = 304, description = "the `ETag` is known"),
    (status = 403, body = Problem, description = "`forbidden`: the signature does not fit or has expired"),
    (status = 404, body = Problem),
    (status = 416, body = Problem, description = "the range lies outside")
))]
pub(super) async fn blob(
    State(app): State<Arc<App>>,
    method: Method,
    Path(hash): Path<BlobHash>,
    Query(signature): Query<Signature>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    signature.check(&app, hash)?;
    let blob = app.store.blob(hash).await?.ok_or_else(|| Failure::of(ErrorCode::NotFound, "no such blob"))?;
    let etag = format!("\"{hash}\"");
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let known = text(header::IF_NONE_MATCH).is_some_and(|tags| tags.trim() == "*" || tags.contains(&etag));
    let range_holds = text(header::IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    let range = if range_holds { wanted_range(text(header::RANGE), blob.size) } else { Wanted::All };
    let (status, start, end) = match range {
        _ if known => (StatusCode::NOT_MODIFIED, 0, 0),
        Wanted::All => (StatusCode::OK, 0, blob.size),
        Wanted::Part(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
        Wanted::Outside => {
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let failure = Failure::with_status(status, ErrorCode::InvalidRequest, "the range lies outside");
            let mut response = failure.into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, ascii(format!("bytes */{}", blob.size))?);
            return Ok(response);
        }
    };
    let body = if method == Method::HEAD || known {
        Body::empty()
    } else {
        Body::from_stream(app.objects.read(hash, start, end).await?)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, ascii(etag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    // Lesson HTML opened by its address must not run on the service's origin.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if !known {
        headers.insert(header::CONTENT_TYPE, ascii(blob.mime)?);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {start}-{}/{}", end.saturating_sub(1), blob.size);
        headers.insert(header::CONTENT_RANGE, ascii(text)?);
    }
    Ok(response)
}

fn ascii(text: String) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(text).map_err(|_| Failure::of(ErrorCode::Internal, "a header can't be written"))
}

#[derive(Debug, PartialEq)]
enum Wanted {
    All,
    Part(u64, u64),
    Outside,
}

/// RFC 9110, 14.2: what can't be read as a range is ignored, and so may be a list of several.
fn wanted_range(header: Option<&str>, size: u64) -> Wanted {
    // "The last none" is well formed and can't be satisfied; the library takes it for a mistake.
    let last = header.and_then(|text| text.trim().strip_prefix("bytes=-"));
    if last.is_some_and(|count| !count.is_empty() && count.bytes().all(|digit| digit == b'0')) {
        return Wanted::Outside;
    }
    let Some(parsed) = header.and_then(|text| parse_range_header(text).ok()) else { return Wanted::All };
    let [SyntacticallyCorrectRange { start, end, .. }] = parsed.ranges.as_slice() else { return Wanted::All };
    let start = match start {
        StartPosition::Index(index) => *index,
        StartPosition::FromLast(count) => size.saturating_sub(*count),
    };
    let end = match end {
        EndPosition::Index(last) => last.saturating_add(1).min(size),
        EndPosition::LastByte => size,
    };
    match (start < size, start < end) {
        (false, _) => Wanted::Outside,
        (true, false) => Wanted::All,
        (true, true) => Wanted::Part(start, end),
    }
}

/// The pieces of a blob: 32 bytes each. For whoever has a signed address, or is signed in and may have the blob.
#[utoipa::path(get, path = "/blobs/{hash}/pieces", tag = "blobs", params(("hash" = BlobHash, Path), Signature),
    security((), ("bearer" = [])), responses(
    (status = 200, description = "32 bytes for each piece", content_type = "application/octet-stream"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem)
))]
pub(super) async fn pieces(
    State(app): State<Arc<App>>,
    Path(hash): Path<BlobHash>,
    Query(signature): Query<Signature>,
    caller: Result<SignedInAs, Failure>,
) -> Result<Response, Failure> {
    let not_found = || Failure::of(ErrorCode::NotFound, "no such blob");
    if signature.sig.is_some() {
        signature.check(&app, hash)?;
    } else {
        let SignedInAs(caller) = caller?;
        if !app.store.may_read_blob(caller.learner, hash, (app.clock)()).await? {
            return Err(not_found());
        }
    }
    let manifest = app.store.manifest(hash).await?.ok_or_else(not_found)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, manifest.to_binary()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases = [
            (None, Wanted::All),
            (Some("bytes=0-0"), Wanted::Part(0, 1)),
            (Some("bytes=5-"), Wanted::Part(5, 10)),
            (Some("bytes=5-99"), Wanted::Part(5, 10)),
            (Some("bytes=-3"), Wanted::Part(7, 10)),
            (Some("bytes=-99"), Wanted::Part(0, 10)),
            (Some("bytes=10-"), Wanted::Outside),
            (Some("bytes=-0"), Wanted::Outside),
            (Some("bytes=18446744073709551615-"), Wanted::Outside),
            (Some("bytes=7-3"), Wanted::All),
            (Some("bytes=0-1,3-4"), Wanted::All),
            (Some("lines=1-2"), Wanted::All),
            (Some("bytes=x"), Wanted::All),
        ];
        for (header, wanted) in cases {
            assert_eq!(wanted_range(header, 10), wanted, "{header:?}");
        }
        assert_eq!(wanted_range(Some("bytes=0-"), 0), Wanted::Outside, "an empty blob has no first byte");
    }
}
