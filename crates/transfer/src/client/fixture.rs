//! What the tests of the client share: clients, and whole bodies.

use std::{fmt, time::Duration};

use carrel_testbed::http_origin::{Flaw, Identity, Origin};
use tokio::time::timeout;

use super::{Http2, HttpClient, HttpOptions, Line, Proxy, ask};
use crate::{Source, rules::patience::Setback};

/// Far more than any of it takes.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Bytes of which no two neighbourhoods are alike.
pub(super) fn content(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

pub(super) fn identity() -> std::sync::Arc<Identity> {
    rustls::crypto::ring::default_provider().install_default().ok();
    std::sync::Arc::new(Identity::new(Flaw::None).unwrap())
}

pub(super) fn options(trusted: Option<&Identity>) -> HttpOptions {
    let mut options = HttpOptions { proxy: Proxy::None, ..HttpOptions::default() };
    options.extra_roots_pem.extend(trusted.map(|identity| identity.authority_pem().as_bytes().to_vec()));
    options
}

pub(super) fn client(trusted: Option<&Identity>, http2: Http2) -> HttpClient {
    HttpClient::new(&HttpOptions { http2, ..options(trusted) }).unwrap()
}

pub(super) fn source(origin: &Origin) -> Source {
    Source::new(origin.url("/blob").parse().unwrap())
}

/// The bytes of a range.
pub(super) async fn get(
    client: &HttpClient,
    line: &mut Line,
    source: &Source,
    start: u64,
    end: u64,
) -> Result<Vec<u8>, Setback> {
    let mut response = within(ask(client, line, source, start, end)).await?;
    assert_eq!(response.status(), 206);
    let wanted = usize::try_from(end - start).unwrap();
    let mut body = Vec::with_capacity(wanted);
    while body.len() < wanted {
        if within(response.read(&mut body, 10_000)).await? == 0 {
            return Err(Setback::Cut);
        }
    }
    Ok(body)
}

/// So many ranges of this length at once, over shared connections; panics if one isn't right.
pub(super) async fn get_many(client: &HttpClient, origin: &Origin, content: &[u8], count: usize, length: usize) {
    let source = source(origin);
    let (client, source) = (&client, &source);
    let all = (0..count).map(|index| async move {
        let (start, end) = (index * 7, index * 7 + length);
        let mut line = Line::shared();
        let body = get(client, &mut line, source, start as u64, end as u64).await;
        assert!(body.unwrap() == content[start..end], "request {index}");
    });
    futures_util::future::join_all(all).await;
}

/// What comes in time.
pub(super) async fn within<T: fmt::Debug>(wanted: impl Future<Output = T>) -> T {
    timeout(LIMIT, wanted).await.unwrap()
}
