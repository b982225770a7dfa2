//! One browser session: a key that works once, and the cookie it is exchanged for.

use std::sync::Mutex;

use carrel_engine::ports::Clock;
use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

/// The key and the cookie of this run.
#[derive(Debug)]
pub(super) struct Session {
    key: String,
    unused: Mutex<bool>,
    name: String,
    cookie: String,
}

impl Session {
    pub(super) fn new(port: u16, clock: &dyn Clock) -> Self {
        let random = || {
            let mut bytes = [0; 16];
            clock.fill_random(&mut bytes);
            hex::encode(bytes)
        };
        // Cookies don't know ports: two hosts on one machine would overwrite each other's.
        Self { key: random(), unused: Mutex::new(true), name: format!("carrel_session_{port}"), cookie: random() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Takes the key; true once.
    pub(super) fn redeem(&self, key: &str) -> bool {
        let right = bool::from(self.key.as_bytes().ct_eq(key.as_bytes()));
        let mut unused = self.unused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        right && std::mem::take(&mut *unused)
    }

    pub(super) fn set_cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.name, self.cookie)
    }

    /// Whether a request comes from the browser the key was exchanged by.
    pub(super) fn holds(&self, headers: &HeaderMap) -> bool {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| name == self.name && bool::from(value.as_bytes().ct_eq(self.cookie.as_bytes())))
    }
}
