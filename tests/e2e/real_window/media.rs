//! Media in the real window: they play and seek from the loopback server, and nobody else gets anything from it.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    desk::Desk,
    screens,
    window::{Window, hook},
};

#[tokio::test]
async fn captions_show_and_strangers_get_nothing() {
    let desk = Desk::new("media").await;
    let window = desk.open_signed_in().await;
    let unit = screens::open_unit_with_every_kind(&window).await;
    screens::take_along(&window, &unit, "low").await;

    screens::open_lesson(&window, &unit, "video").await;
    screens::plays(&window, "lesson-video").await;
    screens::seek(&window, "lesson-video", 20_000).await;
    let cue = "[data-testid=transcript-cue][aria-current=true]";
    window.attribute(cue, "data-start", |start| start.parse::<u64>().is_ok_and(|start| start > 0)).await;
    screens::pause(&window).await;

    let film = window.script("return document.querySelector('[data-testid=lesson-video]').currentSrc", vec![]).await;
    let film = film.as_str().unwrap().to_owned();
    refuses_strangers(&film).await;
    refuses_what_is_not_the_learners(&window, &film).await;
    assert!(!window.log().contains("panicked"), "{}", window.log());
}

async fn refuses_strangers(film: &str) {
    let Address { authority, path } = Address::of(film);
    let (host, part) = (format!("Host: {authority}"), "Range: bytes=0-99");
    let (status, body) = ask(film, "GET", &path, &[&host, part]).await;
    assert_eq!((status, body.len()), (206, 100), "the address itself works: {film}");
    assert_eq!(ask(film, "HEAD", &path, &[&host]).await, (200, vec![]));

    let parts: Vec<_> = path.split('/').collect();
    let asset = *parts.last().unwrap();
    let secret = *parts.iter().find(|part| part.len() >= 20 && **part != asset).expect("a secret in the path");
    let other = if secret.ends_with('0') { "1" } else { "0" };
    let wrong = path.replace(secret, &format!("{}{other}", &secret[..secret.len() - 1]));
    let no_one = "0190b8a0-0000-7000-8000-000000000000";
    let at = |asset_instead: &str| path.replace(asset, asset_instead);
    for (what, method, path, host) in [
        ("a wrong secret", "GET", wrong, host.as_str()),
        ("no secret", "GET", path.replace(secret, ""), &host),
        ("a foreign host", "GET", path.clone(), "Host: evil.example"),
        ("no host", "GET", path.clone(), "X-No: host"),
        ("a POST", "POST", path.clone(), &host),
        ("a DELETE", "DELETE", path.clone(), &host),
        ("a path upwards", "GET", at("../../carrel.db"), &host),
        ("an encoded path upwards", "GET", at("..%2f..%2fcarrel.db"), &host),
        ("an absolute path", "GET", at("%2fetc%2fpasswd"), &host),
        ("an asset nobody has", "GET", at(no_one), &host),
    ] {
        let (status, body) = ask(film, method, &path, &[host, part]).await;
        assert!((400..500).contains(&status), "{what} gets {status}");
        assert!(body.len() < 100, "{what} gets {} bytes", body.len());
    }
}

/// After signing out, the address that worked a moment ago is worth nothing.
async fn refuses_what_is_not_the_learners(window: &Window, film: &str) {
    window.click(&hook("nav-settings")).await;
    window.click(&hook("sign-out")).await;
    window.see(&hook("sign-out-dialog")).await;
    window.click("[data-testid=unsent-choice][value=send]").await;
    window.click(&hook("sign-out-confirm")).await;
    window.see("[data-testid=sign-in-form], [data-testid=learner-picker]").await;
    let Address { authority, path } = Address::of(film);
    let (status, _) = ask(film, "GET", &path, &[&format!("Host: {authority}")]).await;
    assert!((400..500).contains(&status), "after signing out the film gets {status}");
}

struct Address {
    authority: String,
    path: String,
}

impl Address {
    fn of(url: &str) -> Self {
        let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { authority: authority.to_owned(), path: format!("/{path}") }
    }
}

/// Sends exactly these bytes – a client library would tidy paths and headers up – and reads status and body.
async fn ask(url: &str, method: &str, path: &str, headers: &[&str]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(Address::of(url).authority).await.unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let status = String::from_utf8_lossy(&answer[..end]).split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}
