//! What the shell says outside the page: tray and notifications, in English and Arabic.

/// A language of the message catalogues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Arabic,
}

impl Language {
    /// The learner's choice, else the system's.
    pub(crate) fn of(choice: Option<&str>) -> Self {
        let system = sys_locale::get_locale();
        let tag = choice.or(system.as_deref()).unwrap_or("en");
        if tag == "ar" || tag.starts_with("ar-") || tag.starts_with("ar_") { Self::Arabic } else { Self::English }
    }

    #[cfg(desktop)]
    pub(crate) const fn show(self) -> &'static str {
        match self {
            Self::English => "Show Carrel",
            Self::Arabic => "إظهار Carrel",
        }
    }

    #[cfg(desktop)]
    pub(crate) const fn sync_now(self) -> &'static str {
        match self {
            Self::English => "Sync now",
            Self::Arabic => "المزامنة الآن",
        }
    }

    #[cfg(desktop)]
    pub(crate) const fn quit(self) -> &'static str {
        match self {
            Self::English => "Quit",
            Self::Arabic => "إنهاء",
        }
    }

    pub(crate) const fn ready_offline(self) -> &'static str {
        match self {
            Self::English => "Ready offline",
            Self::Arabic => "جاهز دون اتصال",
        }
    }

    pub(crate) const fn download_failed(self) -> &'static str {
        match self {
            Self::English => "Download failed",
            Self::Arabic => "فشل التنزيل",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Language;

    #[test]
    fn the_learners_choice_comes_before_the_systems() {
        assert_eq!(Language::of(Some("ar")), Language::Arabic);
        assert_eq!(Language::of(Some("ar-EG")), Language::Arabic);
        assert_eq!(Language::of(Some("en")), Language::English);
        // Aragonese and Mapudungun begin alike and are other languages.
        assert_eq!(Language::of(Some("arn")), Language::English);
    }
}
