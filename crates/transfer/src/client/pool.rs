//! The shared connections: HTTP/2 streams, or a few kept-alive HTTP/1.1 connections for each site.
//!
//! A request first waits for its *turn*. A site that nobody has reached yet has one turn, so that a hundred requests don't
//! open a hundred connections to learn that one would do; then it has as many as its protocol bears. When the site can't
//! be reached, all who waited behind the one who tried are told so, rather than trying one after the other. When it serves
//! others meanwhile, and only lets no further connection in, there is one turn fewer and nobody else hears of it.
//!
//! Connections nobody used for a while are closed, so that a queue that has come to its end leaves none open.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::{
    HttpClient, WeakClient,
    connection::{Open, Opened},
    h1, http2,
    site::Site,
    tls::Offer,
};
use crate::rules::patience::Setback;

/// Sites remembered although nothing goes on there.
const QUIET_SITES: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Pool {
    desks: Mutex<HashMap<Site, Arc<Desk>>>,
    /// Whether a task closes what nobody uses.
    swept: AtomicBool,
}

/// What is known and open of one site.
#[derive(Debug)]
struct Desk {
    site: Site,
    turns: Arc<Semaphore>,
    state: Mutex<State>,
    /// Held while a connection is being opened that others may share.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether it is HTTP/2.
    known: Option<bool>,
    /// It has said that it wants HTTP/1.1, whatever it agreed to before.
    wants_http1: bool,
    /// How many turns there are, those taken included.
    turns: usize,
    /// Whether the last attempt to open a connection went well.
    reached: bool,
    /// Connections opened, and responses that left theirs usable.
    successes: u64,
    failures: u64,
    failure: Option<Setback>,
    idle: Vec<(u64, h1::Connection)>,
    http2: Option<(u64, http2::Connection)>,
    used_at: Option<Instant>,
}

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    desk: Arc<Desk>,
    permit: OwnedSemaphorePermit,
    /// Given when the site was known to want HTTP/1.1: then there are fewer.
    http1: bool,
}

impl Pool {
    /// Waits until a request to this site may start.
    pub(super) async fn turn(&self, client: &HttpClient, site: &Site) -> Result<Turn, Setback> {
        if !self.swept.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(client.downgrade()));
        }
        let desk = self.desk(client, site);
        let failures = desk.state().failures;
        let waiting = Arc::clone(&desk.turns).acquire_owned();
        let permit = waiting.await.map_err(|_| Setback::Interrupted)?;
        let http1 = {
            let state = desk.state();
            if let Some(failure) = state.failure.as_ref().filter(|_| !state.reached && state.failures != failures) {
                return Err(failure.clone());
            }
            state.wants_http1
        };
        Ok(Turn { desk, permit, http1 })
    }

    /// Drops every connection nobody uses, and takes back none of those in use.
    pub(super) fn forget(&self) {
        for desk in self.desks.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let mut state = desk.state();
            state.idle.clear();
            state.http2 = None;
        }
    }

    /// Closes the connections to this site that nobody uses: a server that lets in no more may count them.
    pub(super) fn make_way(&self, site: &Site) {
        if let Some(desk) = self.desks.lock().unwrap_or_else(PoisonError::into_inner).get(site) {
            desk.state().idle.clear();
        }
    }

    /// Closes what nobody has used for so long. `false`: nothing is open any more.
    pub(super) fn close_unused(&self, since: Duration) -> bool {
        let mut open = false;
        for desk in self.desks.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let mut state = desk.state();
            state.idle.retain(|(_, connection)| connection.unused_for() < since);
            let in_use = Arc::strong_count(desk) > 1;
            if !in_use && state.used_at.is_none_or(|used_at| used_at.elapsed() >= since) {
                state.http2 = None;
            }
            open |= in_use || state.http2.is_some() || !state.idle.is_empty();
        }
        open
    }

    fn desk(&self, client: &HttpClient, site: &Site) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.get(site) {
            return Arc::clone(desk);
        }
        if desks.len() >= QUIET_SITES {
            desks.retain(|_, desk| Arc::strong_count(desk) > 1);
        }
        let known = (client.offer(site) == Offer::Http1).then_some(false);
        // The first finds out whether anybody is there.
        let turns = 1;
        let desk = Arc::new(Desk {
            site: site.clone(),
            turns: Arc::new(Semaphore::new(turns)),
            state: Mutex::new(State { known, turns, ..State::default() }),
            opening: tokio::sync::Mutex::default(),
        });
        desks.insert(site.clone(), Arc::clone(&desk));
        desk
    }
}

impl Turn {
    pub(super) fn is_for(&self, site: &Site) -> bool {
        self.desk.site == *site
    }

    /// Whether it was given before the site was known to want HTTP/1.1.
    pub(super) fn is_of_http2(&self) -> bool {
        !self.http1 && self.desk.state().wants_http1
    }

    /// No HTTP/2 is spoken with this site from now on, and this turn was one of many that there aren't any more.
    pub(super) fn speak_http1(self, client: &HttpClient) {
        let Self { desk, permit, .. } = self;
        let most = client.options().connections.max(1);
        let mut state = desk.state();
        (state.wants_http1, state.known, state.http2) = (true, Some(false), None);
        desk.set_turns(&mut state, most);
        if state.turns > most {
            state.turns -= 1;
            permit.forget();
        }
    }

    /// A connection for one request; with `fresh` not a kept HTTP/1.1 connection.
    pub(super) async fn open(&self, client: &HttpClient, fresh: bool) -> Result<Opened, Setback> {
        let desk = &*self.desk;
        desk.state().used_at = Some(Instant::now());
        if !fresh && let Some(opened) = desk.kept(client).await {
            return Ok(opened);
        }
        if desk.state().known == Some(false) {
            return desk.dial(client).await;
        }
        let _opening = desk.opening.lock().await;
        match desk.kept_http2(client.epoch()) {
            Some(opened) => Ok(opened),
            None => desk.dial(client).await,
        }
    }

    /// Takes a connection back that can be used again.
    pub(super) fn keep(&self, connection: h1::Connection, epoch: u64) {
        let mut state = self.desk.state();
        state.successes += 1;
        state.idle.push((epoch, connection));
    }

    /// The server has said by now how many streams it bears.
    pub(super) fn note_streams(&self, allowed: usize) {
        let mut state = self.desk.state();
        if state.known == Some(true) {
            self.desk.set_turns(&mut state, allowed.clamp(1, http2::STREAMS));
        }
    }
}

/// Closes what nobody uses, until nothing is open or the client is gone.
async fn sweep(client: WeakClient) {
    loop {
        sleep(h1::IDLE_LIMIT / 2).await;
        let Some(client) = client.upgrade() else { return };
        // Given up before looking: whoever opens a connection meanwhile starts another sweep.
        client.pool().swept.store(false, Ordering::Release);
        if !client.pool().close_unused(h1::IDLE_LIMIT) || client.pool().swept.swap(true, Ordering::AcqRel) {
            return;
        }
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn kept(&self, client: &HttpClient) -> Option<Opened> {
        let now = client.epoch();
        if let Some(opened) = self.kept_http2(now) {
            return Some(opened);
        }
        loop {
            let (epoch, mut connection) = self.state().idle.pop()?;
            if epoch == now && connection.is_ready().await {
                return Some(Opened { open: Open::Http1(connection), epoch, kept: true });
            }
        }
    }

    fn kept_http2(&self, now: u64) -> Option<Opened> {
        let mut state = self.state();
        state.http2.take_if(|(epoch, connection)| *epoch != now || !connection.is_open());
        let (epoch, connection) = state.http2.as_ref()?;
        Some(Opened { open: Open::Http2(connection.clone()), epoch: *epoch, kept: true })
    }

    async fn dial(&self, client: &HttpClient) -> Result<Opened, Setback> {
        let (before, offer) = {
            let state = self.state();
            (state.successes, if state.wants_http1 { Offer::Http1 } else { client.offer(&self.site) })
        };
        let dialled = client.dial(&self.site, offer).await;
        let mut state = self.state();
        state.successes += u64::from(dialled.is_ok());
        match &dialled {
            // Who has begun to open it didn't know yet.
            Ok(Opened { open: Open::Http2(_), .. }) if state.wants_http1 => {}
            Ok(Opened { open: Open::Http2(connection), epoch, .. }) => {
                state.http2 = Some((*epoch, connection.clone()));
                if state.known != Some(true) || !state.reached {
                    self.set_turns(&mut state, http2::STREAMS.min(connection.streams_allowed()));
                }
                (state.known, state.reached) = (Some(true), true);
            }
            Ok(_) => {
                self.set_turns(&mut state, client.options().connections.max(1));
                (state.known, state.reached) = (Some(false), true);
            }
            Err(_) if state.reached && state.known == Some(false) && state.successes != before => {
                let fewer = state.turns.saturating_sub(1).max(1);
                self.set_turns(&mut state, fewer);
            }
            Err(setback) => {
                // One at a time finds out whether anybody is there again; the others hear of it.
                self.set_turns(&mut state, 1);
                state.reached = false;
                state.failures += 1;
                state.failure = Some(setback.clone());
            }
        }
        dialled
    }

    /// More turns at once; fewer as far as they aren't taken, and the rest next time.
    fn set_turns(&self, state: &mut State, turns: usize) {
        if turns > state.turns {
            self.turns.add_permits(turns - state.turns);
            state.turns = turns;
        } else {
            state.turns -= self.turns.forget_permits(state.turns - turns);
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
