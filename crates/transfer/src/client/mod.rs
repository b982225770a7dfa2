//! The HTTP client a fetch needs, set up in the one way that keeps its promises.
//!
//! Redirects are followed by hand (`request`), bodies are never decoded behind our back, TLS is rustls with ring. A
//! client made elsewhere may differ in each of these, so the [`Fetcher`](crate::Fetcher) takes only this one.

pub(crate) mod request;

use std::time::Duration;

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
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("carrel/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            extra_roots_pem: Vec::new(),
        }
    }
}

/// The client can't be made from these options.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be set up: {0}")]
pub struct ClientError(#[from] reqwest::Error);

/// A pool of connections; clones share it.
#[derive(Debug, Clone)]
pub struct HttpClient(pub(crate) reqwest::Client);

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
}
