//! One request for a range: redirects followed by hand, connections that were stale replaced, failures put into words.

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, LOCATION, RANGE, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};
use tokio::time::timeout;
use url::{Position, Url};

use super::{
    HttpClient,
    connection::{Line, Open, Opened},
    h1::{Ask, Silence},
    http2::Refusal,
    response::{Body, Response, error_body},
    site::{Site, basic_auth},
    tls::Offer,
};
use crate::{Source, rules::patience::Setback};

const REDIRECTS: usize = 5;
/// So long the body of a redirect is waited for: about what a new connection takes.
const REDIRECT_BODY: Duration = Duration::from_millis(250);
/// How often a request that no server has seen is sent again before it counts as an attempt that failed.
const UNSEEN: usize = 3;

/// A request for a range of a source, wherever redirects lead it.
#[derive(Debug)]
pub(crate) struct Inquiry {
    url: Url,
    headers: HeaderMap,
    redirects: usize,
}

impl Inquiry {
    pub(crate) fn new(source: &Source) -> Result<Self, Setback> {
        let (mut url, mut headers) = (source.url.clone(), source.headers.clone());
        if let Some(credentials) = basic_auth(&url) {
            // As browsers do: name and password go into a header, and nowhere else.
            headers.entry(AUTHORIZATION).or_insert(credentials);
            url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| Setback::ForbiddenRedirect)?;
        }
        Ok(Self { url, headers, redirects: 0 })
    }

    /// Waits until it may be sent over this line: for shared lines until the pool has a place.
    ///
    /// That may take as long as other blobs take, which is no stall – and whoever holds what those need must not wait here.
    pub(crate) async fn turn(&self, client: &HttpClient, line: &mut Line) -> Result<(), Setback> {
        line.turn(client, &self.site()?).await
    }

    /// Asks for the bytes from `start` up to but without `end`. Without a response it is to be asked again, most often
    /// another server: its turn comes first.
    pub(crate) async fn send(
        &mut self,
        client: &HttpClient,
        line: &mut Line,
        start: u64,
        end: u64,
    ) -> Result<Option<Response>, Setback> {
        let site = self.site()?;
        complete(&mut self.headers, client, &site, start, end);
        let response = match exchange(client, line, &site, &self.url, &self.headers).await? {
            Some(response) if is_redirect(response.status()) => response,
            other => return Ok(other),
        };
        let next = target(&self.url, response.headers()).ok_or(Setback::ForbiddenRedirect)?;
        self.redirects += 1;
        if self.redirects > REDIRECTS {
            return Err(Setback::TooManyRedirects);
        }
        if next.origin() != self.url.origin() {
            // Tokens and cookies are meant for the source's own origin; a later hop back doesn't earn them again.
            self.headers.clear();
        }
        self.url = next;
        // Read to its end, so that the connection can be used again – but nobody needs it.
        timeout(REDIRECT_BODY, error_body(response)).await.ok();
        Ok(None)
    }

    fn site(&self) -> Result<Site, Setback> {
        Site::of(&self.url).ok_or(Setback::ForbiddenRedirect)
    }
}

/// Asks a source for the bytes from `start` up to but without `end`.
#[cfg(test)]
pub(crate) async fn ask(
    client: &HttpClient,
    line: &mut Line,
    source: &Source,
    start: u64,
    end: u64,
) -> Result<Response, Setback> {
    let mut inquiry = Inquiry::new(source)?;
    loop {
        inquiry.turn(client, line).await?;
        if let Some(response) = inquiry.send(client, line, start, end).await? {
            return Ok(response);
        }
    }
}

/// Sends a request until a server has seen it. Without a response it is to be sent again, when it is its turn.
async fn exchange(
    client: &HttpClient,
    line: &mut Line,
    site: &Site,
    url: &Url,
    headers: &HeaderMap,
) -> Result<Option<Response>, Setback> {
    let home = line.home(client, site).await?;
    if home.is_of_http2() {
        home.speak_http1(client);
        return Ok(None);
    }
    let (mut fresh, mut unseen) = (false, String::new());
    for _ in 0..UNSEEN {
        let Opened { open, epoch, kept } = home.open(client, fresh).await?;
        match open {
            Open::Http1(mut connection) => {
                let base = format!("{}://{}", site.scheme(), site.authority());
                let path = &url[Position::BeforePath..Position::AfterQuery];
                match connection.ask(&Ask { base: &base, path, headers }).await {
                    Ok(head) => {
                        let body = Body::Http1 { connection: Some(connection), home, epoch };
                        return Ok(Some(Response::new(client.clone(), head, body)));
                    }
                    // The others that were kept are likely as stale.
                    Err(Silence::Closed(why)) if kept => (fresh, unseen) = (true, why),
                    Err(Silence::Closed(why)) => {
                        client.pool().make_way(site);
                        return Err(Setback::Unreachable(why));
                    }
                    Err(Silence::Setback(setback)) => return Err(setback),
                }
            }
            Open::Http2(connection) => match connection.ask(http2_request(url, headers)?).await {
                Ok((head, stream)) => {
                    home.note_streams(connection.streams_allowed());
                    return Ok(Some(Response::new(client.clone(), head, Body::Http2 { stream, _home: home })));
                }
                Err(Refusal::Unseen(why)) => unseen = why,
                Err(Refusal::NeedsHttp1) if client.offer(site) != Offer::Http2 => {
                    home.speak_http1(client);
                    return Ok(None);
                }
                Err(Refusal::NeedsHttp1) => {
                    return Err(Setback::Unreachable("the server doesn't speak HTTP/2".to_owned()));
                }
                Err(Refusal::Setback(setback)) => return Err(setback),
            },
        }
    }
    Err(Setback::Unreachable(unseen))
}

/// What the source wants sent, and what every request says. Headers about the connection are not the source's affair.
fn complete(headers: &mut HeaderMap, client: &HttpClient, site: &Site, start: u64, end: u64) {
    for name in [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove(HeaderName::from_static("keep-alive"));
    headers.remove(HeaderName::from_static("proxy-connection"));
    if let Some(host) = site.host_header() {
        headers.insert(HOST, host);
    }
    if let Ok(range) = HeaderValue::try_from(format!("bytes={start}-{}", end.saturating_sub(1))) {
        headers.insert(RANGE, range);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.entry(USER_AGENT).or_insert_with(|| client.user_agent().clone());
}

fn http2_request(url: &Url, headers: &HeaderMap) -> Result<Request<()>, Setback> {
    let address: Uri = url[..Position::AfterQuery]
        .parse()
        .map_err(|_| Setback::Unreachable("no server can be asked for this".to_owned()))?;
    let mut request = Request::new(());
    *request.uri_mut() = address;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers.clone();
    // `:authority` says it.
    request.headers_mut().remove(HOST);
    Ok(request)
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads, if it may be followed.
fn target(from: &Url, headers: &HeaderMap) -> Option<Url> {
    // Servers send addresses with letters that should have been encoded; `join` encodes them.
    let location = std::str::from_utf8(headers.get(LOCATION)?.as_bytes()).ok()?;
    let mut next = from.join(location).ok()?;
    // A name and password in an address would become an Authorization header.
    let credentials = !next.username().is_empty() || next.password().is_some();
    let scheme = matches!((from.scheme(), next.scheme()), (_, "https") | ("http", "http"));
    next.set_fragment(None);
    (scheme && !credentials && next.has_host()).then_some(next)
}
