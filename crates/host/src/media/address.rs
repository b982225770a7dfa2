//! Where media are: the route a platform plays from, and the secret in the path.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use carrel_engine::model::ProfileId;
use carrel_engine::ports::Clock;
use subtle::ConstantTimeEq as _;

/// The custom protocol of platforms that play from one.
pub const SCHEME: &str = "carrel-media";

/// 128 bits that nobody guesses.
type Secret = [u8; 16];

/// How a front end gets media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// From a server of its own on the loopback interface.
    Loopback(SocketAddr),
    /// From the server the page itself came from.
    SameOrigin,
    /// From the custom protocol [`SCHEME`].
    Scheme,
}

impl Route {
    /// Whether this platform's web view plays media from loopback and not from a custom protocol.
    #[must_use]
    pub const fn needs_loopback() -> bool {
        cfg!(not(any(target_os = "macos", target_os = "ios", target_os = "android", windows)))
    }

    /// The address up to the asset's id. The only place that decides it.
    #[must_use]
    pub fn base(self, secret: &str) -> String {
        match self {
            Self::Loopback(address) => format!("http://{address}/media/{secret}/"),
            Self::SameOrigin => format!("/media/{secret}/"),
            // These web views know no foreign schemes; Tauri answers a name of its own there.
            Self::Scheme if cfg!(any(windows, target_os = "android")) => {
                format!("http://{SCHEME}.localhost/media/{secret}/")
            }
            Self::Scheme => format!("{SCHEME}://localhost/media/{secret}/"),
        }
    }
}

/// The secrets of this run, one for each learner who has asked for media. Cheap to clone.
#[derive(Clone)]
pub struct MediaAddresses {
    route: Route,
    clock: Arc<dyn Clock>,
    secrets: Arc<RwLock<Vec<(ProfileId, Secret)>>>,
}

impl fmt::Debug for MediaAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaAddresses").field("route", &self.route).finish_non_exhaustive()
    }
}

impl MediaAddresses {
    /// Addresses for a route; the clock gives the randomness.
    #[must_use]
    pub fn new(route: Route, clock: Arc<dyn Clock>) -> Self {
        Self { route, clock, secrets: Arc::default() }
    }

    /// The address of a learner's media up to the asset's id.
    #[must_use]
    pub fn base(&self, profile: ProfileId) -> String {
        self.route.base(&hex::encode(self.secret(profile)))
    }

    /// Whose secret this is. Every secret is compared in full, so that timing tells nothing.
    #[must_use]
    pub fn owner(&self, secret: &str) -> Option<ProfileId> {
        let mut given = [0; 16];
        hex::decode_to_slice(secret, &mut given).ok()?;
        let secrets = self.secrets.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut owner = None;
        for (profile, known) in secrets.iter() {
            if bool::from(known.ct_eq(&given)) {
                owner = Some(*profile);
            }
        }
        owner
    }

    fn secret(&self, profile: ProfileId) -> Secret {
        let mut secrets = self.secrets.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, secret)) = secrets.iter().find(|(owner, _)| *owner == profile) {
            return *secret;
        }
        let mut secret = [0; 16];
        self.clock.fill_random(&mut secret);
        secrets.push((profile, secret));
        secret
    }
}
