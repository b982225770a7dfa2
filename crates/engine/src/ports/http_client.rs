//! The HTTP client for everything but transfers, which bring their own.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use carrel_transfer::Proxy;

/// The client to use now. Clones are one: when the proxy changes, all of them get the new client with their next request.
#[derive(Debug, Clone)]
pub struct Http(Arc<RwLock<reqwest::Client>>);

impl Http {
    /// For one request; not to be kept.
    #[must_use]
    pub fn client(&self) -> reqwest::Client {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes another way from now on. What is under way ends as it began; no connection of the old way is used again.
    pub fn set_proxy(&self, proxy: &Proxy) -> Result<(), reqwest::Error> {
        let client = build(proxy)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }
}

impl From<reqwest::Client> for Http {
    fn from(client: reqwest::Client) -> Self {
        Self(Arc::new(RwLock::new(client)))
    }
}

/// A client as the engine needs it: ring for TLS, bounded waits, and no redirects – a redirect in answer to an API request
/// is a captive portal, and has to be seen as one.
pub fn http_client() -> Result<Http, reqwest::Error> {
    build(&Proxy::System).map(Http::from)
}

fn build(proxy: &Proxy) -> Result<reqwest::Client, reqwest::Error> {
    // Fails when another provider is installed already, and any will do.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("carrel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .gzip(true)
        .tcp_nodelay(true);
    match proxy {
        Proxy::System => builder,
        Proxy::None => builder.no_proxy(),
        Proxy::Url(url) => builder.proxy(reqwest::Proxy::all(url.as_str())?),
    }
    .build()
}
