//! The command line.

use std::{path::PathBuf, str::FromStr};

use carrel_transfer::Http2;
use clap::{Parser, ValueEnum};
use url::Url;

/// Fetches a blob into a verified, durable file, or many into a folder.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// The manifest as JSON (`--example manifest` makes one): of a blob hash, size, pieces; of many
    /// {"files":[{"path",hash,size,pieces},…]}, an array of these, or one of these per line.
    #[arg(long)]
    pub(crate) manifest: PathBuf,
    /// The file to write, continued when it is there; for many the folder.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Where to remember verified pieces between runs: a file; for many a folder. If not given: beside or in OUT, and
    /// removed when all is there.
    #[arg(long)]
    pub(crate) journal: Option<PathBuf>,
    /// PEM file of an authority to trust beside the system's.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// Where the blob is, best first; for many the addresses that each path is joined to.
    #[arg(long, num_args = 1.., value_name = "URL")]
    pub(crate) sources: Vec<Url>,
    /// Connections per host at most, 1 to 16; of many files half of them for big ones and half for small ones, one each at
    /// least. If not given: 4 for big blobs, and 8 shared ones for small blobs where the server has no HTTP/2.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) connections: Option<u8>,
    /// Bytes per second at most, over all connections; with k, M, G (thousands) or Ki, Mi, Gi. 0: no limit.
    #[arg(long, value_name = "BYTES")]
    pub(crate) rate: Option<Rate>,
    /// HTTP/2 for small blobs where the server offers it (auto), for everything, without TLS too (always; also when no
    /// value is given), or not at all (off).
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_value = "auto", default_missing_value = "always")]
    pub(crate) http2: WhenHttp2,
    /// A connection that brings next to nothing for so many seconds is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) stall: u64,
    /// Attempts in a row without progress before it ends with an error.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) attempts: u32,
    /// More sources, after those of --sources.
    #[arg(required_unless_present = "sources")]
    pub(crate) urls: Vec<Url>,
}

impl Arguments {
    /// All sources, best first.
    pub(crate) fn all_sources(&self) -> Vec<Url> {
        self.sources.iter().chain(&self.urls).cloned().collect()
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WhenHttp2 {
    Auto,
    Always,
    Off,
}

impl From<WhenHttp2> for Http2 {
    fn from(when: WhenHttp2) -> Self {
        match when {
            WhenHttp2::Auto => Self::Auto,
            WhenHttp2::Always => Self::Always,
            WhenHttp2::Off => Self::Never,
        }
    }
}

/// Bytes per second; `None` when there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) Option<u64>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kb" => 1e3,
            "m" | "mb" => 1e6,
            "g" | "gb" => 1e9,
            "ki" | "kib" => 1024.0,
            "mi" | "mib" => 1024.0 * 1024.0,
            "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(format!("unknown unit {unit:?}; k, M, G, Ki, Mi and Gi are known")),
        };
        let number: f64 = number.parse().map_err(|_| "not a number".to_owned())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float becomes the nearest u64")]
        let bytes = (number * factor).round() as u64;
        Ok(Self((bytes > 0).then_some(bytes)))
    }
}
