//! What a learner chose. One row of JSON per profile; an absent field has its default.
//!
//! Proxy and rate limit belong to the device and not to a learner: the first sign-in needs the proxy already, and all
//! learners' transfers share one line. They are kept apart, and every learner sees and sets the same.

mod hours;
mod line;
mod refusal;
mod store;

pub use hours::Hours;
pub(crate) use line::Line;
pub use line::ProxyChoice;
pub use refusal::SettingRefusal;
pub use store::SettingsStore;
pub(crate) use store::kept;

use carrel_model::content::Quality;

view! {
    /// The choices of one learner.
    #[serde(default)]
    pub struct Settings {
        /// Rendition used without another choice.
        pub default_quality: Quality,
        /// Downloads at once, 1–6.
        pub concurrency: u8,
        /// Downloads wait while the network is metered (D8). Never holds back sync.
        pub wifi_only: bool,
        /// Downloads wait outside these hours (D9); none: at any time.
        pub hours: Option<Hours>,
        /// Downloads wait while the device runs on its battery (D9).
        pub charging_only: bool,
        /// Which way connections go; the device's.
        pub proxy: ProxyChoice,
        /// What all transfers together may take per second; none: as much as there is. The device's.
        #[ts(type = "number | null")]
        pub rate_bytes_per_second: Option<u64>,
        /// Notify when a download ends.
        pub notifications: bool,
        /// `en`, `ar`, or none: the system's.
        pub language: Option<String>,
        /// Light, dark, or the system's.
        pub theme: Theme,
        /// Text size in percent, 80–200.
        pub text_percent: u16,
    }

    /// Light or dark.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum Theme {
        /// As the system says.
        System,
        /// Light.
        Light,
        /// Dark.
        Dark,
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_quality: Quality::Medium,
            concurrency: 3,
            wifi_only: true,
            hours: None,
            charging_only: false,
            proxy: ProxyChoice::System,
            rate_bytes_per_second: None,
            notifications: true,
            language: None,
            theme: Theme::System,
            text_percent: 100,
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
