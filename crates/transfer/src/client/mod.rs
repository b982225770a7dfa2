//! The HTTP client a fetch needs: GET with ranges, over connections that are ours to open, count, keep and drop.
//!
//! Redirects are followed by hand (`request`), bodies are never decoded behind our back, TLS is rustls with ring. A
//! large blob gets connections of its own and its bytes come straight from the socket into the piece (`h1`); small ones
//! share a pool (`pool`), over HTTP/2 where the server speaks it (`http2`). `dial` opens what either needs.
//!
//! It keeps no time beyond the opening of a connection: how long an answer or a body may be silent is the caller's
//! affair, so everything here may be dropped at any await.

mod connection;
mod dial;
#[cfg(test)]
mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod h1;
mod http2;
mod pinned;
mod pool;
mod proxy;
mod request;
mod response;
mod site;
mod tls;
mod wire;

use std::{
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(crate) use connection::Line;
use connection::{Open, Opened};
use dial::{Dialer, Dialled};
use http::HeaderValue;
use pool::Pool;
pub(crate) use request::Inquiry;
#[cfg(test)]
pub(crate) use request::ask;
pub(crate) use response::{Response, error_body};
use site::Site;
use tls::{Offer, Tls};
use url::Url;

use crate::rules::patience::Setback;

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
    /// Connections that small blobs share where there is no HTTP/2, to one host at most.
    pub connections: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            user_agent: concat!("carrel/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            extra_roots_pem: Vec::new(),
            http2: Http2::default(),
            proxy: Proxy::default(),
            connections: 8,
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
#[non_exhaustive]
pub enum ClientError {
    /// This text can't be sent as `User-Agent`.
    #[error("the user agent can't be sent in a header")]
    UserAgent,
    /// The authorities to trust aren't certificates.
    #[error("the certificates to trust can't be read: {0}")]
    Roots(#[from] rustls::pki_types::pem::Error),
    /// Not the address of a proxy, or of none that can be used.
    #[error("the proxy must be an http, https, socks5 or socks5h address")]
    Proxy,
}

/// Connections and how to open them; clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient(Arc<Inner>);

/// A client that doesn't keep itself alive.
#[derive(Debug)]
struct WeakClient(Weak<Inner>);

#[derive(Debug)]
struct Inner {
    options: HttpOptions,
    user_agent: HeaderValue,
    dialer: Dialer,
    pool: Pool,
    /// Counted up when connections are to be forgotten.
    epoch: AtomicU64,
}

impl HttpClient {
    /// Sets the client up; nothing is opened or looked up yet.
    pub fn new(options: &HttpOptions) -> Result<Self, ClientError> {
        let user_agent = HeaderValue::from_str(&options.user_agent).map_err(|_| ClientError::UserAgent)?;
        let tls = Arc::new(Tls::new(&options.extra_roots_pem)?);
        let routes = proxy::Routes::new(&options.proxy).ok_or(ClientError::Proxy)?;
        let dialer = Dialer { connect_timeout: options.connect_timeout, routes: routes.into(), tls };
        let (pool, epoch) = (Pool::default(), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { options: options.clone(), user_agent, dialer, pool, epoch })))
    }

    /// From now on connections go this way; those of the old way are not used again.
    pub fn set_proxy(&self, proxy: &Proxy) -> Result<(), ClientError> {
        let routes = proxy::Routes::new(proxy).ok_or(ClientError::Proxy)?;
        *self.0.dialer.routes.write().unwrap_or_else(PoisonError::into_inner) = routes;
        self.forget_connections();
        Ok(())
    }

    /// The network has changed, or the machine was asleep: idle connections are closed, those in use are not used again.
    pub fn forget_connections(&self) {
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        self.0.pool.forget();
    }

    fn downgrade(&self) -> WeakClient {
        WeakClient(Arc::downgrade(&self.0))
    }

    fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    fn user_agent(&self) -> &HeaderValue {
        &self.0.user_agent
    }

    fn pool(&self) -> &Pool {
        &self.0.pool
    }

    fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// What shared connections to this site offer to speak.
    fn offer(&self, site: &Site) -> Offer {
        match self.0.options.http2 {
            Http2::Never => Offer::Http1,
            Http2::Always => Offer::Http2,
            // Without TLS there is no agreeing on it.
            Http2::Auto => {
                if site.tls {
                    Offer::Either
                } else {
                    Offer::Http1
                }
            }
        }
    }

    async fn dial(&self, site: &Site, offer: Offer) -> Result<Opened, Setback> {
        let epoch = self.epoch();
        let Dialled { wire, http2, forward } = self.0.dialer.dial(site, offer).await?;
        let open = if http2 {
            Open::Http2(http2::Connection::start(wire).await?)
        } else {
            Open::Http1(h1::Connection::new(wire, forward))
        };
        Ok(Opened { open, epoch, kept: false })
    }
}

impl WeakClient {
    fn upgrade(&self) -> Option<HttpClient> {
        self.0.upgrade().map(HttpClient)
    }
}
