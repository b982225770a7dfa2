//! Opening a connection: names, addresses, the proxy on the way, TLS.
//!
//! Addresses are tried as RFC 8305 wants it: in the resolver's order with the families taking turns, the next one as soon
//! as one fails or has been silent for a quarter of a second. A network where IPv6 leads nowhere costs just that.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::proxy::{SocksV5, Tunnel},
    rt::TokioIo,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{ServiceExt as _, service_fn};

use super::{
    h1::Forward,
    proxy::{self, Route, Routes},
    site::Site,
    tls::{Offer, Tls},
    wire::Wire,
};
use crate::rules::patience::Setback;

/// How long an address may be silent before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// A peer that went away unnoticed (sleep, network change) is found out by TCP itself after about a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Opens connections.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) connect_timeout: Duration,
    /// Behind a lock, because a learner may change the proxy while transfers run.
    pub(super) routes: RwLock<Routes>,
    pub(super) tls: Arc<Tls>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) wire: Wire,
    /// Whether HTTP/2 was agreed on.
    pub(super) http2: bool,
    pub(super) forward: Option<Forward>,
}

impl Dialer {
    /// Opens a connection to this site.
    pub(super) async fn dial(&self, site: &Site, offer: Offer) -> Result<Dialled, Setback> {
        let dialling = self.dial_for_ever(site, offer);
        timeout(self.connect_timeout, dialling)
            .await
            .unwrap_or_else(|_| Err(Setback::Unreachable("no connection in time".to_owned())))
    }

    async fn dial_for_ever(&self, site: &Site, offer: Offer) -> Result<Dialled, Setback> {
        let mut forward = None;
        let route = self.routes.read().unwrap_or_else(PoisonError::into_inner).to(site);
        let wire = match route {
            Route::Straight => Wire::Tcp(reach(site.name(), site.port).await.map_err(unreachable)?),
            Route::Forward(proxy) => {
                forward = Some(Forward { authorization: proxy.basic_auth().cloned() });
                hop(Arc::clone(&self.tls), proxy.uri().clone()).await.map_err(through_proxy)?.into_inner()
            }
            Route::Tunnel(proxy) => {
                let tls = Arc::clone(&self.tls);
                let mut tunnel = Tunnel::new(proxy.uri().clone(), service_fn(move |uri| hop(Arc::clone(&tls), uri)));
                if let Some(authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                tunnel.oneshot(target(site)?).await.map_err(through_proxy)?.into_inner()
            }
            Route::Socks(proxy) => {
                let tls = Arc::clone(&self.tls);
                let mut socks = SocksV5::new(proxy.uri().clone(), service_fn(move |uri| hop(Arc::clone(&tls), uri)));
                if let Some((name, password)) = proxy.raw_auth() {
                    socks = socks.with_auth(name.to_owned(), password.to_owned());
                }
                // The proxy may be the only one who can resolve the name, whichever way the scheme is spelt.
                let socks = socks.local_dns(false);
                socks.oneshot(target(site)?).await.map_err(through_proxy)?.into_inner()
            }
        };
        if !site.tls {
            return Ok(Dialled { wire, http2: offer == Offer::Http2 && forward.is_none(), forward });
        }
        let (wire, http2) = self.tls.wrap(wire, site.name(), offer).await?;
        if offer == Offer::Http2 && !http2 {
            return Err(Setback::Unreachable("the server doesn't speak HTTP/2".to_owned()));
        }
        Ok(Dialled { wire, http2, forward })
    }
}

/// The connection to a proxy.
async fn hop(tls: Arc<Tls>, proxy: Uri) -> io::Result<TokioIo<Wire>> {
    let host = proxy.host().unwrap_or_default();
    let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let secure = proxy.scheme_str() == Some("https");
    let port = proxy.port_u16().unwrap_or(match proxy.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => 1080,
    });
    let mut wire = Wire::Tcp(reach(name, port).await?);
    if secure {
        let wrapped = tls.wrap(wire, name, Offer::Http1).await;
        wire = wrapped.map_err(|setback| io::Error::other(format!("{setback:?}")))?.0;
    }
    Ok(TokioIo::new(wire))
}

fn target(site: &Site) -> Result<Uri, Setback> {
    proxy::uri(site).ok_or_else(|| Setback::Unreachable("no proxy can be asked for this address".to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn unreachable(error: io::Error) -> Setback {
    Setback::Unreachable(error.to_string())
}

fn through_proxy(error: impl std::fmt::Display) -> Setback {
    Setback::Unreachable(format!("proxy: {error}"))
}

async fn reach(name: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((name, port)).await?.collect();
    first_of(addresses).await
}

/// The connection that is there first.
pub(super) async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = taking_turns(addresses);
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.pop_front() {
            attempts.spawn(connect(address));
        }
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep(HEAD_START), if !waiting.is_empty() => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => failure = error,
            Some(Err(error)) => failure = io::Error::other(error),
            None => return Err(failure),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    socket.connect(address).await
}

/// The families in turn, beginning with that of the first address.
fn taking_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
