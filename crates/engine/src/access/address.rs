//! The address of a service, as typed by a person.

use std::net::IpAddr;

use url::{Host, Url};

use crate::EngineError;

/// Reads an address: `https` everywhere, `http` only to this machine (protocol.md). `https://` may be left out. The result
/// ends with a slash, so that paths can be joined to it.
pub(crate) fn service_address(typed: &str) -> Result<Url, EngineError> {
    const INVALID: EngineError = EngineError::Invalid("service_url is not an address of a service");
    let typed = typed.trim();
    let with_scheme = if typed.contains("://") { typed.to_owned() } else { format!("https://{typed}") };
    let mut url = Url::parse(&with_scheme).map_err(|_| INVALID)?;
    let has_extras = url.query().is_some() || url.fragment().is_some();
    if has_extras || !url.username().is_empty() || url.password().is_some() {
        return Err(INVALID);
    }
    let loopback = match url.host() {
        None => return Err(INVALID),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(EngineError::Invalid("service_url must begin with https://")),
        _ => return Err(INVALID),
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// As shown and kept: without the slash at the end.
pub(crate) fn as_shown(address: &Url) -> String {
    address.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (typed, kept) in [
            ("https://learn.example", "https://learn.example/"),
            (" learn.example ", "https://learn.example/"),
            ("https://example.org/carrel", "https://example.org/carrel/"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("http://localhost:8080/", "http://localhost:8080/"),
            ("http://[::1]:1", "http://[::1]:1/"),
        ] {
            assert_eq!(service_address(typed).unwrap().as_str(), kept, "{typed:?}");
        }
        for typed in [
            "",
            "http://learn.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "file:///etc",
            "https://a:b@c",
            "https://a?b",
            "::",
        ] {
            assert!(service_address(typed).is_err(), "{typed:?}");
        }
    }
}
