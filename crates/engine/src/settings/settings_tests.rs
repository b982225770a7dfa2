use carrel_transfer::Proxy;

use super::*;
use crate::settings::line::LineChoices;

#[test]
fn choices_of_an_older_version_are_read_and_the_rest_has_its_default() {
    let old = r#"{"default_quality":"high","concurrency":2,"notifications":false,"language":"ar","theme":"dark","text_percent":115}"#;
    let read: Settings = serde_json::from_str(old).unwrap();
    assert_eq!((read.concurrency, read.language.as_deref(), read.text_percent), (2, Some("ar"), 115));
    let rest = Settings::default();
    assert_eq!((read.wifi_only, read.hours, read.charging_only), (true, None, false), "Wi-Fi only is the default (D8)");
    assert_eq!((read.proxy, read.rate_bytes_per_second), (rest.proxy, rest.rate_bytes_per_second));
}

#[test]
fn what_is_no_proxy_or_no_rate_is_refused_with_its_own_word() {
    let choose = |url: &str| {
        LineChoices::of(&Settings { proxy: ProxyChoice::Url { url: url.to_owned() }, ..Settings::default() }).check()
    };
    for right in ["http://proxy.school:3128", " https://10.0.0.1/ ", "socks5://[::1]:1080", "socks5h://tor:9050"] {
        assert_eq!(choose(right), Ok(()), "{right}");
        let Ok(url) = right.trim().parse() else { panic!() };
        let mut options = carrel_transfer::HttpOptions::default();
        options.proxy = Proxy::Url(url);
        assert!(carrel_transfer::HttpClient::new(&options).is_ok(), "and transfers can use it: {right}");
    }
    for wrong in ["", "proxy:3128", "ftp://x", "http://", "http://x/path", "http://x?q", "http://x#f", "file:///x"] {
        assert_eq!(choose(wrong), Err(SettingRefusal::Proxy), "{wrong}");
    }
    for secret in ["http://me@x", "http://me:secret@x", "http://:secret@x"] {
        assert_eq!(choose(secret), Err(SettingRefusal::ProxyPassword), "{secret}");
    }
    let rate = |rate| LineChoices::of(&Settings { rate_bytes_per_second: Some(rate), ..Settings::default() }).check();
    assert_eq!([0, 16_383].map(rate), [Err(SettingRefusal::Rate); 2]);
    assert_eq!([16_384, u64::MAX].map(rate), [Ok(()); 2]);
}
