//! Media at the service: passed through, or an error that says why.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use carrel_engine::model::BlobHash;
use carrel_engine::playback::MediaContent;
use http::{Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::fixture::{Desk, text};

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
