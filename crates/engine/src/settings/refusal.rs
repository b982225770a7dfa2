//! Choices that can't be kept, each with the name of its field.

/// Which choice can't be kept, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingRefusal {
    /// Too few or too many downloads at once.
    #[error("concurrency is 1 to 6")]
    Concurrency,
    /// Too small or too large a text.
    #[error("text_percent is 80 to 200")]
    Text,
    /// A language there are no words in.
    #[error("language is en or ar")]
    Language,
    /// Not two minutes of a day.
    #[error("hours are two different minutes of the day, 0 to 1439")]
    Hours,
    /// Not the address of a proxy.
    #[error("a proxy is an http, https, socks5 or socks5h address with a host and nothing after it")]
    Proxy,
    /// A proxy with a password: the database is no place for one.
    #[error("a proxy that wants a name and a password is set in the system or the environment, not here")]
    ProxyPassword,
    /// So slow that every server would give up.
    #[error("a rate limit is 16384 bytes per second at least")]
    Rate,
}

impl SettingRefusal {
    /// The field, as the front end knows it, and what is wrong with it where there are several ways to be wrong.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Text => "text_percent",
            Self::Language => "language",
            Self::Hours => "hours",
            Self::Proxy => "proxy",
            Self::ProxyPassword => "proxy_password",
            Self::Rate => "rate_bytes_per_second",
        }
    }
}
