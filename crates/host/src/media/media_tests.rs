//! The handler and the loopback server, on real files and sockets.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use carrel_engine::{playback::MediaContent, ports::Clock};
use carrel_model::{AssetId, BlobHash, ErrorCode, ProfileId, TimeMs, content::Quality, trusted_time::Reading};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{MediaAddresses, MediaContents, MediaHandler, MediaServer, Route};
use crate::HostError;

#[derive(Debug)]
struct Dice;

impl Clock for Dice {
    fn read(&self) -> Reading {
        Reading { wall: TimeMs::from_ms(0), monotonic_ms: 0 }
    }
    fn fill_random(&self, bytes: &mut [u8]) {
        rand::RngCore::fill_bytes(&mut rand::rng(), bytes);
    }
}

/// Whose assets are where.
#[derive(Debug, Default)]
struct Shelf(Mutex<BTreeMap<(ProfileId, AssetId), MediaContent>>);

impl MediaContents for Shelf {
    fn content(
        &self,
        profile: ProfileId,
        asset: AssetId,
        _: Option<Quality>,
    ) -> BoxFuture<'_, Result<MediaContent, HostError>> {
        let found = self.0.lock().unwrap().get(&(profile, asset)).cloned();
        let missing = || HostError::new(ErrorCode::NotFound, "no such asset");
        Box::pin(std::future::ready(found.ok_or_else(missing)))
    }
}

/// A running media server with one film of Amina's and one of Badr's.
struct Desk {
    folder: tempfile::TempDir,
    shelf: Arc<Shelf>,
    addresses: MediaAddresses,
    authority: String,
    amina: ProfileId,
    badr: ProfileId,
    film: AssetId,
    his: AssetId,
    bytes: Vec<u8>,
    http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn id<T>(make: fn(TimeMs, [u8; 10]) -> T, seed: u8) -> T {
    make(TimeMs::from_ms(1), [seed; 10])
}

fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap()
}

impl Desk {
    async fn open() -> Self {
        let server = MediaServer::start().await.unwrap();
        let authority = server.address().to_string();
        let addresses = MediaAddresses::new(Route::Loopback(server.address()), Arc::new(Dice));
        let shelf = Arc::new(Shelf::default());
        let handler = MediaHandler::new(shelf.clone(), addresses.clone(), client(), [authority.clone()]);
        let stop = CancellationToken::new();
        server.serve(handler, stop.clone());
        let (amina, badr) = (id(ProfileId::from_parts, 1), id(ProfileId::from_parts, 2));
        let (film, his) = (id(AssetId::from_parts, 3), id(AssetId::from_parts, 4));
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let desk = Self { folder, shelf, addresses, authority, amina, badr, film, his, bytes, http: client(), stop };
        desk.keep(amina, film, "film", "video/mp4");
        desk.keep(badr, his, "his", "video/mp4");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keep(&self, profile: ProfileId, asset: AssetId, name: &str, mime: &str) {
        std::fs::write(self.path(name), &self.bytes).unwrap();
        self.put(profile, asset, &self.path(name), mime);
    }

    fn put(&self, profile: ProfileId, asset: AssetId, path: &Path, mime: &str) {
        let content = MediaContent::File {
            path: path.to_owned(),
            hash: BlobHash::of(&self.bytes),
            size: self.bytes.len() as u64,
            mime: mime.to_owned(),
        };
        self.shelf.0.lock().unwrap().insert((profile, asset), content);
    }

    fn url(&self) -> String {
        format!("{}{}", self.addresses.base(self.amina), self.film)
    }

    fn etag(&self) -> String {
        format!("\"{}\"", BlobHash::of(&self.bytes))
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.headers().clone(), answer.bytes().await.unwrap().to_vec())
    }

    /// A request byte for byte, since no client sends the wrong ones.
    async fn raw(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.authority).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(&name).map_or("", |value| value.to_str().unwrap())
}

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

/// A service that answers every request with the same text, and remembers what it was asked.
async fn service(answer: impl Into<Vec<u8>>) -> (url::Url, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/blob?signature=s3cret", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(Mutex::new(String::new()));
    let (answer, heard) = (answer.into(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&head[..read]));
            stream.write_all(&answer).await.ok();
            stream.shutdown().await.ok();
        }
    });
    (url, asked)
}

fn http_answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

async fn remote(answer: Vec<u8>) -> (Desk, Arc<Mutex<String>>) {
    let desk = Desk::open().await;
    let (url, asked) = service(answer).await;
    let content = MediaContent::Remote {
        url,
        hash: BlobHash::of(&desk.bytes),
        size: desk.bytes.len() as u64,
        mime: "video/mp4".to_owned(),
    };
    desk.shelf.0.lock().unwrap().insert((desk.amina, desk.film), content);
    (desk, asked)
}

#[tokio::test]
async fn a_part_at_the_service_passes_through() {
    let part: Vec<u8> = (0..100).collect();
    let (desk, asked) = remote(http_answer(
        "206 Partial Content",
        &[("content-range", "bytes 500-599/3000000"), ("content-length", "100")],
        &part,
    ))
    .await;
    let (status, headers, body) =
        desk.ask(Method::GET, &desk.url(), &[(header::RANGE, "bytes=500-599"), (header::COOKIE, "a=b")]).await;
    assert_eq!((status, body), (StatusCode::PARTIAL_CONTENT, part));
    assert_eq!(text(&headers, header::CONTENT_RANGE), "bytes 500-599/3000000");
    assert_eq!(text(&headers, header::ETAG), desk.etag(), "the same bytes, wherever they are");
    let asked = asked.lock().unwrap().to_lowercase();
    assert!(asked.contains("range: bytes=500-599"), "{asked}");
    assert!(!asked.contains("cookie") && !asked.contains("origin"), "nothing of the page goes to the service: {asked}");
}

#[tokio::test]
async fn head_of_remote_media_asks_nobody() {
    let (desk, asked) = remote(Vec::new()).await;
    let (status, headers, _) = desk.ask(Method::HEAD, &desk.url(), &[]).await;
    assert_eq!((status, text(&headers, header::CONTENT_LENGTH)), (StatusCode::OK, "3000000"));
    assert_eq!(asked.lock().unwrap().as_str(), "");
}

#[tokio::test]
async fn a_service_that_lies_or_fails_is_an_error() {
    for (answer, status, code) in [
        (http_answer("200 OK", &[("content-length", "3")], b"abc"), StatusCode::BAD_GATEWAY, "service_failed"),
        (
            http_answer(
                "206 Partial Content",
                &[("content-range", "bytes 0-9/10"), ("content-length", "10")],
                b"0123456789",
            ),
            StatusCode::BAD_GATEWAY,
            "service_failed",
        ),
        (http_answer("500 Oh", &[], b""), StatusCode::BAD_GATEWAY, "service_failed"),
        (http_answer("403 No", &[], b""), StatusCode::BAD_GATEWAY, "service_failed"),
        (
            http_answer("302 Found", &[("location", "http://evil.example/")], b""),
            StatusCode::BAD_GATEWAY,
            "service_failed",
        ),
        (http_answer("410 Gone", &[], b""), StatusCode::GONE, "gone"),
        (b"rubbish\r\n\r\n".to_vec(), StatusCode::SERVICE_UNAVAILABLE, "service_unreachable"),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let (desk, _) = remote(answer).await;
        let (got, headers, body) = desk.ask(Method::GET, &desk.url(), &[(header::RANGE, "bytes=500-599")]).await;
        assert_eq!((got, body.len()), (status, 0), "{shown}");
        assert_eq!(headers.get("carrel-error").unwrap(), code, "{shown}");
        assert!(!format!("{headers:?}").contains("s3cret"), "the signed address stays here");
    }
}

#[tokio::test]
async fn a_service_that_breaks_off_breaks_the_answer_off() {
    let (desk, _) =
        remote(http_answer("206 Partial Content", &[("content-range", "bytes 500-599/3000000")], b"only these")).await;
    let answer = desk.http.get(desk.url()).header(header::RANGE, "bytes=500-599").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert!(answer.bytes().await.is_err(), "fewer bytes must not look complete");
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
