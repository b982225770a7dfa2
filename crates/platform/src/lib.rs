//! What the operating system says of network and power, for [`carrel_engine::Ports`].
//!
//! On Linux NetworkManager and UPower are asked over D-Bus, on Windows the connection's cost and the power manager; both
//! tell of changes by themselves. Android is asked by the shell, which has the only way to it, and tells it here. macOS and
//! iOS say what a link costs in interfaces that take unsafe code, which Carrel has none of: there, and wherever nobody
//! answers, the link is `Unknown`, the learner is asked, and nothing is guessed.
//!
//! A crate of its own, because both programs that open an engine need it, the shell and the HTTP host, and because so it is
//! tested without either.

#[cfg(target_os = "linux")]
pub mod linux;
#[cfg(windows)]
mod windows;

use std::sync::Arc;

use carrel_engine::{Ports, ports::Observed};

pub use carrel_engine::ports::{Link, Power};

/// The observers of this machine. Clones are the same.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The link to the network.
    pub link: Arc<Observed<Link>>,
    /// Where power comes from.
    pub power: Arc<Observed<Power>>,
}

impl Default for Platform {
    /// One that knows nothing, until it is told.
    fn default() -> Self {
        Self { link: Arc::new(Observed::new(Link::Unknown)), power: Arc::new(Observed::new(Power::Unknown)) }
    }
}

impl Platform {
    /// Watches from now on, for as long as the process lives. To be called within a Tokio runtime.
    #[must_use]
    pub fn watch() -> Self {
        let platform = Self::default();
        #[cfg(target_os = "linux")]
        linux::watch_system(&platform);
        #[cfg(windows)]
        windows::watch(&platform);
        platform
    }

    /// Tells what is new; what is not new wakes nobody.
    pub fn say(&self, link: Link, power: Power) {
        if self.link.now() != link {
            self.link.say(link);
        }
        if self.power.now() != power {
            self.power.say(power);
        }
    }

    /// Puts these observers in the place of those that know nothing.
    #[must_use]
    pub fn within(&self, ports: Ports) -> Ports {
        Ports { network: Arc::clone(&self.link) as _, power: Arc::clone(&self.power) as _, ..ports }
    }
}
