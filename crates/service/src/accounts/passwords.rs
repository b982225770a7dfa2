//! Passwords: argon2id, off the async threads, a few at a time – each takes memory and a core.

use std::sync::{Arc, LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString},
};
use tokio::sync::Semaphore;

/// A password is text a person types; more is an attempt to keep the service busy.
const MAX_PASSWORD_BYTES: usize = 1024;
/// At the default parameters each check takes 19 MiB.
const AT_ONCE: usize = 4;

/// Why a password can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty or too long.
    #[error("a password has 1 to {MAX_PASSWORD_BYTES} bytes")]
    Length,
    /// It could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hashing(String),
}

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    /// The PHC string of a password.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::Length);
        }
        self.off_thread(move || hash(&password)).await.unwrap_or_else(|error| Err(PasswordError::Hashing(error)))
    }

    /// Whether a password is the right one. Without an account it takes as long and says no, so that the time taken does
    /// not tell which names exist.
    pub async fn verify(&self, password: String, hash: Option<String>) -> bool {
        if password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        let checked = self.off_thread(move || match hash {
            Some(hash) => verify(&password, &hash),
            None => {
                verify(&password, &NOBODY);
                false
            }
        });
        checked.await.unwrap_or(false)
    }

    async fn off_thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
        .map_err(|error| error.to_string())
    }
}

static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody's password").unwrap_or_default());

fn hash(password: &str) -> Result<String, PasswordError> {
    let failed = |error: &dyn std::fmt::Display| PasswordError::Hashing(error.to_string());
    let salt = crate::secrets::random::<16>().map_err(|error| failed(&error))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| failed(&error))?;
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|error| failed(&error))?;
    Ok(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}
