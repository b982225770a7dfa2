//! Requests whose connection died without a word.

use std::time::Duration;

use carrel_model::trusted_time::Reading;
use tokio::{io::AsyncReadExt as _, net::TcpListener, sync::mpsc};

use super::*;
use crate::service_api::ApiError;

#[derive(Debug)]
pub(super) struct Noon;

impl Clock for Noon {
    fn read(&self) -> Reading {
        Reading { wall: TimeMs::from_ms(1_795_176_000_000), monotonic_ms: 0 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

#[derive(Debug)]
struct Up;

impl NetworkObserver for Up {
    fn link(&self) -> watch::Receiver<Link> {
        watch::Sender::new(Link::Unknown).subscribe()
    }
}

#[tokio::test]
async fn a_request_on_a_dead_connection_is_given_up_when_the_network_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    // Takes requests and never says anything.
    let (seen, mut asked) = mpsc::channel(8);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.read_exact(&mut [0; 16]).await.unwrap();
            held.push(connection);
            seen.send(()).await.unwrap();
        }
    });
    let network = Network::new(&Up, Arc::new(Noon));
    network.watch_service(Some(base.clone()));
    network.turn(NetworkState::Online);
    let exchange = Exchange::new(crate::ports::http_client().unwrap(), network.clone());
    let waiting = tokio::spawn(async move {
        let request = Request {
            method: Method::GET,
            base: &base,
            path: "sync/pull",
            query: &[],
            body: None,
            bearer: None,
            patience: Duration::from_secs(60),
        };
        exchange.perform::<serde_json::Value>(request).await
    });
    asked.recv().await.unwrap();
    network.turn(NetworkState::Limited);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "a network that is away may come back to this request");
    network.turn(NetworkState::Online);
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it still waits").unwrap();
    assert!(matches!(answer, Err(ApiError::Unreachable(_))), "{answer:?}");
}
