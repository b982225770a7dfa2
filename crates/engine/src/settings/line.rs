//! The line that all learners of a device share: which way connections go, and how much they may take.

use carrel_transfer::{Fetcher, Proxy};
use url::Url;

use super::{SettingRefusal, Settings};
use crate::ports::Http;

/// Less than this, and servers take a transfer for dead.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 << 10;

view! {
    /// Which way connections to the service go.
    #[derive(Eq)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    pub enum ProxyChoice {
        /// As the system or the environment says.
        System,
        /// Straight, whatever they say.
        None,
        /// Through this one.
        Url {
            /// `http://`, `https://`, `socks5://` or `socks5h://`, without name and password.
            url: String,
        },
    }
}

impl ProxyChoice {
    fn read(&self) -> Result<Proxy, SettingRefusal> {
        let url = match self {
            Self::System => return Ok(Proxy::System),
            Self::None => return Ok(Proxy::None),
            Self::Url { url } => url,
        };
        let url: Url = url.trim().parse().map_err(|_| SettingRefusal::Proxy)?;
        let known = matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !known || !bare || url.host_str().is_none_or(str::is_empty) {
            return Err(SettingRefusal::Proxy);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SettingRefusal::ProxyPassword);
        }
        Ok(Proxy::Url(url))
    }
}

/// What the device keeps of [`Settings`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct LineChoices {
    proxy: ProxyChoice,
    rate_bytes_per_second: Option<u64>,
}

impl Default for LineChoices {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl LineChoices {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { proxy: settings.proxy.clone(), rate_bytes_per_second: settings.rate_bytes_per_second }
    }

    pub(super) fn lay_over(self, settings: &mut Settings) {
        settings.proxy = self.proxy;
        settings.rate_bytes_per_second = self.rate_bytes_per_second;
    }

    pub(super) fn check(&self) -> Result<(), SettingRefusal> {
        self.proxy.read()?;
        match self.rate_bytes_per_second {
            Some(rate) if rate < SLOWEST_BYTES_PER_SECOND => Err(SettingRefusal::Rate),
            _ => Ok(()),
        }
    }
}

/// All that speaks over the network. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) fetcher: Fetcher,
    pub(crate) http: Http,
}

impl Line {
    /// Holds at once: transfers that run go on over the new way with what they have verified.
    pub(super) fn follow(&self, choices: &LineChoices) {
        // Kept by a version that knew more kinds of proxy: then as the system says.
        let proxy = choices.proxy.read().unwrap_or_default();
        if let Err(error) = self.fetcher.set_proxy(&proxy) {
            tracing::error!(%error, "transfers keep the proxy they had");
        }
        if let Err(error) = self.http.set_proxy(&proxy) {
            tracing::error!(error = %error.without_url(), "requests keep the proxy they had");
        }
        self.limit(choices);
    }

    /// As [`follow`](Self::follow) where the way is the same as before: connections are kept.
    pub(super) fn limit(&self, choices: &LineChoices) {
        self.fetcher.set_rate(choices.rate_bytes_per_second);
    }
}
