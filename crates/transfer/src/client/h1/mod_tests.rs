//! Responses on a real socket, from a server that writes exactly these bytes.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// A connection, and the server's end of it.
async fn pair() -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Connection::new(Wire::Tcp(client), None), listener.accept().await.unwrap().0)
}

/// Asks; the server answers with these bytes, in writes of so many, and closes if told to.
async fn answered(
    answer: &[u8],
    portion: usize,
    close: bool,
) -> (Connection, Result<Head, Silence>, Option<TcpStream>) {
    let (mut connection, mut server) = pair().await;
    let answer = answer.to_vec();
    let serving = tokio::spawn(async move {
        let mut request = [0; 4096];
        let read = server.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET /a?b HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&request));
        for bytes in answer.chunks(portion) {
            // A client that has seen enough hangs up.
            if server.write_all(bytes).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        (!close).then_some(server)
    });
    let ask = Ask { base: "http://x", path: "/a?b", headers: &HeaderMap::new() };
    let head = timeout(LIMIT, connection.ask(&ask)).await.unwrap();
    // The server may still be writing what nobody will read; it ends with the test.
    let server = if head.is_ok() { timeout(LIMIT, serving).await.unwrap().unwrap() } else { None };
    (connection, head, server)
}

/// The whole body, read in portions of at most so many bytes.
async fn body(connection: &mut Connection, most: usize) -> Result<Vec<u8>, Setback> {
    let mut all = Vec::new();
    loop {
        all.reserve(most);
        match timeout(LIMIT, connection.read(&mut all, most)).await.unwrap()? {
            0 => return Ok(all),
            read => assert!(read <= most),
        }
    }
}

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n006;ext=\"1\"\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n";

#[tokio::test]
async fn bodies_are_framed_however_the_bytes_arrive() {
    for portion in [1, 7, 4096] {
        for most in [1, 3, 4096] {
            let (mut connection, head, _server) = answered(CHUNKED, portion, false).await;
            assert_eq!(head.unwrap().status, 200);
            assert_eq!(body(&mut connection, most).await.unwrap(), b"hello world");
            assert!(connection.is_at_end() && connection.is_ready().await);

            let plain = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 11\r\n\r\nhello world";
            let (mut connection, _, _server) = answered(plain, portion, false).await;
            assert_eq!(body(&mut connection, most).await.unwrap(), b"hello world");
            assert!(connection.is_at_end() && connection.is_ready().await);

            let until_close = b"HTTP/1.1 200 OK\r\n\r\nhello world";
            let (mut connection, _, _server) = answered(until_close, portion, true).await;
            assert_eq!(body(&mut connection, most).await.unwrap(), b"hello world");
            assert!(!connection.is_reusable());
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_cut() {
    for cut in 47..CHUNKED.len() {
        let (mut connection, head, _server) = answered(&CHUNKED[..cut], 4096, true).await;
        head.unwrap();
        assert_eq!(body(&mut connection, 4096).await, Err(Setback::Cut), "{cut}");
    }
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world";
    let (mut connection, _, _server) = answered(plain, 4096, true).await;
    assert_eq!(body(&mut connection, 4096).await, Err(Setback::Cut));
}

#[tokio::test]
async fn what_is_no_chunk_is_no_body() {
    for chunk in ["g\r\n", "-1\r\n", "+5\r\nhello\r\n", "\r\n", "5\r\nhelloX\r\n", "ffffffffffffffffff\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        let (mut connection, _, _server) = answered(answer.as_bytes(), 4096, false).await;
        assert_eq!(body(&mut connection, 4096).await, Err(Setback::Cut), "{chunk:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}", "x".repeat(20_000));
    let (mut connection, _, _server) = answered(endless.as_bytes(), 4096, false).await;
    assert_eq!(body(&mut connection, 4096).await, Err(Setback::Cut));
}

#[tokio::test]
async fn a_connection_with_bytes_nobody_asked_for_is_not_used_again() {
    let extra = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n";
    let (mut connection, _, _server) = answered(extra, 4096, false).await;
    assert_eq!(body(&mut connection, 4096).await.unwrap(), b"hello");
    assert!(connection.is_at_end() && !connection.is_ready().await);
}

#[tokio::test]
async fn a_little_unread_rest_is_read_away_and_a_large_one_is_not() {
    let mut little = b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n".to_vec();
    little.resize(little.len() + 30_000, b'x');
    let (mut connection, _, _server) = answered(&little, 100_000, false).await;
    let mut some = Vec::with_capacity(10);
    connection.read(&mut some, 10).await.unwrap();
    assert!(connection.is_ready().await);

    let large = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\nhello";
    let (mut connection, _, _server) = answered(large, 100_000, false).await;
    connection.read(&mut some, 1).await.unwrap();
    assert!(!connection.is_reusable() && !connection.is_ready().await);
}

#[tokio::test]
async fn interim_answers_are_passed_over_but_not_for_ever() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let answer = format!("{interim}{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (mut connection, head, _server) = answered(answer.as_bytes(), 5, false).await;
    assert_eq!(head.unwrap().status, 200);
    assert_eq!(body(&mut connection, 10).await.unwrap(), b"ok");

    let (_, head, _server) = answered(interim.repeat(1000).as_bytes(), 4096, false).await;
    assert!(matches!(head, Err(Silence::Setback(Setback::Unreachable(_)))));
    let (_, head, _server) = answered(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 4096, false).await;
    assert!(matches!(head, Err(Silence::Setback(Setback::Unreachable(_)))));
}

#[tokio::test]
async fn heads_without_end_or_sense_are_refused() {
    let long = format!("HTTP/1.1 200 OK\r\n{}", "X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(30_000));
    for answer in [long.as_bytes(), b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2\r\n\r\n", b"HTTP/1.1 200 OK\r\nA b\r\n\r\n"] {
        let (_, head, _server) = answered(answer, 4096, false).await;
        assert!(matches!(head, Err(Silence::Setback(Setback::Unreachable(_)))), "{head:?}");
    }
}

#[tokio::test]
async fn an_end_before_the_answer_says_whether_a_byte_came() {
    let (_, head, _server) = answered(b"", 4096, true).await;
    assert!(matches!(head, Err(Silence::Closed(_))));
    let (_, head, _server) = answered(b"HTTP/1.1 200", 4096, true).await;
    assert!(matches!(head, Err(Silence::Setback(Setback::Unreachable(_)))));
}

#[tokio::test]
async fn a_read_that_is_dropped_loses_nothing() {
    let (mut connection, mut server) = pair().await;
    let serving = tokio::spawn(async move {
        let mut request = [0; 4096];
        assert!(server.read(&mut request).await.unwrap() > 0);
        for byte in CHUNKED {
            server.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server
    });
    let ask = Ask { base: "http://x", path: "/a?b", headers: &HeaderMap::new() };
    connection.ask(&ask).await.unwrap();
    let mut all = Vec::with_capacity(100);
    loop {
        // Most of these give up before a byte is there.
        match timeout(Duration::from_micros(200), connection.read(&mut all, 100)).await {
            Ok(Ok(0)) => break,
            Ok(read) => assert!(read.is_ok()),
            Err(_) => {}
        }
    }
    assert_eq!(all, b"hello world");
    serving.await.unwrap();
}

#[tokio::test]
async fn a_forwarding_proxy_is_told_the_whole_address() {
    let authorization = Some(HeaderValue::from_static("Basic eDp5"));
    let connection = Connection { forward: Some(Forward { authorization }), ..pair().await.0 };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, HeaderValue::from_static("x"));
    let request = connection.request(&Ask { base: "http://x", path: "/a?b", headers: &headers });
    let text = String::from_utf8(request).unwrap();
    assert_eq!(text, "GET http://x/a?b HTTP/1.1\r\nhost: x\r\nproxy-authorization: Basic eDp5\r\n\r\n");
}
