//! What the operating system says of network and power.
//!
//! A platform that can't say says so: `Unknown` is an answer of its own, and the engine asks the learner instead of guessing.

use std::fmt;

use tokio::sync::watch;

/// What the operating system says about the network. Whether the *service* answers, the engine finds out itself.
pub trait NetworkObserver: Send + Sync + fmt::Debug {
    /// The present link, and every change of it. The same link told again is a hint that something about it is new (a
    /// captive portal, another address): the engine asks the service at once.
    fn link(&self) -> watch::Receiver<Link>;
}

/// What the operating system says about power.
pub trait PowerObserver: Send + Sync + fmt::Debug {
    /// Where power comes from, and every change of it.
    fn power(&self) -> watch::Receiver<Power>;
}

view! {
    /// The link to the network.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Link {
        /// There is none.
        Down,
        /// There is one, and it costs.
        Metered,
        /// There is one, and it doesn't: Wi-Fi or a cable.
        Unmetered,
        /// The platform can't say; the engine tries, and the learner is asked before what costs.
        Unknown,
    }

    /// Where power comes from.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Power {
        /// From the mains: a battery, where there is one, is charging or full.
        Charging,
        /// From the battery.
        Battery,
        /// The platform can't say.
        Unknown,
    }
}

/// An observer that is told: by a platform's own signals, or by a test.
#[derive(Debug)]
pub struct Observed<T>(watch::Sender<T>);

impl<T: Copy + PartialEq> Observed<T> {
    /// As it is at first.
    #[must_use]
    pub fn new(first: T) -> Self {
        Self(watch::Sender::new(first))
    }

    /// As it is from now on; what is the same is told as well.
    pub fn say(&self, now: T) {
        self.0.send_replace(now);
    }

    /// As it was said last.
    #[must_use]
    pub fn now(&self) -> T {
        *self.0.borrow()
    }
}

impl NetworkObserver for Observed<Link> {
    fn link(&self) -> watch::Receiver<Link> {
        self.0.subscribe()
    }
}

impl PowerObserver for Observed<Power> {
    fn power(&self) -> watch::Receiver<Power> {
        self.0.subscribe()
    }
}

/// The observer of a platform that can't say: the engine finds out by asking the service.
#[derive(Debug)]
pub struct UnknownLink(Observed<Link>);

impl Default for UnknownLink {
    fn default() -> Self {
        Self(Observed::new(Link::Unknown))
    }
}

impl NetworkObserver for UnknownLink {
    fn link(&self) -> watch::Receiver<Link> {
        self.0.link()
    }
}
