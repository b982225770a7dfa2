//! One request for a range, redirects followed by hand, failures put into words.

use std::{error::Error, io};

use bytes::{Buf as _, Bytes};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, LOCATION, RANGE},
};
use url::Url;

use super::{HttpClient, Line};
use crate::{Source, rules::patience::Setback};

const REDIRECTS: usize = 5;
/// How much of an error body is read to classify it.
const ERROR_BODY_BYTES: usize = 16 << 10;

/// Asks a source for the bytes from `start` up to but without `end`.
pub(crate) async fn ask(
    client: &HttpClient,
    _line: &mut Line,
    source: &Source,
    start: u64,
    end: u64,
) -> Result<Response, Setback> {
    let mut url = source.url.clone();
    let mut extra = Some(&source.headers);
    for _ in 0..=REDIRECTS {
        let mut request = client.0.get(url.clone()).headers(extra.cloned().unwrap_or_else(HeaderMap::new));
        request = request.header(RANGE, format!("bytes={start}-{}", end.saturating_sub(1)));
        request = request.header(ACCEPT, HeaderValue::from_static("*/*"));
        request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = request.send().await.map_err(|error| failure(&error))?;
        if !is_redirect(response.status()) {
            return Ok(Response { inner: response, rest: Bytes::new() });
        }
        let next = target(&url, response.headers()).ok_or(Setback::ForbiddenRedirect)?;
        if next.origin() != url.origin() {
            // Tokens and cookies are meant for the source's own origin; a later hop back doesn't earn them again.
            extra = None;
        }
        url = next;
    }
    Err(Setback::TooManyRedirects)
}

/// The head of a response, and its body to be read.
#[derive(Debug)]
pub(crate) struct Response {
    inner: reqwest::Response,
    /// What has arrived and was not asked for yet.
    rest: Bytes,
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Appends at most `most` bytes of the body to `into`, within its capacity; 0 at the end of the body. Cancel-safe.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Setback> {
        while self.rest.is_empty() {
            match self.inner.chunk().await {
                Ok(Some(chunk)) => self.rest = chunk,
                Ok(None) => return Ok(0),
                Err(error) => return Err(failure(&error)),
            }
        }
        let bytes = most.min(self.rest.len()).min(into.capacity() - into.len());
        into.extend_from_slice(self.rest.get(..bytes).unwrap_or_default());
        self.rest.advance(bytes);
        Ok(bytes)
    }
}

/// The beginning of an error's body.
pub(crate) async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::with_capacity(ERROR_BODY_BYTES);
    while let Ok(1..) = response.read(&mut body, ERROR_BODY_BYTES).await {}
    body
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if it may be followed.
fn target(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let mut next = from.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    // A name and password in an address would become an Authorization header.
    let credentials = !next.username().is_empty() || next.password().is_some();
    let scheme = matches!((from.scheme(), next.scheme()), (_, "https") | ("http", "http"));
    next.set_fragment(None);
    (scheme && !credentials && next.has_host()).then_some(next)
}

/// What a failure of the client means.
fn failure(error: &reqwest::Error) -> Setback {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(inner) = cause {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Setback::Tls(tls.to_string());
        }
        deepest = inner.to_string();
        // io::Error hides what it wraps from `source()`, and one may wrap another.
        let wrapped = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| inner.source());
    }
    if error.is_body() || error.is_decode() { Setback::Cut } else { Setback::Unreachable(deepest) }
}
