//! The HTTP host: the same commands, events, media and pages for a browser on this machine.
//!
//! It is how screens are tested in a browser against the real engine. Anything on the machine can reach a loopback port,
//! and any web page can make a browser send requests to it, so: it listens on loopback only; a one-time link turns into a
//! session cookie (`HttpOnly`, `SameSite=Strict`); the `Host` must be ours (DNS rebinding); a command must say that it
//! comes from our own page (`Origin` or `Sec-Fetch-Site`), and the pages run under the app's content security policy.
//!
//! | | |
//! |---|---|
//! | `GET /?key=…` | the one-time link: sets the cookie, goes to `/` |
//! | `POST /api/commands/<name>` | the request as JSON, the answer as JSON; a [`HostError`](crate::HostError) with 4xx or 5xx |
//! | `GET /api/events` | server-sent events, each an array of [`EngineEvent`](crate::EngineEvent)s |
//! | `/api/downloads/…` | downloads by the names of older systems, see `downloads` |
//! | `/media/…` | [`media`](crate::media), by the secret in the path |
//! | anything else | the UI's files |

mod downloads;
mod guard;
mod routes;
mod serving;
mod session;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use carrel_engine::ports::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    Host,
    media::{MediaHandler, Route},
};
use session::Session;

/// How long answers that are under way may take to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Far more than the few connections of one browser.
const LIMITS: serving::Limits = serving::Limits { head_within: Duration::from_secs(30), connections: 256 };

/// A bound host that does not answer yet: its address is needed for the link and for media.
#[derive(Debug)]
pub struct HttpHost {
    listener: TcpListener,
    address: SocketAddr,
    session: Session,
}

impl HttpHost {
    /// Listens on a loopback address; port 0 takes a free one.
    pub async fn bind(listen: SocketAddr, clock: &dyn Clock) -> io::Result<Self> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "only loopback addresses are served"));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, session: Session::new(address.port(), clock) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The route of its media.
    #[must_use]
    pub const fn media_route(&self) -> Route {
        Route::SameOrigin
    }

    /// The one-time link.
    #[must_use]
    pub fn link(&self) -> String {
        format!("http://{}/?key={}", self.address, self.session.key())
    }

    /// Answers until `stop`, with the UI's files from `ui`.
    pub async fn serve(self, host: Host, ui: PathBuf, stop: CancellationToken) -> io::Result<()> {
        let authority = self.address.to_string();
        let media = MediaHandler::new(
            Arc::new(host.clone()),
            host.media().clone(),
            host.http_client().clone(),
            [authority.clone()],
        )
        .allow_origin(format!("http://{authority}"));
        let routes = routes::router(routes::Serving {
            host,
            media,
            session: Arc::new(self.session),
            authority: authority.into(),
            stop: stop.clone(),
            ui,
        });
        tokio::select! {
            () = serving::serve(self.listener, routes, LIMITS, stop.clone()) => {}
            // A paused film keeps its connection open as long as it likes.
            () = async { stop.cancelled().await; tokio::time::sleep(PATIENCE).await } => {}
        }
        Ok(())
    }
}
