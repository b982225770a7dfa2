//! The HTTP client for everything but transfers, which bring their own.

use std::time::Duration;

/// A client as the engine needs it: ring for TLS, bounded waits, and no redirects – a redirect in answer to an API request
/// is a captive portal, and has to be seen as one.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    // Fails when another provider is installed already, and any will do.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .user_agent(concat!("carrel/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(20))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .gzip(true)
        .tcp_nodelay(true)
        .build()
}
