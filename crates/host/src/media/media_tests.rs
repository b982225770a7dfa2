//! The handler and the loopback server, on real files and sockets (faults.md 49).

use std::sync::Arc;

use carrel_engine::model::AssetId;
use http::{Method, Request, StatusCode, header};

use super::{
    MediaAddresses, MediaHandler, Route,
    fixture::{Desk, Dice, client, id, text},
};

#[tokio::test]
async fn plays_whole_and_in_parts() {
    let desk = Desk::open().await;
    let (status, headers, body) = desk.ask(Method::GET, &desk.url(), &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, desk.bytes, "every byte, in order");
    assert_eq!(text(&headers, header::CONTENT_TYPE), "video/mp4");
    assert_eq!(text(&headers, header::ACCEPT_RANGES), "bytes", "or a player would not seek");
    assert_eq!(text(&headers, header::ETAG), desk.etag());
    assert_eq!(text(&headers, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert!(
        text(&headers, header::CACHE_CONTROL).contains("no-store"),
        "course content stays out of the web view's cache"
    );
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "nobody asked from a page");

    for (range, expected) in
        [("bytes=0-0", 0..1), ("bytes=1000000-1999999", 1_000_000..2_000_000), ("bytes=-7", 2_999_993..3_000_000)]
    {
        let (status, headers, body) = desk.ask(Method::GET, &desk.url(), &[(header::RANGE, range)]).await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(body, desk.bytes[expected.clone()], "{range}");
        let said = format!("bytes {}-{}/3000000", expected.start, expected.end - 1);
        assert_eq!(text(&headers, header::CONTENT_RANGE), said);
        assert_eq!(text(&headers, header::CONTENT_LENGTH), expected.len().to_string());
    }
    let (status, headers, body) = desk.ask(Method::GET, &desk.url(), &[(header::RANGE, "bytes=3000000-")]).await;
    assert_eq!((status, body.len()), (StatusCode::RANGE_NOT_SATISFIABLE, 0));
    assert_eq!(text(&headers, header::CONTENT_RANGE), "bytes */3000000");
}

#[tokio::test]
async fn head_and_conditions_send_no_bytes() {
    let desk = Desk::open().await;
    let (status, headers, body) = desk.ask(Method::HEAD, &desk.url(), &[(header::RANGE, "bytes=0-9")]).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0), "only GET has parts");
    assert_eq!(text(&headers, header::CONTENT_LENGTH), "3000000");

    let etag = desk.etag();
    let (status, headers, body) = desk.ask(Method::GET, &desk.url(), &[(header::IF_NONE_MATCH, &etag)]).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(text(&headers, header::ETAG), etag);

    let stale = [(header::RANGE, "bytes=0-9"), (header::IF_RANGE, "\"other\"")];
    let (status, _, body) = desk.ask(Method::GET, &desk.url(), &stale).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 3_000_000), "a part of other bytes is no use");
}

#[tokio::test]
async fn what_is_not_the_callers_gets_nothing() {
    let desk = Desk::open().await;
    let base = desk.addresses.base(desk.amina);
    let root = format!("http://{}", desk.authority);
    let secret = base.trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
    let mut wrong = secret.clone();
    wrong.replace_range(0..1, if secret.starts_with('0') { "1" } else { "0" });
    for url in [
        format!("{root}/media/{wrong}/{}", desk.film),
        format!("{root}/media/{}/{}", &secret[..30], desk.film),
        format!("{root}/media//{}", desk.film),
        format!("{base}{}", desk.his),
        format!("{base}{}", id(AssetId::from_parts, 9)),
        format!("{base}{}/", desk.film),
        format!("{base}{}/../{}", desk.film, desk.his),
        format!("{base}%2e%2e%2ffilm"),
        format!("{base}film"),
        format!("{}?quality=enormous", desk.url()),
        format!("{root}/"),
        format!("{root}/film"),
    ] {
        let (status, headers, body) = desk.ask(Method::GET, &url, &[]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_FOUND, 0), "{url}");
        assert!(!headers.contains_key("carrel-error"), "no hint whether it exists: {url}");
    }
    // His own secret opens it, so the refusal above was hers.
    let (status, ..) = desk.ask(Method::GET, &format!("{}{}", desk.addresses.base(desk.badr), desk.his), &[]).await;
    assert_eq!(status, StatusCode::OK);

    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let (status, headers, body) = desk.ask(method.clone(), &desk.url(), &[]).await;
        assert_eq!((status, body.len()), (StatusCode::METHOD_NOT_ALLOWED, 0), "{method}");
        assert_eq!(text(&headers, header::ALLOW), "GET, HEAD");
    }
}

#[tokio::test]
async fn paths_are_taken_byte_for_byte() {
    let desk = Desk::open().await;
    let base = desk.addresses.base(desk.amina);
    let path = base.strip_prefix(&format!("http://{}", desk.authority)).unwrap();
    let absolute = desk.path("film");
    for target in [
        format!("{path}../{}", desk.film),
        format!("{path}..%2f..%2fetc%2fpasswd"),
        format!("{path}{}", absolute.display()),
        format!("/media/../..{}", absolute.display()),
        format!("/{}", absolute.display()),
        "//etc/passwd".to_owned(),
    ] {
        let answer =
            desk.raw(&format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", desk.authority)).await;
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "no body for {target}: {answer}");
    }
}

#[tokio::test]
async fn another_name_for_this_machine_gets_nothing() {
    let desk = Desk::open().await;
    let port = desk.authority.rsplit(':').next().unwrap();
    let base = desk.addresses.base(desk.amina);
    let target = format!("{}{}", base.strip_prefix(&format!("http://{}", desk.authority)).unwrap(), desk.film);
    let mut heads = vec![format!("GET {target} HTTP/1.0\r\n\r\n")];
    for host in [
        "evil.example",
        &format!("evil.example:{port}"),
        &format!("localhost:{port}"),
        "127.0.0.1",
        &format!("127.0.0.1.evil.example:{port}"),
    ] {
        heads.push(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    }
    heads.push(format!(
        "GET http://evil.example{target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        desk.authority
    ));
    for head in heads {
        let answer = desk.raw(&head).await;
        assert!(answer.contains(" 403 "), "{head}{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
    }
    let right =
        desk.raw(&format!("HEAD {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", desk.authority)).await;
    assert!(right.starts_with("HTTP/1.1 200"), "the same with our name is answered: {right}");
}

#[tokio::test]
async fn only_the_apps_own_pages_may_read() {
    let desk = Desk::open().await;
    for origin in super::APP_ORIGINS {
        let (_, headers, _) = desk.ask(Method::GET, &desk.url(), &[(header::ORIGIN, origin)]).await;
        assert_eq!(text(&headers, header::ACCESS_CONTROL_ALLOW_ORIGIN), origin);
        let preflight = [(header::ORIGIN, origin), (header::ACCESS_CONTROL_REQUEST_METHOD, "GET")];
        let (status, headers, _) = desk.ask(Method::OPTIONS, &desk.url(), &preflight).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "a page asks before it fetches a part");
        assert!(text(&headers, header::ACCESS_CONTROL_ALLOW_HEADERS).contains("range"));
    }
    for origin in ["https://evil.example", "null", "http://localhost", "tauri://localhost.evil.example"] {
        let (_, headers, _) = desk.ask(Method::GET, &desk.url(), &[(header::ORIGIN, origin)]).await;
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
        let (status, ..) = desk.ask(Method::OPTIONS, &desk.url(), &[(header::ORIGIN, origin)]).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{origin}");
    }
}

#[tokio::test]
async fn secrets_differ_by_learner_and_by_run() {
    let desk = Desk::open().await;
    assert_ne!(desk.addresses.base(desk.amina), desk.addresses.base(desk.badr));
    assert_eq!(desk.addresses.base(desk.amina), desk.addresses.base(desk.amina), "the same within a run");
    let next_run = MediaAddresses::new(Route::SameOrigin, Arc::new(Dice));
    let secret = next_run.base(desk.amina).replace("/media/", "").replace('/', "");
    assert_eq!(secret.len(), 32, "128 bits");
    assert_eq!(desk.addresses.owner(&secret), None, "a secret of another run opens nothing");
}

#[tokio::test]
async fn a_file_that_is_gone_or_short_is_an_error_and_not_a_shorter_film() {
    let desk = Desk::open().await;
    std::fs::write(desk.path("film"), &desk.bytes[..1000]).unwrap();
    let (status, headers, body) = desk.ask(Method::GET, &desk.url(), &[]).await;
    assert_eq!((status, body.len()), (StatusCode::INTERNAL_SERVER_ERROR, 0));
    assert_eq!(headers.get("carrel-error").unwrap(), "damaged", "its owner is told why");
    std::fs::remove_file(desk.path("film")).unwrap();
    let (status, ..) = desk.ask(Method::GET, &desk.url(), &[]).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_parallel_parts_are_right() {
    let desk = Desk::open().await;
    let (url, bytes) = (desk.url(), Arc::new(desk.bytes.clone()));
    let asks = (0..1000_usize).map(|n| {
        let (http, url, bytes) = (desk.http.clone(), url.clone(), Arc::clone(&bytes));
        tokio::spawn(async move {
            let start = n * 2_900;
            let answer =
                http.get(url).header(header::RANGE, format!("bytes={start}-{}", start + 99_999)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(answer.bytes().await.unwrap(), bytes[start..start + 100_000], "part {n}");
        })
    });
    for ask in asks.collect::<Vec<_>>() {
        ask.await.unwrap();
    }
}

#[tokio::test]
async fn listeners_that_wait_hold_no_files() {
    let desk = Desk::open().await;
    let mut waiting = Vec::new();
    for _ in 0..200 {
        // Their headers have come, their bodies are read by nobody.
        waiting.push(desk.http.get(desk.url()).send().await.unwrap());
    }
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let film = desk.path("film");
    let held = open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == film)).count();
    assert!(held <= super::file::OPEN_FILES, "{held} handles for 200 paused players");
    let (status, _, body) = desk.ask(Method::GET, &desk.url(), &[]).await;
    assert_eq!((status, body.len()), (StatusCode::OK, desk.bytes.len()), "and one more still plays");
    drop(waiting);
}

#[tokio::test]
async fn text_says_its_charset() {
    let desk = Desk::open().await;
    let captions = id(AssetId::from_parts, 5);
    desk.put(desk.amina, captions, &desk.path("film"), "text/vtt");
    let (_, headers, _) = desk.ask(Method::HEAD, &format!("{}{captions}", desk.addresses.base(desk.amina)), &[]).await;
    assert_eq!(text(&headers, header::CONTENT_TYPE), "text/vtt; charset=utf-8");
}

#[tokio::test]
async fn a_transport_that_holds_bodies_in_memory_gets_short_parts() {
    let desk = Desk::open().await;
    let handler = MediaHandler::new(desk.shelf.clone(), desk.addresses.clone(), client(), ["localhost".to_owned()])
        .limit_parts(1000);
    let base =
        desk.addresses.base(desk.amina).replace(&format!("http://{}", desk.authority), "carrel-media://localhost");
    let request = Request::get(format!("{base}{}", desk.film)).header(header::RANGE, "bytes=10-").body(()).unwrap();
    let (head, body) = handler.respond(&request.into_parts().0).await.into_parts();
    assert_eq!(head.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(&head.headers, header::CONTENT_RANGE), "bytes 10-1009/3000000");
    assert_eq!(body.collect().await.unwrap(), desk.bytes[10..1010]);
}
