//! Lines and homes: which connection a request takes, and where it goes afterwards.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Http2, HttpClient, h1, http2, pool::Turn, site::Site, tls::Offer};
use crate::rules::patience::Setback;

/// How a request travels.
#[derive(Debug)]
pub(crate) enum Line {
    /// Over a connection of its own, kept between requests: big blobs.
    Own(OwnLine),
    /// Over the shared connections: small blobs.
    Shared(SharedLine),
}

/// A connection of one's own; opened by the first request.
#[derive(Debug, Default)]
pub(crate) struct OwnLine {
    kept: Arc<Shelf>,
}

/// A place in the queue for the shared connections.
#[derive(Debug, Default)]
pub(crate) struct SharedLine {
    turn: Option<Turn>,
}

/// An open connection, however it is spoken over.
#[derive(Debug)]
pub(super) enum Open {
    Http1(h1::Connection),
    Http2(http2::Connection),
}

/// A connection for one request.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) open: Open,
    /// Of which epoch of the client it is; those of earlier ones aren't used again.
    pub(super) epoch: u64,
    /// Whether it was used before, so that the server may have closed it meanwhile.
    pub(super) kept: bool,
}

/// Where a connection belongs while it isn't used.
#[derive(Debug)]
pub(super) enum Home {
    Own(Site, Arc<Shelf>),
    Shared(Turn),
}

/// Connections kept by one line: that to the source, and those to where it redirects.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Vec<(Site, Opened)>>);

const KEPT_BY_A_LINE: usize = 3;

impl Line {
    /// A connection of its own, kept between requests: big blobs.
    pub(crate) fn own() -> Self {
        Self::Own(OwnLine::default())
    }

    /// The shared connections: small blobs.
    pub(crate) fn shared() -> Self {
        Self::Shared(SharedLine::default())
    }

    /// Waits until a request to this site may start.
    pub(super) async fn turn(&mut self, client: &HttpClient, site: &Site) -> Result<(), Setback> {
        if let Self::Shared(line) = self
            && !line.turn.as_ref().is_some_and(|turn| turn.is_for(site))
        {
            // The place at another site first, or two sites might wait for each other.
            line.turn = None;
            line.turn = Some(client.pool().turn(client, site).await?);
        }
        Ok(())
    }

    pub(super) async fn home(&mut self, client: &HttpClient, site: &Site) -> Result<Home, Setback> {
        self.turn(client, site).await?;
        match self {
            Self::Own(line) => Ok(Home::Own(site.clone(), Arc::clone(&line.kept))),
            Self::Shared(line) => line.turn.take().map(Home::Shared).ok_or(Setback::Interrupted),
        }
    }
}

impl Home {
    /// A connection for one request; with `fresh` not one that was used before.
    pub(super) async fn open(&self, client: &HttpClient, fresh: bool) -> Result<Opened, Setback> {
        match self {
            Self::Shared(turn) => turn.open(client, fresh).await,
            Self::Own(site, shelf) => {
                if let Some(opened) = shelf.take(site, client.epoch()).await
                    && !fresh
                {
                    return Ok(opened);
                }
                let always = client.options().http2 == Http2::Always;
                let opened = client.dial(site, if always { Offer::Http2 } else { Offer::Http1 }).await?;
                if let Open::Http2(connection) = &opened.open {
                    let shared = Opened { open: Open::Http2(connection.clone()), epoch: opened.epoch, kept: true };
                    shelf.put(site.clone(), shared);
                }
                Ok(opened)
            }
        }
    }

    /// Whether it is to go back unused, see [`Turn::is_of_http2`].
    pub(super) fn is_of_http2(&self) -> bool {
        matches!(self, Self::Shared(turn) if turn.is_of_http2())
    }

    /// No HTTP/2 is spoken over shared connections to this site from now on.
    pub(super) fn speak_http1(self, client: &HttpClient) {
        if let Self::Shared(turn) = self {
            turn.speak_http1(client);
        }
    }

    /// Takes a connection back when its response is over.
    pub(super) fn keep(&self, client: &HttpClient, mut connection: h1::Connection, epoch: u64) {
        if epoch != client.epoch() || !connection.is_reusable() {
            return;
        }
        connection.rest();
        match self {
            Self::Shared(turn) => turn.keep(connection, epoch),
            Self::Own(site, shelf) => {
                shelf.put(site.clone(), Opened { open: Open::Http1(connection), epoch, kept: true });
            }
        }
    }

    /// The server has said by now how many streams it bears.
    pub(super) fn note_streams(&self, allowed: usize) {
        if let Self::Shared(turn) = self {
            turn.note_streams(allowed);
        }
    }
}

impl Shelf {
    async fn take(&self, site: &Site, now: u64) -> Option<Opened> {
        let opened = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|(_, opened)| opened.epoch == now);
            let at = kept.iter().position(|(of, _)| of == site)?;
            match kept.get(at) {
                // Streams share it: it stays.
                Some((_, Opened { open: Open::Http2(connection), epoch, .. })) if connection.is_open() => {
                    return Some(Opened { open: Open::Http2(connection.clone()), epoch: *epoch, kept: true });
                }
                _ => kept.remove(at).1,
            }
        };
        match opened {
            Opened { open: Open::Http1(mut connection), epoch, kept } => {
                connection.is_ready().await.then_some(Opened { open: Open::Http1(connection), epoch, kept })
            }
            Opened { open: Open::Http2(_), .. } => None,
        }
    }

    fn put(&self, site: Site, opened: Opened) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| *of != site);
        if kept.len() >= KEPT_BY_A_LINE {
            kept.remove(0);
        }
        kept.push((site, opened));
    }
}
