use std::sync::Arc;

use carrel_testbed::http_origin::{Act, Meeting, Origin, Setup};

use tokio::net::TcpListener;

use super::*;
use crate::Source;
use crate::client::{
    Http2, Inquiry, Line, ask,
    fixture::{client, content, get, get_many, identity, source, within},
};

const SIZE: u32 = 400_000;
/// As many as are allowed unless somebody says otherwise.
const CONNECTIONS: usize = 8;

async fn plain() -> (Origin, HttpClient, Vec<u8>) {
    let content = content(SIZE);
    (Origin::start(content.clone()).await.unwrap(), client(None, Http2::Auto), content)
}

#[tokio::test]
async fn a_server_without_http2_gets_a_few_connections() {
    let (origin, client, content) = plain().await;
    get_many(&client, &origin, &content, 60, 30_000).await;
    assert!((1..=CONNECTIONS).contains(&origin.connections()), "{}", origin.connections());

    let identity = identity();
    let setup = Setup::new(content.clone()).tls(Arc::clone(&identity)).http2(false);
    let (origin, client) = (setup.start().await.unwrap(), crate::client::fixture::client(Some(&identity), Http2::Auto));
    get_many(&client, &origin, &content, 60, 30_000).await;
    assert!((1..=CONNECTIONS).contains(&origin.connections()), "{}", origin.connections());
    assert!(origin.seen().iter().all(|seen| !seen.http2));
}

#[tokio::test]
async fn no_more_connections_than_allowed_are_shared() {
    let content = content(SIZE);
    let origin = Origin::start(content.clone()).await.unwrap();
    let options = crate::HttpOptions { connections: 2, ..crate::client::fixture::options(None) };
    let client = HttpClient::new(&options).unwrap();
    get_many(&client, &origin, &content, 60, 30_000).await;
    assert!((1..=2).contains(&origin.connections()), "{}", origin.connections());
}

#[tokio::test]
async fn a_name_and_password_of_an_address_go_into_a_header_and_nowhere_else() {
    let identity = identity();
    let content = content(SIZE);
    for http2 in [false, true] {
        let setup = Setup::new(content.clone()).tls(Arc::clone(&identity)).http2(http2);
        let origin = setup.start().await.unwrap();
        let client = client(Some(&identity), Http2::Auto);
        let url = origin.url("/blob").replacen("://", "://us%20er:p%40ss@", 1);
        let mut line = Line::shared();
        let body = get(&client, &mut line, &Source::new(url.parse().unwrap()), 5, 500).await.unwrap();
        assert!(body == content[5..500]);
        let seen = origin.seen();
        assert_eq!((seen.len(), seen[0].http2), (1, http2));
        assert_eq!(seen[0].header("authorization"), Some("Basic dXMgZXI6cEBzcw=="), "us er:p@ss");
        assert!(seen[0].headers.iter().all(|(_, value)| !value.contains("p%40ss")), "{:?}", seen[0].headers);
    }
}

#[tokio::test]
async fn connections_are_kept_between_requests() {
    let (origin, client, content) = plain().await;
    for mut line in [Line::own(), Line::shared()] {
        let before = origin.connections();
        for start in [0, 1000, 2000] {
            let body = get(&client, &mut line, &source(&origin), start, start + 500).await.unwrap();
            assert_eq!(body, content[usize::try_from(start).unwrap()..][..500]);
        }
        assert_eq!(origin.connections(), before + 1);
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced_silently() {
    for mut line in [Line::own(), Line::shared()] {
        let (origin, client, _) = plain().await;
        // The second request is read and not answered, as by a server that closed while it was under way.
        origin.meet([Meeting::Scripted(vec![Act::Serve, Act::Close])]);
        for _ in 0..2 {
            get(&client, &mut line, &source(&origin), 0, 500).await.unwrap();
        }
        assert_eq!((origin.connections(), origin.seen().len()), (2, 3));
    }
}

#[tokio::test]
async fn kept_connections_make_way_when_a_server_lets_in_no_more() {
    let (origin, client, _) = plain().await;
    get(&client, &mut Line::shared(), &source(&origin), 0, 500).await.unwrap();
    origin.always(Act::Close);
    get(&client, &mut Line::own(), &source(&origin), 0, 500).await.unwrap_err();
    origin.recover();
    get(&client, &mut Line::shared(), &source(&origin), 0, 500).await.unwrap();
    assert_eq!(origin.connections(), 3, "the first one is closed");
}

#[tokio::test]
async fn a_request_that_a_new_connection_did_not_answer_is_not_sent_again() {
    let (origin, client, _) = plain().await;
    origin.always(Act::Close);
    let error = get(&client, &mut Line::shared(), &source(&origin), 0, 500).await.unwrap_err();
    assert!(matches!(error, Setback::Unreachable(_)), "{error:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn who_waited_behind_a_failure_is_told_and_does_not_try_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = Source::new(format!("https://{}/blob", listener.local_addr().unwrap()).parse().unwrap());
    let client = client(None, Http2::Auto);
    let fifty = || {
        futures_util::future::join_all(
            (0..50).map(|_| async { get(&client, &mut Line::shared(), &source, 0, 10).await.unwrap_err() }),
        )
    };
    for _ in 0..2 {
        let mut connections = 0;
        let mut fetching = std::pin::pin!(fifty());
        let errors = loop {
            tokio::select! {
                errors = &mut fetching => break errors,
                accepted = listener.accept() => connections += usize::from(accepted.is_ok()),
            }
        };
        assert!(errors.iter().all(|error| matches!(error, Setback::Unreachable(_))), "{errors:?}");
        // Those who come later try again, once.
        assert_eq!(connections, 1);
    }
}

#[tokio::test]
async fn forgotten_connections_end_their_bodies_and_serve_no_more() {
    let identity = identity();
    let content = content(SIZE);
    let secure = Setup::new(content.clone()).tls(Arc::clone(&identity)).start().await.unwrap();
    let (plain, _, _) = plain().await;
    let client = client(Some(&identity), Http2::Auto);
    for (origin, mut line) in [(&plain, Line::own()), (&plain, Line::shared()), (&secure, Line::shared())] {
        let (source, before) = (source(origin), origin.connections());
        get(&client, &mut line, &source, 0, 10).await.unwrap();
        let mut under_way = within(ask(&client, &mut line, &source, 0, u64::from(SIZE))).await.unwrap();
        client.forget_connections();
        get(&client, &mut line, &source, 0, 10).await.unwrap();
        assert_eq!(origin.connections(), before + 2);
        let mut body = Vec::with_capacity(content.len());
        while body.len() < content.len() {
            assert!(within(under_way.read(&mut body, usize::MAX)).await.unwrap() > 0);
        }
        assert!(body == content);
        drop(under_way);
        get(&client, &mut line, &source, 0, 10).await.unwrap();
        assert_eq!(origin.connections(), before + 2);
    }
}

#[tokio::test]
async fn a_body_left_early_costs_its_connection() {
    let (origin, client, _) = plain().await;
    let (source, mut line) = (source(&origin), Line::shared());
    drop(within(ask(&client, &mut line, &source, 0, u64::from(SIZE))).await.unwrap());
    get(&client, &mut line, &source, 0, 10).await.unwrap();
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_redirected_line_keeps_both_its_connections() {
    let (target, client, content) = plain().await;
    let (origin, _, _) = plain().await;
    origin.always(Act::redirect(&target.url("/elsewhere")));
    let mut source = source(&origin);
    source.headers.insert("authorization", "Bearer secret".parse().unwrap());
    for mut line in [Line::own(), Line::shared()] {
        let before = (origin.connections(), target.connections());
        for start in [0, 1000, 2000] {
            let body = get(&client, &mut line, &source, start, start + 500).await.unwrap();
            assert_eq!(body, content[usize::try_from(start).unwrap()..][..500]);
        }
        assert_eq!((origin.connections(), target.connections()), (before.0 + 1, before.1 + 1));
    }
    assert!(origin.seen().iter().all(|seen| seen.header("authorization").is_some()));
    assert!(target.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn a_turn_waits_for_a_place_and_no_longer() {
    let (origin, client, _) = plain().await;
    let source = source(&origin);
    get(&client, &mut Line::shared(), &source, 0, 10).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut line = Line::shared();
        within(Inquiry::new(&source).unwrap().turn(&client, &mut line)).await.unwrap();
        held.push(line);
    }
    let mut waiting = Line::shared();
    let inquiry = Inquiry::new(&source).unwrap();
    let turn = inquiry.turn(&client, &mut waiting);
    let mut turn = std::pin::pin!(turn);
    assert!(futures_util::poll!(turn.as_mut()).is_pending());
    held.pop();
    within(turn).await.unwrap();
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed_and_those_in_use_are_not() {
    let identity = identity();
    let secure = Setup::new(content(SIZE)).tls(Arc::clone(&identity)).start().await.unwrap();
    let (plain, _, _) = plain().await;
    let client = client(Some(&identity), Http2::Auto);
    for origin in [&plain, &secure] {
        let (source, mut line) = (source(origin), Line::shared());
        get(&client, &mut line, &source, 0, 10).await.unwrap();
        assert!(client.pool().close_unused(Duration::from_secs(60)));
        get(&client, &mut line, &source, 0, 10).await.unwrap();
        assert_eq!(origin.connections(), 1);

        let mut under_way = within(ask(&client, &mut line, &source, 0, u64::from(SIZE))).await.unwrap();
        assert!(client.pool().close_unused(Duration::ZERO));
        let mut body = Vec::with_capacity(SIZE as usize);
        while body.len() < SIZE as usize {
            assert!(within(under_way.read(&mut body, usize::MAX)).await.unwrap() > 0);
        }
        drop(under_way);
        assert!(!client.pool().close_unused(Duration::ZERO));
        get(&client, &mut line, &source, 0, 10).await.unwrap();
        assert_eq!(origin.connections(), 2);
        drop(line);
        client.pool().close_unused(Duration::ZERO);
    }
}
