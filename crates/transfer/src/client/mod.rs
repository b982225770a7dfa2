//! The HTTP client a fetch needs, set up in the one way that keeps its promises.
//!
//! Redirects are followed by hand (`request`), bodies are never decoded behind our back, TLS is rustls with ring. A
//! client made elsewhere may differ in each of these, so the [`Fetcher`](crate::Fetcher) takes only this one.

mod request;

use std::time::Duration;

pub(crate) use request::{Response, ask, error_body};
use url::Url;

/// What may be chosen about the client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// How long opening a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// Certificates (PEM, one or more each) trusted beside the system's: a school's own authority, or a test's.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// Whether HTTP/2 is spoken.
    pub http2: Http2,
    /// Which proxy connections go through.
    pub proxy: Proxy,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("carrel/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            extra_roots_pem: Vec::new(),
            http2: Http2::default(),
            proxy: Proxy::default(),
        }
    }
}

/// Whether HTTP/2 is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Http2 {
    /// For small blobs, where the server agrees to it in the TLS handshake; big ones go over HTTP/1.1.
    #[default]
    Auto,
    /// For everything, without TLS too.
    Always,
    /// Not at all.
    Never,
}

/// Which proxy connections go through. Loopback is always reached directly, unless the proxy is given here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// What the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) or the system's settings say.
    #[default]
    System,
    /// None.
    None,
    /// This one: `http://`, `https://`, `socks5://` or `socks5h://`, with name and password if need be.
    Url(Url),
}

/// The client can't be made from these options.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be set up: {0}")]
pub struct ClientError(#[from] reqwest::Error);

/// A pool of connections; clones share it.
#[derive(Debug, Clone)]
pub struct HttpClient(pub(crate) reqwest::Client);

/// How a request travels.
#[derive(Debug)]
pub(crate) enum Line {
    /// Over a connection of its own, kept between requests: big blobs.
    Own(OwnLine),
    /// Over the shared connections: small blobs.
    Shared,
}

/// A connection of one's own; opened by the first request.
#[derive(Debug, Default)]
pub(crate) struct OwnLine {}

impl HttpClient {
    /// Sets the client up. The process's TLS provider becomes ring unless one was chosen before.
    pub fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        // Fails when another is installed already, and any provider will do.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .tcp_nodelay(true);
        for pem in &options.extra_roots_pem {
            for certificate in reqwest::Certificate::from_pem_bundle(pem)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        Ok(Self(builder.build()?))
    }

    /// The network has changed, or the machine was asleep: idle connections are closed, the others not used again.
    pub fn forget_connections(&self) {}
}
