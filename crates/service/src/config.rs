//! Configuration: built-in defaults, then a TOML file, then the environment, then flags; later ones win.
//!
//! The defaults alone make a working service on loopback. Secrets are not configuration: they are files in the data folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of the objects, the secrets, and the database if none is named.
    pub data: PathBuf,
    /// `postgres://user@host/name`; none: an SQLite file in the data folder. May hold a password, so it comes from the file
    /// or from `CARREL_DATABASE`, and from no flag.
    pub database: Option<DatabaseAddress>,
    /// `https://host` that signed addresses begin with; without it they are paths, to be joined with the address the app
    /// knows the service by.
    pub public_address: Option<String>,
    /// How many bytes a learner may keep downloaded over all devices; none: no limit.
    pub quota_bytes: Option<u64>,
    /// How long a signed address holds.
    pub url_lifetime_seconds: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            data: PathBuf::from(".carrel/service"),
            database: None,
            public_address: None,
            quota_bytes: None,
            url_lifetime_seconds: 15 * 60,
        }
    }
}

/// The address of a database. It may hold a password and never shows itself.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct DatabaseAddress(String);

impl DatabaseAddress {
    /// The address as a text.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for DatabaseAddress {
    fn from(address: String) -> Self {
        Self(address)
    }
}

impl std::fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseAddress(…)")
    }
}

/// Why a configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't what it should be.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        message: String,
    },
}

impl Config {
    /// Reads a TOML file on top of the defaults.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.to_owned(), message: error.to_string() })
    }

    /// The SQLite file that is the database where no other is named.
    pub(crate) fn database_file(&self) -> PathBuf {
        self.data.join("carrel-service.db")
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.data.join("objects")
    }
}
