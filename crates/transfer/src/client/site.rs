//! Where a request goes: scheme, host and port of an address, which is what connections are kept by.

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use url::{Host, Url};

/// The name and password of an address, as a header.
pub(crate) fn basic_auth(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    // What decodes and encodes them for proxies does it for servers as well.
    let named = format!("http://{}:{}@host/", url.username(), url.password().unwrap_or_default());
    let proxy = Matcher::builder().all(named).build().intercept(&Uri::from_static("http://host/"))?;
    proxy.basic_auth().cloned()
}

/// The server an address names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    pub(crate) tls: bool,
    /// As in a URL: IPv6 in brackets.
    host: String,
    pub(crate) port: u16,
}

impl Site {
    /// `None` for addresses that no HTTP server can answer.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self { tls, host: url.host_str()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// The name without brackets, as resolvers and certificates want it.
    pub(crate) fn name(&self) -> &str {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.unwrap_or(&self.host)
    }

    /// Host and, unless it is the scheme's own, port.
    pub(crate) fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { self.host.clone() } else { self.with_port() }
    }

    /// Host and port.
    pub(crate) fn with_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn host_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.authority()).ok()
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Whether it is this machine itself.
    pub(crate) fn is_loopback(&self) -> bool {
        match Host::parse(&self.host) {
            Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Ok(Host::Ipv4(address)) => address.is_loopback(),
            Ok(Host::Ipv6(address)) => address.is_loopback(),
            Err(_) => false,
        }
    }
}
