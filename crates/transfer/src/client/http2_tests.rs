use carrel_testbed::http_origin::{Act, Meeting, Origin, Setup};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::client::{
    Http2, Line, ask,
    fixture::{client, content, get, get_many, identity, source, within},
};

const SIZE: u32 = 200_000;

/// A server that speaks HTTP/2 over TLS, and a client that trusts it.
async fn pair(streams: u32) -> (Origin, crate::HttpClient, Vec<u8>) {
    let (identity, content) = (identity(), content(SIZE));
    let setup = Setup::new(content.clone()).tls(Arc::clone(&identity)).streams(streams);
    (setup.start().await.unwrap(), client(Some(&identity), Http2::Auto), content)
}

#[tokio::test]
async fn a_hundred_requests_to_an_unknown_server_share_one_connection() {
    let (origin, client, content) = pair(256).await;
    get_many(&client, &origin, &content, 100, 30_000).await;
    assert_eq!(origin.connections(), 1);
    assert_eq!(origin.seen().iter().filter(|seen| seen.http2).count(), 100);
}

#[tokio::test]
async fn a_server_that_takes_one_stream_at_a_time_serves_all() {
    let (origin, client, content) = pair(1).await;
    get_many(&client, &origin, &content, 40, 30_000).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_refused_stream_is_asked_for_again_at_once_but_not_for_ever() {
    let (origin, client, content) = pair(256).await;
    origin.script([Act::RefuseStream, Act::RefuseStream]);
    assert_eq!(get(&client, &mut Line::shared(), &source(&origin), 5, 90).await.unwrap(), content[5..90]);
    assert_eq!((origin.seen().len(), origin.connections()), (3, 1));
    origin.always(Act::RefuseStream);
    let error = get(&client, &mut Line::shared(), &source(&origin), 5, 90).await.unwrap_err();
    assert!(matches!(error, Setback::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_leaves_finishes_what_it_began_and_the_rest_goes_elsewhere() {
    let (origin, client, content) = pair(256).await;
    origin.script([Act::GoAwayAfter(1000)]);
    let (source, mut line) = (source(&origin), Line::shared());
    assert_eq!(get(&client, &mut line, &source, 0, 150_000).await.unwrap(), content[..150_000]);
    get_many(&client, &origin, &content, 20, 30_000).await;
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_cut_and_a_reset_stream_harms_no_other() {
    let (origin, client, content) = pair(256).await;
    origin.script([Act::ResetAfter(50_000)]);
    let (source, mut line) = (source(&origin), Line::shared());
    assert_eq!(get(&client, &mut line, &source, 0, 150_000).await, Err(Setback::Cut));
    get_many(&client, &origin, &content, 10, 30_000).await;
    assert_eq!(origin.connections(), 1);
    origin.script([Act::BreakAfter(50_000)]);
    assert_eq!(get(&client, &mut line, &source, 0, 150_000).await, Err(Setback::Cut));
    get_many(&client, &origin, &content, 10, 30_000).await;
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_server_that_wants_quiet_is_busy() {
    for whole in [false, true] {
        let (connection, server) = greeted(PING_EVERY, PONG_WITHIN).await;
        let mut server = server.unwrap();
        let serving = tokio::spawn(async move {
            let (_request, mut respond) = server.accept().await.unwrap().unwrap();
            if whole {
                server.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            } else {
                respond.send_reset(Reason::ENHANCE_YOUR_CALM);
            }
            server.accept().await.is_none()
        });
        let refusal = within(connection.ask(request())).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Setback(CALM)), "{refusal:?}");
        assert_eq!(connection.is_open(), !whole);
        drop(connection);
        within(serving).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_makes_room_for_others() {
    let (origin, client, content) = pair(1).await;
    let (source, mut line) = (source(&origin), Line::shared());
    for _ in 0..30 {
        let mut response = within(ask(&client, &mut line, &source, 0, u64::from(SIZE))).await.unwrap();
        within(response.read(&mut Vec::with_capacity(10), 10)).await.unwrap();
    }
    get_many(&client, &origin, &content, 3, 30_000).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_request_that_is_dropped_before_its_answer_makes_room_for_others() {
    let (origin, client, content) = pair(1).await;
    origin.script([Act::Silent]);
    let (source, mut line) = (source(&origin), Line::shared());
    let asking = ask(&client, &mut line, &source, 0, 10);
    assert!(timeout(Duration::from_millis(300), asking).await.is_err());
    get_many(&client, &origin, &content, 3, 30_000).await;
}

#[tokio::test]
async fn big_blobs_go_over_http1_unless_http2_is_wanted_for_everything() {
    let (identity, content) = (identity(), content(SIZE));
    let origin = Setup::new(content.clone()).tls(Arc::clone(&identity)).start().await.unwrap();
    let plain = Origin::start(content.clone()).await.unwrap();
    for (http2, origin, expected) in
        [(Http2::Auto, &origin, false), (Http2::Always, &origin, true), (Http2::Always, &plain, true)]
    {
        let (client, mut line) = (client(Some(&identity), http2), Line::own());
        let before = (origin.seen().len(), origin.connections());
        for start in [0, 70_000] {
            let body = get(&client, &mut line, &source(origin), start, start + 100_000).await.unwrap();
            assert!(body == content[usize::try_from(start).unwrap()..][..100_000]);
        }
        assert_eq!(origin.connections(), before.1 + 1);
        assert!(origin.seen()[before.0..].iter().all(|seen| seen.http2 == expected));
    }
}

#[tokio::test]
async fn what_is_not_http2_ends_with_an_error() {
    let origin = Origin::start(content(10)).await.unwrap();
    origin.meet_always(Meeting::Says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()));
    let client = client(None, Http2::Always);
    let error = get(&client, &mut Line::shared(), &source(&origin), 0, 10).await.unwrap_err();
    assert!(matches!(error, Setback::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_given_up() {
    // It greets, and is never heard of again.
    let (connection, _server) = greeted(Duration::from_millis(50), Duration::from_millis(500)).await;
    let refusal = within(connection.ask(request())).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unseen(_)), "{refusal:?}");
    assert!(!connection.is_open());
}

fn request() -> Request<()> {
    Request::get("http://x/").body(()).unwrap()
}

/// A connection, and a server that has answered the greeting and does nothing by itself.
async fn greeted(
    every: Duration,
    pong: Duration,
) -> (Connection, Result<h2::server::Connection<TcpStream, Bytes>, h2::Error>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wire = Wire::Tcp(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (socket, _) = listener.accept().await.unwrap();
    let (connection, server) = tokio::join!(Connection::watched(wire, every, pong), h2::server::handshake(socket));
    (connection.unwrap(), server)
}
