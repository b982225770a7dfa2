use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use tokio::net::TcpListener;

use super::*;

/// An address that takes no connection and says nothing about it, as a network where IPv6 leads nowhere: a listener whose
/// queue is full. The streams keep it full.
async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    black_hole_at(TcpSocket::new_v4().unwrap(), "127.0.0.1:0").await
}

async fn black_hole_at(socket: TcpSocket, address: &str) -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    socket.bind(address.parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, listener, waiting)
}

async fn server() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    server().await.0
}

#[tokio::test]
async fn a_silent_address_costs_a_head_start_and_no_more() {
    let (hole, _listener, _waiting) = black_hole().await;
    let (good, _server) = server().await;
    let start = Instant::now();
    let stream = first_of(vec![hole, good]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);
    assert!(start.elapsed() >= HEAD_START);
    // Far less than TCP's own patience of minutes; generous, as other tests may keep the machine busy.
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_network_where_ipv6_leads_nowhere_costs_a_head_start_for_all_its_addresses() {
    let (hole, _listener, _waiting) = black_hole_at(TcpSocket::new_v6().unwrap(), "[::1]:0").await;
    let (good, _server) = server().await;
    // As a resolver gives them: all of one family first.
    let start = Instant::now();
    let stream = first_of(vec![hole, hole, hole, good]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_address_that_refuses_costs_nothing() {
    let (good, _server) = server().await;
    let stream = first_of(vec![nobody().await, nobody().await, good]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);
    assert!(stream.nodelay().unwrap());
}

#[tokio::test]
async fn no_address_that_works_is_an_error() {
    assert_eq!(first_of(vec![nobody().await]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(first_of(Vec::new()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn opening_a_connection_takes_no_longer_than_allowed() {
    let (hole, _listener, _waiting) = black_hole().await;
    let tls = Arc::new(Tls::new(&[]).unwrap());
    let routes = Routes::new(&super::super::Proxy::None).unwrap();
    let dialer = Dialer { connect_timeout: Duration::from_millis(400), routes: routes.into(), tls };
    let site = Site::of(&format!("http://{hole}/").parse().unwrap()).unwrap();
    let error = dialer.dial(&site, Offer::Http1).await.unwrap_err();
    assert!(matches!(error, Setback::Unreachable(_)));
}

#[test]
fn families_take_turns_in_the_resolvers_order() {
    let six = |last| SocketAddr::from((Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, last), 1));
    let four = |last| SocketAddr::from((Ipv4Addr::new(0, 0, 0, last), 1));
    let order = taking_turns(vec![six(1), six(2), six(3), four(1)]);
    assert_eq!(order, [six(1), four(1), six(2), six(3)]);
    assert_eq!(taking_turns(vec![four(1), six(1)]), [four(1), six(1)]);
}
