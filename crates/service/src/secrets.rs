//! The service's own secrets: made on first start, kept as files only their owner can read.
//!
//! They are files and not rows, so that a copy of the database alone can neither sign a lease nor an address.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use carrel_model::lease::LeaseKey;
use ed25519_dalek::SigningKey;
use rand::TryRngCore as _;

/// Why the secrets can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read or made.
    #[error("{path}: {source}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file doesn't hold 32 bytes as hex digits.
    #[error("{path} does not hold a key of this service")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// What the service signs with.
#[derive(Clone)]
pub struct Secrets {
    /// Signs addresses of blobs (HMAC-SHA256).
    pub(crate) url_key: [u8; 32],
    /// Signs leases (Ed25519).
    pub(crate) lease_key: SigningKey,
    /// The name of the lease key.
    pub(crate) lease_key_id: String,
}

impl Secrets {
    /// Reads the secrets of a data folder, making those that are missing.
    pub fn load_or_create(data: &Path) -> Result<Self, SecretError> {
        let url_key = load_or_create(&data.join("url-signing.key"))?;
        let lease_key = SigningKey::from_bytes(&load_or_create(&data.join("lease-signing.key"))?);
        let lease_key_id = hex::encode(lease_key.verifying_key().as_bytes()).chars().take(16).collect();
        Ok(Self { url_key, lease_key, lease_key_id })
    }

    /// What devices pin.
    #[must_use]
    pub fn lease_keys(&self) -> Vec<LeaseKey> {
        vec![LeaseKey::of(&self.lease_key_id, &self.lease_key)]
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

fn load_or_create(path: &Path) -> Result<[u8; 32], SecretError> {
    let unusable = |source| SecretError::Unusable { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) => decode(path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = random::<32>().map_err(unusable)?;
            match create(path, &hex::encode(key)) {
                Ok(()) => Ok(key),
                // Another process was first; its key is the one.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    decode(path, &std::fs::read_to_string(path).map_err(unusable)?)
                }
                Err(error) => Err(unusable(error)),
            }
        }
        Err(error) => Err(unusable(error)),
    }
}

fn decode(path: &Path, text: &str) -> Result<[u8; 32], SecretError> {
    let mut key = [0; 32];
    hex::decode_to_slice(text.trim(), &mut key).map_err(|_| SecretError::Malformed { path: path.to_owned() })?;
    Ok(key)
}

/// Writes beside and links into place, so that no other process ever reads half a key.
fn create(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension(format!("part-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&part, path);
    std::fs::remove_file(&part)?;
    linked
}
