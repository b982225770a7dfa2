//! The loopback server: HTTP around the handler, for web views that play from nothing else.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, body::Body, extract::Request, response::Response};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::MediaHandler;

/// A listening server that does not answer yet: its address is needed to make the handler.
#[derive(Debug)]
pub struct MediaServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl MediaServer {
    /// Takes a free port on the loopback interface.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub fn serve(self, handler: MediaHandler, stop: CancellationToken) -> JoinHandle<()> {
        let routes = Router::new().fallback(move |request: Request| respond(handler.clone(), request));
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = axum::serve(self.listener, routes) => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the media server stopped");
                    }
                }
            }
        })
    }
}

/// One request over HTTP.
pub(crate) async fn respond(handler: MediaHandler, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    handler.respond(&parts).await.map(|body| Body::from_stream(body.into_stream()))
}
