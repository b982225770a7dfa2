//! Where redirects lead, for any pair of addresses.

use http::{HeaderMap, HeaderValue, header::LOCATION};
use url::Url;

use super::target;

/// A redirect leads to a server we may ask, over nothing less safe, with nobody's name and password – or nowhere.
///
/// The story is an address, a zero byte, and a `Location`.
pub(crate) fn redirect(story: &[u8]) {
    let mut parts = story.splitn(2, |byte| *byte == 0);
    let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let from = std::str::from_utf8(from).ok().and_then(|text| Url::parse(text).ok());
    let Some(from) = from.filter(|from| matches!(from.scheme(), "http" | "https")) else { return };
    let Ok(location) = HeaderValue::from_bytes(to) else { return };
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    let Some(next) = target(&from, &headers) else { return };
    assert!(matches!(next.scheme(), "http" | "https"), "{next}");
    assert!(from.scheme() == "http" || next.scheme() == "https", "{from} led to {next}");
    assert!(next.username().is_empty() && next.password().is_none(), "{next} would send an Authorization header");
    assert!(next.has_host() && next.host_str().is_some_and(|host| !host.is_empty()), "{next}");
    assert_eq!(next.fragment(), None);
    assert_eq!(Url::parse(next.as_str()).ok(), Some(next), "it is read as it is written");
}
