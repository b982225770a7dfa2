//! What a learner chose. One row of JSON per profile; an absent field has its default.

use carrel_model::content::Quality;

mod store;

pub use store::SettingsStore;
pub(crate) use store::kept;

view! {
    /// The choices of one learner.
    #[serde(default)]
    pub struct Settings {
        /// Rendition used without another choice.
        pub default_quality: Quality,
        /// Downloads at once, 1–6.
        pub concurrency: u8,
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
            notifications: true,
            language: None,
            theme: Theme::System,
            text_percent: 100,
        }
    }
}
