//! Serving connections: a loop of our own, since `axum::serve` lets whoever connects keep a half-sent request open for ever.
//!
//! A request's head has to arrive within a time – as has the next one on a connection that is kept – and there are only so
//! many connections at once; more wait in the system's queue. Once told to stop it finishes the requests that are under
//! way; dropped, it cuts them off. HTTP/1.1 only: a proxy in front speaks whatever browsers like.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, extract::ConnectInfo, serve::Listener as _};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long a request's head may take, and how long a connection may be kept without one.
    pub(crate) head_within: Duration,
    /// How many connections there may be at once.
    pub(crate) connections: usize,
}

/// Serves until `stop`, and then until the requests under way have their answers.
pub(crate) async fn serve(mut listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let mut http = Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_within);
    let turns = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let next = async |listener: &mut TcpListener| {
        let turn = turns.clone().acquire_owned().await.ok()?;
        // It waits by itself where the system has no more sockets to give.
        Some((listener.accept().await, turn))
    };
    loop {
        let ((stream, address), turn) = tokio::select! {
            () = stop.cancelled() => break,
            next = next(&mut listener) => match next { Some(next) => next, None => break },
        };
        while connections.try_join_next().is_some() {}
        let answers = answer(http.clone(), stream, address, router.clone(), stop.clone());
        connections.spawn(async move {
            answers.await;
            drop(turn);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn answer(
    http: Builder<TokioExecutor>,
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let service = TowerToHyperService::new(Extension(ConnectInfo(address)).layer(router));
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SOON: Duration = Duration::from_millis(100);
    /// Much longer than anything here takes; less than what hyper waits for by itself.
    const BOUND: Duration = Duration::from_secs(20);

    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn served(limits: Limits) -> Served {
        let router = Router::new()
            .route("/", get(async |ConnectInfo(from): ConnectInfo<SocketAddr>| format!("to {}", from.ip())));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
        Served { address, stop, task }
    }

    /// Sends something and reads until the other side closes.
    async fn sent(address: SocketAddr, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let closed = tokio::time::timeout(BOUND, socket.read_to_end(&mut answer)).await;
        closed.expect("the connection is closed").unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn half_a_request_is_not_waited_for() {
        let served = served(Limits { head_within: SOON, connections: 10 }).await;
        let halves: [&[u8]; 4] = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-", b"PRI * HTTP/2.0\r\n"];
        for half in halves {
            let answer = sent(served.address, half).await;
            assert!(!answer.contains("200 OK"), "{half:?}: {answer}");
        }
        let kept = sent(served.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            kept.starts_with("HTTP/1.1 200 OK") && kept.ends_with("\r\n\r\nto 127.0.0.1"),
            "answered, then closed: {kept}"
        );
    }

    #[tokio::test]
    async fn more_connections_than_allowed_wait_until_one_ends() {
        let served = served(Limits { head_within: BOUND, connections: 2 }).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(served.address).await.unwrap();
            socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut first = [0; 12];
            socket.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            held.push(socket);
        }
        let address = served.address;
        let third = tokio::spawn(async move { sent(address, b"GET / HTTP/1.0\r\n\r\n").await });
        let unanswered = tokio::time::timeout(SOON, async {
            while !third.is_finished() {
                tokio::task::yield_now().await
            }
        });
        assert!(unanswered.await.is_err(), "both places are taken");
        held.pop();
        assert!(third.await.unwrap().ends_with("to 127.0.0.1"), "one is free");
    }

    #[tokio::test]
    async fn stopping_closes_kept_connections() {
        let served = served(Limits { head_within: BOUND, connections: 10 }).await;
        let mut kept = TcpStream::connect(served.address).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        kept.read_exact(&mut first).await.unwrap();
        served.stop.cancel();
        tokio::time::timeout(BOUND / 2, served.task).await.expect("long before the next head is due").unwrap();
        assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
    }
}
