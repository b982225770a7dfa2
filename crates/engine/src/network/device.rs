//! What the platform says of link and power, and whether downloads that want Wi-Fi may use the link (D8).
//!
//! Metered is not Wi-Fi. Where the platform can't say whether the link costs, the learner is asked: downloads that want
//! Wi-Fi wait until they have said that this network is fine. That holds until the link changes or the app ends, because
//! the next network may be another. One case needs no question: a service on this very machine is reached over no
//! network at all.

use std::sync::Arc;

use tokio::sync::watch;
use url::{Host, Url};

use super::Network;
use crate::{
    EngineEvent,
    background::Background,
    events::EventBus,
    ports::{Link, NetworkObserver, Power, PowerObserver},
};

view! {
    /// Link and power, as the platform says.
    #[derive(Copy, Eq)]
    pub struct DeviceView {
        /// The link.
        pub link: Link,
        /// Where power comes from.
        pub power: Power,
        /// The platform can't say whether the link costs, and the learner hasn't said either: downloads that want Wi-Fi
        /// wait for that.
        pub asks: bool,
        /// The learner has said that this network is fine.
        pub confirmed: bool,
    }
}

impl DeviceView {
    /// Whether what wants Wi-Fi may run. Without a link it waits for the network, not for Wi-Fi.
    pub(crate) const fn counts_as_wifi(&self) -> bool {
        match self.link {
            Link::Unmetered | Link::Down => true,
            Link::Metered => false,
            Link::Unknown => !self.asks,
        }
    }

    /// Whether what wants power may run. A device that can't say is taken for one that has no battery.
    pub(crate) const fn counts_as_charging(&self) -> bool {
        !matches!(self.power, Power::Battery)
    }
}

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: watch::Receiver<Link>,
    power: watch::Receiver<Power>,
    network: Network,
    /// The link that the learner has said is fine, as long as it is the same one.
    confirmed: watch::Sender<bool>,
    view: watch::Sender<DeviceView>,
    events: EventBus,
}

impl Device {
    pub(crate) fn new(
        link: &dyn NetworkObserver,
        power: &dyn PowerObserver,
        network: Network,
        events: EventBus,
        background: &Background,
    ) -> Self {
        let (link, power) = (link.link(), power.power());
        let view = view(*link.borrow(), *power.borrow(), false, network.service().as_ref());
        let (view, confirmed) = (watch::Sender::new(view), watch::Sender::new(false));
        let this = Self { inner: Arc::new(Inner { link, power, network, confirmed, view, events }) };
        let watching = this.clone();
        background.spawn(async move { watching.keep_watching().await });
        this
    }

    /// As it is now.
    #[must_use]
    pub fn state(&self) -> DeviceView {
        *self.inner.view.borrow()
    }

    /// The learner says that this network may be used, whatever it is. Holds where the platform can't say, until the link
    /// changes.
    pub fn confirm_network(&self) -> DeviceView {
        if *self.inner.link.borrow() == Link::Unknown {
            self.inner.confirmed.send_replace(true);
        }
        self.look()
    }

    /// As it is, and every change of it.
    pub(crate) fn watch(&self) -> watch::Receiver<DeviceView> {
        self.inner.view.subscribe()
    }

    async fn keep_watching(self) {
        let Inner { link, power, network, confirmed, .. } = &*self.inner;
        let (mut link, mut power, mut service) = (link.clone(), power.clone(), network.services());
        let mut before = *link.borrow_and_update();
        loop {
            self.look();
            // An observer that is gone has said its last word, and the branch is left out.
            tokio::select! {
                Ok(()) = link.changed() => {
                    let now = *link.borrow_and_update();
                    if now != before {
                        confirmed.send_replace(false);
                    }
                    before = now;
                }
                Ok(()) = power.changed() => { power.borrow_and_update(); }
                Ok(()) = service.changed() => { service.borrow_and_update(); }
                else => return,
            }
        }
    }

    fn look(&self) -> DeviceView {
        let Inner { link, power, network, confirmed, view: kept, events } = &*self.inner;
        let now = view(*link.borrow(), *power.borrow(), *confirmed.borrow(), network.service().as_ref());
        let changed = kept.send_if_modified(|kept| std::mem::replace(kept, now) != now);
        if changed {
            events.send(EngineEvent::Device { device: now });
        }
        now
    }
}

fn view(link: Link, power: Power, confirmed: bool, service: Option<&Url>) -> DeviceView {
    let unknown = link == Link::Unknown;
    let confirmed = unknown && confirmed;
    DeviceView { link, power, asks: unknown && !confirmed && !service.is_some_and(is_this_machine), confirmed }
}

fn is_this_machine(service: &Url) -> bool {
    match service.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
