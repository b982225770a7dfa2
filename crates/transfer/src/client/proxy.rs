//! Which way a connection goes: straight, or through a proxy.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::{Proxy, site::Site};

/// The rules about proxies.
pub(super) struct Routes {
    matcher: Option<Matcher>,
    /// Whether this machine's own servers are reached through it as well.
    loopback: bool,
}

/// A way to a server.
#[derive(Debug)]
pub(super) enum Route {
    Straight,
    /// The proxy asks for us: plain HTTP.
    Forward(Intercept),
    /// The proxy passes bytes on.
    Tunnel(Intercept),
    /// The proxy passes bytes on, in the way of SOCKS 5.
    Socks(Intercept),
}

impl Routes {
    /// `None`: this isn't the address of a proxy that can be used.
    pub(super) fn new(proxy: &Proxy) -> Option<Self> {
        Some(match proxy {
            Proxy::None => Self { matcher: None, loopback: false },
            Proxy::System => Self { matcher: Some(Matcher::from_system()), loopback: false },
            Proxy::Url(url) => {
                let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") && url.has_host();
                let matcher = Matcher::builder().all(url.as_str()).build();
                known.then_some(Self { matcher: Some(matcher), loopback: true })?
            }
        })
    }

    pub(super) fn to(&self, site: &Site) -> Route {
        let Some(matcher) = self.matcher.as_ref().filter(|_| self.loopback || !site.is_loopback()) else {
            return Route::Straight;
        };
        let found = uri(site).and_then(|uri| matcher.intercept(&uri));
        match found {
            None => Route::Straight,
            Some(proxy) if proxy.uri().scheme_str().is_some_and(|scheme| scheme.starts_with("socks")) => {
                Route::Socks(proxy)
            }
            Some(proxy) if site.tls => Route::Tunnel(proxy),
            Some(proxy) => Route::Forward(proxy),
        }
    }
}

impl fmt::Debug for Routes {
    // Names and passwords of proxies don't belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("loopback", &self.loopback).finish_non_exhaustive()
    }
}

/// The site as the libraries name it: with its port, so that none has to guess it.
pub(super) fn uri(site: &Site) -> Option<Uri> {
    Uri::builder().scheme(site.scheme()).authority(site.with_port()).path_and_query("/").build().ok()
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
