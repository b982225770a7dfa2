use std::time::{Duration, Instant};

use super::*;

/// Answers every request on a connection with the number of bytes its path names.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let asked = read_head(&head).unwrap();
                        let length: usize = asked.target.trim_start_matches('/').parse().unwrap();
                        let head_of_answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                        let _ = stream.write_all(head_of_answer.as_bytes()).await;
                        let _ = stream.write_all(&vec![b'x'; length]).await;
                        head.clear();
                    }
                }
            });
        }
    });
    address
}

async fn ask(relay: &Relay, path: &str, connection: &mut TcpStream) -> io::Result<usize> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nrange: bytes=5-\r\n\r\n", relay.url());
    connection.write_all(request.as_bytes()).await?;
    let length: usize = path.trim_start_matches('/').parse().unwrap();
    let mut answer = vec![0; format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").len() + length];
    connection.read_exact(&mut answer).await
}

async fn connect(relay: &Relay) -> io::Result<TcpStream> {
    TcpStream::connect(relay.address).await
}

#[tokio::test]
async fn notes_each_request_of_a_connection_with_the_bytes_of_its_body() {
    let relay = Relay::start(origin().await).await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    ask(&relay, "/1000", &mut connection).await.unwrap();
    ask(&relay, "/70000", &mut connection).await.unwrap();

    let passed = relay.passed();
    let facts: Vec<_> = passed.iter().map(|p| (p.target.as_str(), p.range.as_deref(), p.body_bytes)).collect();
    assert_eq!(facts, [("/1000", Some("bytes=5-"), 1000), ("/70000", Some("bytes=5-"), 70_000)]);
    assert_eq!(relay.bytes_of(|passed| passed.target == "/70000"), 70_000);
}

#[tokio::test]
async fn the_rate_is_that_of_the_link_however_many_connections_share_it() {
    let relay = Relay::start(origin().await).await.unwrap();
    relay.limit(Some(400_000));
    let began = Instant::now();
    let (mut one, mut two) = (connect(&relay).await.unwrap(), connect(&relay).await.unwrap());
    let (one, two) = tokio::join!(ask(&relay, "/50000", &mut one), ask(&relay, "/50000", &mut two));
    assert!(one.is_ok() && two.is_ok(), "both are answered: {one:?} {two:?}");
    assert!(began.elapsed() >= Duration::from_millis(240), "100 kB at 400 kB/s took {:?}", began.elapsed());
}

#[tokio::test]
async fn down_refuses_new_connections_and_cuts_the_open_ones_until_it_comes_back() {
    let mut relay = Relay::start(origin().await).await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    ask(&relay, "/10", &mut connection).await.unwrap();

    relay.go_down().await;
    assert!(ask(&relay, "/10", &mut connection).await.is_err(), "the open connection is cut");
    assert!(connect(&relay).await.is_err(), "a new one is refused");

    relay.come_back().await.unwrap();
    let mut connection = connect(&relay).await.unwrap();
    ask(&relay, "/10", &mut connection).await.unwrap();
}

#[tokio::test]
async fn a_cut_ends_a_download_in_the_middle_and_leaves_the_relay_listening() {
    let relay = Relay::start(origin().await).await.unwrap();
    relay.limit(Some(50_000));
    let mut connection = connect(&relay).await.unwrap();
    let download = ask(&relay, "/1000000", &mut connection);
    let cut = async {
        while relay.bytes_of(|_| true) < 8_000 {
            tokio::task::yield_now().await;
        }
        relay.cut();
    };
    let (download, ()) = tokio::join!(download, cut);
    assert!(download.is_err(), "the download ends early");
    assert!(relay.bytes_of(|_| true) < 1_000_000);
    assert!(connect(&relay).await.is_ok());
}
