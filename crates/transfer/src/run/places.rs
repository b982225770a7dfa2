//! Places at hosts, shared by all fetches of a fetcher: [`Host`] decides, this lends it a clock and wakes who waits.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};
use url::Origin;

use crate::{
    Clock, Urgency,
    rules::hosts::{Host, Ticket, Way},
};

/// What is known of all hosts; clones are the same.
#[derive(Clone)]
pub(crate) struct Places(Arc<Shared>);

struct Shared {
    /// Connections of their own to one host at once.
    connections: usize,
    clock: Arc<dyn Clock>,
    hosts: Mutex<HashMap<Origin, Known>>,
}

struct Known {
    host: Host,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    /// A timer is running for them.
    timed: bool,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("connections", &self.0.connections).finish_non_exhaustive()
    }
}

impl Places {
    pub(crate) fn new(connections: usize, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { connections: connections.max(1), clock, hosts: Mutex::default() }))
    }

    /// A place now, or none.
    pub(crate) fn try_take(&self, origin: &Origin, way: Way, urgency: Urgency) -> Option<Place> {
        let now = self.0.clock.elapsed();
        let entered = self.with(origin, |known| known.host.enter(way, urgency, now));
        entered.then(|| self.place(origin, way))
    }

    /// A place, as soon as it is this one's turn; its urgency may change meanwhile.
    pub(crate) async fn take(&self, origin: &Origin, way: Way, mut urgency: watch::Receiver<Urgency>) -> Place {
        let wanted = *urgency.borrow_and_update();
        if let Some(place) = self.try_take(origin, way, wanted) {
            return place;
        }
        let (given, mut turn) = oneshot::channel();
        let ticket = self.with(origin, |known| {
            let ticket = known.host.wait(way, wanted);
            known.waiting.insert(ticket, given);
            ticket
        });
        let waits = Waits { places: self, origin, way, ticket, place_taken: false };
        // Someone may have left since.
        self.admit(origin);
        loop {
            tokio::select! {
                biased;
                _ = &mut turn => break,
                Ok(()) = urgency.changed() => {
                    let wanted = *urgency.borrow_and_update();
                    self.with(origin, |known| known.host.change_urgency(ticket, wanted));
                }
            }
        }
        waits.arrived();
        self.place(origin, way)
    }

    /// The host asked for patience in answer to a request begun at `asked_at`.
    pub(crate) fn busy(&self, origin: &Origin, asked_at: Duration, retry_after: Option<Duration>) {
        let now = self.0.clock.elapsed();
        self.with(origin, |known| known.host.busy(asked_at, retry_after, now));
    }

    /// The host has begun to serve a request.
    pub(crate) fn served(&self, origin: &Origin) {
        let now = self.0.clock.elapsed();
        if let Some(known) = lock(&self.0.hosts).get_mut(origin) {
            known.host.served(now);
        }
    }

    /// When the host has served a request last, since it was busy.
    pub(crate) fn served_at(&self, origin: &Origin) -> Option<Duration> {
        lock(&self.0.hosts).get(origin).and_then(|known| known.host.served_at())
    }

    /// Nobody asks the host before this moment.
    pub(crate) fn not_before(&self, origin: &Origin) -> Duration {
        lock(&self.0.hosts).get(origin).map_or(Duration::ZERO, |known| known.host.not_before())
    }

    /// Whether somebody waits for a place who should have this one.
    pub(crate) fn is_wanted(&self, origin: &Origin, way: Way, urgency: Urgency, beyond_first: bool) -> bool {
        lock(&self.0.hosts).get(origin).is_some_and(|known| known.host.is_wanted(way, urgency, beyond_first))
    }

    fn place(&self, origin: &Origin, way: Way) -> Place {
        Place { places: self.clone(), origin: origin.clone(), way }
    }

    fn leave(&self, origin: &Origin, way: Way) {
        self.with(origin, |known| known.host.leave(way));
        self.admit(origin);
    }

    /// Wakes whose turn it is, and forgets a host of which nothing is to be known.
    fn admit(&self, origin: &Origin) {
        let now = self.0.clock.elapsed();
        let mut hosts = lock(&self.0.hosts);
        let Some(known) = hosts.get_mut(origin) else { return };
        while let Some(ticket) = known.host.admit(now) {
            // Who is not there any more gives the place back when it finds out.
            if let Some(given) = known.waiting.remove(&ticket) {
                given.send(()).ok();
            }
        }
        if let Some(wait) = known.host.opens_in(now)
            && !std::mem::replace(&mut known.timed, true)
        {
            tokio::spawn(self.clone().admit_after(origin.clone(), wait));
        }
        if known.host.is_idle(now) {
            hosts.remove(origin);
        }
    }

    /// Who waits for time alone is let in when it has come.
    async fn admit_after(self, origin: Origin, wait: Duration) {
        sleep(wait).await;
        if let Some(known) = lock(&self.0.hosts).get_mut(&origin) {
            known.timed = false;
        }
        self.admit(&origin);
    }

    fn with<T>(&self, origin: &Origin, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut hosts = lock(&self.0.hosts);
        if !hosts.contains_key(origin) {
            let known = Known { host: Host::new(self.0.connections), waiting: HashMap::new(), timed: false };
            hosts.insert(origin.clone(), known);
        }
        // It has just been put there.
        let known = hosts.entry(origin.clone());
        act(known.or_insert_with(|| Known {
            host: Host::new(self.0.connections),
            waiting: HashMap::new(),
            timed: false,
        }))
    }
}

/// A place at a host; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    origin: Origin,
    way: Way,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(&self.origin, self.way);
    }
}

/// Somebody waits; when that ends early, the ticket (or the place it has already earned) goes back.
struct Waits<'a> {
    places: &'a Places,
    origin: &'a Origin,
    way: Way,
    ticket: Ticket,
    place_taken: bool,
}

impl Waits<'_> {
    fn arrived(mut self) {
        self.place_taken = true;
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.place_taken {
            return;
        }
        let waited = self.places.with(self.origin, |known| {
            known.waiting.remove(&self.ticket);
            known.host.stop_waiting(self.ticket)
        });
        if !waited {
            self.places.leave(self.origin, self.way);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[tokio::test]
    async fn places_go_to_the_urgent_and_come_back_from_those_who_left() {
        let places = Places::new(1, Arc::new(SystemClock::default()));
        let origin = url::Url::parse("http://a/").unwrap().origin();
        let wish = watch::Sender::new(Urgency::Asked);
        let place = places.take(&origin, Way::Own, wish.subscribe()).await;
        assert!(places.try_take(&origin, Way::Own, Urgency::Playing).is_none());

        let mut gave_up = Box::pin(places.take(&origin, Way::Own, wish.subscribe()));
        let later = watch::Sender::new(Urgency::Refresh);
        let mut patient = Box::pin(places.take(&origin, Way::Own, later.subscribe()));
        for waits in [&mut gave_up, &mut patient] {
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
        }
        drop(place);
        // The place was its by now; it goes on to the next.
        drop(gave_up);
        drop(patient.await);
        assert!(lock(&places.0.hosts).is_empty(), "nothing is kept of an idle host");
    }
}
