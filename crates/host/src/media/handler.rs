//! The answer to a request for media, whatever it came over.

use std::{fmt, io, ops::Range, pin::Pin, sync::Arc};

use bytes::Bytes;
use carrel_engine::model::{AssetId, BlobHash, ErrorCode, ProfileId, content::Quality};
use carrel_engine::{playback::MediaContent, ports::Http};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use tokio::sync::Semaphore;

use super::{
    MediaAddresses, file,
    range::{Wanted, wanted},
    remote,
};
use crate::{Host, HostError};

/// Where the app's own pages come from, on all platforms.
pub const APP_ORIGINS: [&str; 3] = ["tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

/// Who knows where an asset's bytes are, and whose they are.
pub trait MediaContents: Send + Sync + fmt::Debug {
    /// The bytes of an asset, for its owner only.
    fn content(
        &self,
        profile: ProfileId,
        asset: AssetId,
        quality: Option<Quality>,
    ) -> BoxFuture<'_, Result<MediaContent, HostError>>;
}

impl MediaContents for Host {
    fn content(
        &self,
        profile: ProfileId,
        asset: AssetId,
        quality: Option<Quality>,
    ) -> BoxFuture<'_, Result<MediaContent, HostError>> {
        Box::pin(async move { Ok(self.engine()?.playback().content(profile, asset, quality).await?) })
    }
}

/// The body of an answer.
pub struct MediaBody(Option<Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>>);

impl MediaBody {
    /// The bytes as they come; none for an empty body.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures_util::stream::iter(self.0).flatten()
    }

    /// All bytes at once, for transports that can't stream.
    pub async fn collect(self) -> io::Result<Vec<u8>> {
        self.into_stream()
            .try_fold(Vec::new(), |mut all, chunk| async move {
                all.extend_from_slice(&chunk);
                Ok(all)
            })
            .await
    }
}

impl fmt::Debug for MediaBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "MediaBody(..)" } else { "MediaBody(empty)" })
    }
}

/// Answers requests for media. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MediaHandler {
    contents: Arc<dyn MediaContents>,
    addresses: MediaAddresses,
    client: Http,
    hosts: Arc<[String]>,
    origins: Arc<[String]>,
    longest_part: u64,
    gate: Arc<Semaphore>,
}

impl MediaHandler {
    /// A handler for requests addressed to one of `hosts` (`127.0.0.1:4711`). Pages of the app may read the answers.
    #[must_use]
    pub fn new(
        contents: Arc<dyn MediaContents>,
        addresses: MediaAddresses,
        client: impl Into<Http>,
        hosts: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            contents,
            addresses,
            client: client.into(),
            hosts: hosts.into_iter().collect(),
            origins: APP_ORIGINS.map(str::to_owned).into(),
            longest_part: u64::MAX,
            gate: Arc::new(Semaphore::new(file::OPEN_FILES)),
        }
    }

    /// Pages from here may read the answers too.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins = self.origins.iter().cloned().chain([origin.into()]).collect();
        self
    }

    /// No part longer than this is sent in one answer: for transports that hold the whole body in memory. A player asks
    /// for the rest.
    #[must_use]
    pub fn limit_parts(mut self, bytes: u64) -> Self {
        self.longest_part = bytes;
        self
    }

    /// The answer. What is not the caller's gets nothing: an empty body, and no hint whether it exists.
    pub async fn respond(&self, request: &Parts) -> Response<MediaBody> {
        let answer = self.answer(request).await;
        self.finish(request, answer)
    }

    /// The answer with content that was found otherwise, to a request that others let pass.
    pub async fn deliver(&self, request: &Parts, content: Result<MediaContent, HostError>) -> Response<MediaBody> {
        let answer = match content {
            Ok(content) => self.part_of(request, content).await,
            Err(error) => Err(error.into()),
        };
        self.finish(request, answer)
    }

    fn finish(&self, request: &Parts, answer: Result<Response<MediaBody>, Refusal>) -> Response<MediaBody> {
        let mut answer = answer.unwrap_or_else(|refusal| {
            let mut answer = empty(refusal.status);
            if let Some(value) = refusal.code.and_then(|code| HeaderValue::from_str(code.as_str()).ok()) {
                answer.headers_mut().insert("carrel-error", value);
            }
            answer
        });
        let headers = answer.headers_mut();
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CACHE_CONTROL, "private, no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            // A page or picture opened by itself can run nothing and reach nothing.
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
            (header::VARY, "origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        self.share_with_own_pages(request, answer.headers_mut());
        answer
    }

    async fn answer(&self, request: &Parts) -> Result<Response<MediaBody>, Refusal> {
        if !self.is_for_us(request) {
            return Err(Refusal::from(StatusCode::FORBIDDEN));
        }
        // A page that fetches a part asks first whether it may send `Range`.
        let preflight = request.method == Method::OPTIONS && self.own_page(request).is_some();
        if !preflight && request.method != Method::GET && request.method != Method::HEAD {
            return Err(Refusal::from(StatusCode::METHOD_NOT_ALLOWED));
        }
        let (profile, asset, quality) = self.address(request).ok_or(StatusCode::NOT_FOUND)?;
        if preflight {
            return Ok(empty(StatusCode::NO_CONTENT));
        }
        let content = self.contents.content(profile, asset, quality).await?;
        self.part_of(request, content).await
    }

    async fn part_of(&self, request: &Parts, content: MediaContent) -> Result<Response<MediaBody>, Refusal> {
        let (hash, size, mime) = facts(&content);
        let etag = format!("\"{hash}\"");
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, content_type(mime));
        insert(&mut headers, header::ETAG, &etag);

        let (status, part) = match wanted(&request.headers, &etag, size) {
            Wanted::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
            Wanted::Unsatisfiable if request.method == Method::GET => {
                insert(&mut headers, header::CONTENT_RANGE, &format!("bytes */{size}"));
                (StatusCode::RANGE_NOT_SATISFIABLE, 0..0)
            }
            Wanted::Part(part) if request.method == Method::GET => {
                let part = part.start..part.end.min(part.start.saturating_add(self.longest_part));
                let last = part.end.saturating_sub(1);
                insert(&mut headers, header::CONTENT_RANGE, &format!("bytes {}-{last}/{size}", part.start));
                (StatusCode::PARTIAL_CONTENT, part)
            }
            // Only GET has parts.
            Wanted::Whole | Wanted::Part(_) | Wanted::Unsatisfiable => (StatusCode::OK, 0..size),
        };
        if status != StatusCode::NOT_MODIFIED {
            insert(&mut headers, header::CONTENT_LENGTH, &(part.end - part.start).to_string());
        }
        let body = if request.method == Method::HEAD || part.is_empty() {
            MediaBody(None)
        } else {
            self.open(content, part, size).await?
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    async fn open(&self, content: MediaContent, part: Range<u64>, size: u64) -> Result<MediaBody, HostError> {
        Ok(MediaBody(Some(match content {
            MediaContent::File { path, .. } => {
                let found = tokio::fs::metadata(&path).await.map(|found| found.len());
                if found.as_ref().ok() != Some(&size) {
                    tracing::warn!(?path, ?found, size, "a file is not what was downloaded");
                    return Err(HostError::new(ErrorCode::Damaged, "a file is missing or has another length"));
                }
                Box::pin(file::chunks(path, part, Arc::clone(&self.gate)))
            }
            MediaContent::Remote { url, .. } => Box::pin(remote::open(&self.client.client(), url, part, size).await?),
        })))
    }

    /// A page of another site can make a browser ask (DNS rebinding), but not with our name.
    fn is_for_us(&self, request: &Parts) -> bool {
        let named = request.headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let mut names = named.chain(request.uri.authority().map(http::uri::Authority::as_str)).peekable();
        names.peek().is_some() && names.all(|name| self.hosts.iter().any(|host| host == name))
    }

    /// `/media/<secret>/<asset>[?quality=…]`, byte for byte: nothing is decoded or normalised, so there is nothing to
    /// smuggle.
    fn address(&self, request: &Parts) -> Option<(ProfileId, AssetId, Option<Quality>)> {
        let mut segments = request.uri.path().strip_prefix("/media/")?.split('/');
        let (secret, asset) = (segments.next()?, segments.next()?);
        if segments.next().is_some() {
            return None;
        }
        let profile = self.addresses.owner(secret)?;
        let asset = asset.parse().ok()?;
        let query = url::form_urlencoded::parse(request.uri.query().unwrap_or_default().as_bytes());
        let quality = query.into_iter().find(|(name, _)| name == "quality").map(|(_, value)| value.parse());
        Some((profile, asset, quality.transpose().ok()?))
    }

    fn own_page<'a>(&self, request: &'a Parts) -> Option<&'a HeaderValue> {
        let origin = request.headers.get(header::ORIGIN)?;
        self.origins.iter().any(|own| own.as_bytes() == origin.as_bytes()).then_some(origin)
    }

    /// Captions, documents and pages are fetched by script, so the app's own pages must be let in; nobody else is.
    fn share_with_own_pages(&self, request: &Parts, headers: &mut HeaderMap) {
        let Some(origin) = self.own_page(request) else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        for (name, value) in [
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "accept-ranges, content-range, content-length, etag, carrel-error"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "range, if-range, if-none-match"),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// Why there is nothing: to a stranger only a status, to the owner also the code.
struct Refusal {
    status: StatusCode,
    code: Option<ErrorCode>,
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self { status, code: None }
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        // Somebody else's and nobody's look the same.
        if matches!(error.code, ErrorCode::NotFound | ErrorCode::Forbidden) {
            return StatusCode::NOT_FOUND.into();
        }
        tracing::info!(%error, "media refused");
        Self { status: error.status(), code: Some(error.code) }
    }
}

fn empty(status: StatusCode) -> Response<MediaBody> {
    let mut answer = Response::new(MediaBody(None));
    *answer.status_mut() = status;
    answer
}

fn facts(content: &MediaContent) -> (BlobHash, u64, &str) {
    match content {
        MediaContent::File { hash, size, mime, .. } | MediaContent::Remote { hash, size, mime, .. } => {
            (*hash, *size, mime)
        }
    }
}

fn content_type(mime: &str) -> HeaderValue {
    let text = mime.starts_with("text/") && !mime.contains("charset");
    let mime = if text { format!("{mime}; charset=utf-8") } else { mime.to_owned() };
    HeaderValue::from_str(&mime).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    // Digits and hex only: these always are header values.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
