//! Online, limited or offline: what the link says, and whether the service answers.
//!
//! The truth is what requests meet. Every request reports how far it came; while none is made, a small probe asks
//! `GET /api/v1/health`, so that the badge turns within about five seconds when the service goes or comes. A failed
//! request alone turns nothing: it makes the probe ask at once, and only its failure counts.
//!
//! What the platform says of link and power besides, and whether it may be used for downloads, is in [`device`].

pub mod device;
mod rule;

use std::{sync::Arc, time::Duration};

use carrel_model::TimeMs;
use http::Method;
use tokio::sync::{Notify, watch};
use url::Url;

use crate::{
    background::Background,
    ports::{Clock, Link, NetworkObserver},
    service_api::{Exchange, Request},
    sync::view::NetworkState,
};
pub(crate) use rule::Reached;

/// A probe that takes longer has failed.
const PROBE_PATIENCE: Duration = Duration::from_secs(4);
/// An answer that was only held up comes within this time after the network is back.
const COMES_STILL: Duration = Duration::from_secs(1);

/// What is known about the network. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: watch::Receiver<Link>,
    clock: Arc<dyn Clock>,
    /// The state and since when.
    state: watch::Sender<(NetworkState, TimeMs)>,
    /// The service that is asked: the current learner's.
    service: watch::Sender<Option<Url>>,
    ask_now: Notify,
}

impl Network {
    pub(crate) fn new(observer: &dyn NetworkObserver, clock: Arc<dyn Clock>) -> Self {
        let state = watch::Sender::new((NetworkState::Unknown, clock.now()));
        let (service, ask_now) = (watch::Sender::default(), Notify::new());
        Self { inner: Arc::new(Inner { link: observer.link(), clock, state, service, ask_now }) }
    }

    /// The badge.
    pub(crate) fn state(&self) -> NetworkState {
        self.inner.state.borrow().0
    }

    /// Since when it is what it is.
    pub(crate) fn since(&self) -> TimeMs {
        self.inner.state.borrow().1
    }

    /// The badge and every change of it.
    pub(crate) fn watch(&self) -> watch::Receiver<(NetworkState, TimeMs)> {
        self.inner.state.subscribe()
    }

    /// Whether the system says that there is no network.
    pub(crate) fn is_link_down(&self) -> bool {
        *self.inner.link.borrow() == Link::Down
    }

    /// Returns when the network went away and has been back for a moment: what was asked before hangs on a connection that
    /// is dead. Never, where it is away already: then whoever asks knows that it is trying.
    pub(crate) async fn was_away(&self) {
        let away = |state: NetworkState| matches!(state, NetworkState::Limited | NetworkState::Offline);
        let mut state = self.watch();
        if away(state.borrow_and_update().0) {
            return std::future::pending().await;
        }
        // The sender lives as long as this.
        let _ = state.wait_for(|(state, _)| away(*state)).await;
        let _ = state.wait_for(|(state, _)| *state == NetworkState::Online).await;
        tokio::time::sleep(COMES_STILL).await;
    }

    /// From now on the badge speaks of this service; of none while nobody is signed in.
    pub(crate) fn watch_service(&self, service: Option<Url>) {
        let changed = self.inner.service.send_if_modified(|watched| {
            let changed = *watched != service;
            *watched = service;
            changed
        });
        if changed {
            self.turn(NetworkState::Unknown);
            self.inner.ask_now.notify_one();
        }
    }

    /// A request to a service came so far.
    pub(crate) fn report(&self, base: &Url, reached: Reached) {
        if self.service().as_ref() != Some(base) {
            return;
        }
        match reached {
            Reached::Service => self.turn(NetworkState::Online),
            Reached::SomethingElse | Reached::Nothing if self.state() == NetworkState::Online => {
                self.inner.ask_now.notify_one();
            }
            Reached::SomethingElse | Reached::Nothing => {}
        }
    }

    /// Asks now, whatever the pace is: "Sync now", the app coming to the foreground.
    pub(crate) fn ask_now(&self) {
        self.inner.ask_now.notify_one();
    }

    /// Starts probing.
    pub(crate) fn start(&self, exchange: Exchange, background: &Background) {
        let this = self.clone();
        background.spawn(async move { this.keep_asking(exchange).await });
    }

    async fn keep_asking(self, exchange: Exchange) {
        let mut link = self.inner.link.clone();
        let mut failures = 0;
        loop {
            let now = *link.borrow_and_update();
            match (now, self.service()) {
                (Link::Down, _) => self.turn(NetworkState::Offline),
                (_, None) => self.turn(NetworkState::Unknown),
                (_, Some(service)) => {
                    let reached = probe(&exchange, &service).await;
                    failures = if reached == Reached::Service { 0 } else { failures + 1 };
                    if self.service().as_ref() == Some(&service) {
                        self.turn(rule::state(*link.borrow(), reached));
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(rule::pause(now, failures)) => {}
                () = self.inner.ask_now.notified() => {}
                changed = link.changed() => {
                    failures = 0;
                    if changed.is_err() {
                        // The observer is gone: its last word stays, the pace goes on.
                        tokio::time::sleep(rule::pause(now, failures)).await;
                    }
                }
            }
        }
    }

    /// The service the badge speaks of.
    pub(crate) fn service(&self) -> Option<Url> {
        self.inner.service.borrow().clone()
    }

    /// The service the badge speaks of, and every change of it.
    pub(crate) fn services(&self) -> watch::Receiver<Option<Url>> {
        self.inner.service.subscribe()
    }

    fn turn(&self, state: NetworkState) {
        let now = self.inner.clock.now();
        self.inner.state.send_if_modified(|kept| {
            let changed = kept.0 != state;
            if changed {
                *kept = (state, now);
            }
            changed
        });
    }
}

async fn probe(exchange: &Exchange, service: &Url) -> Reached {
    let request = Request {
        method: Method::GET,
        base: service,
        path: "health",
        query: &[],
        body: None,
        bearer: None,
        patience: PROBE_PATIENCE,
    };
    exchange.probe(request).await
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
