//! Passwords: argon2id, off the async threads, as many at a time as there are cores.
//!
//! A check takes 19 MiB and a core for a while, and anybody may ask for one. So its memory is taken only once its turn has
//! come, it is kept for the next one instead of being asked for anew (allocators keep what big blocks threads give back,
//! so memory would grow with the threads that ever checked), and a queue that is too long is refused: whoever waits
//! holds no more than a request.

use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{self, Output, PasswordHash, SaltString},
};
use tokio::sync::Semaphore;

/// A password is text a person types; more is an attempt to keep the service busy.
const MAX_PASSWORD_BYTES: usize = 1024;
/// How many checks may wait: several classrooms at once, and a few seconds for the last of them.
const MAX_WAITING: usize = 128;

/// Why a password can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Empty or too long.
    #[error("a password has 1 to {MAX_PASSWORD_BYTES} bytes")]
    Length,
    /// It could not be hashed.
    #[error("the password could not be hashed: {0}")]
    Hashing(String),
    /// Too many are waiting to be checked.
    #[error("too many sign-ins at once")]
    Busy,
}

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    memories: Arc<Mutex<Vec<Vec<Block>>>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::with(available_parallelism().map_or(1, NonZero::get), MAX_WAITING)
    }
}

impl Passwords {
    fn with(at_once: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once + waiting)),
            turns: Arc::new(Semaphore::new(at_once)),
            memories: Arc::default(),
        }
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        if password.is_empty() || password.len() > MAX_PASSWORD_BYTES {
            return Err(PasswordError::Length);
        }
        self.off_thread(move |memory| hash(&password, memory)).await?
    }

    /// Whether a password is the right one. Without an account it takes as long and says no, so that the time taken does
    /// not tell which names exist.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, PasswordError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        self.off_thread(move |memory| match hash {
            Some(hash) => verify(&password, &hash, memory).unwrap_or(false),
            None => {
                let _ = verify(&password, NOBODY, memory);
                false
            }
        })
        .await
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let failed = |error: &dyn std::fmt::Display| PasswordError::Hashing(error.to_string());
        let place = self.places.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|error| failed(&error))?;
        let memories = self.memories.clone();
        tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            let kept = memories.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut memory = kept.unwrap_or_default();
            let done = work(&mut memory);
            memories.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            done
        })
        .await
        .map_err(|error| failed(&error))
    }
}

/// What no password is checked against: with the same parameters as every other, so it costs the same.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn hash(password: &str, memory: &mut Vec<Block>) -> Result<String, PasswordError> {
    let failed = |error: &dyn std::fmt::Display| PasswordError::Hashing(error.to_string());
    let salt = crate::secrets::random::<16>().map_err(|error| failed(&error))?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| failed(&error))?;
    let output = digest(&Argon2::default(), password, salt.as_salt(), Params::DEFAULT_OUTPUT_LEN, memory);
    let hash = PasswordHash {
        algorithm: Algorithm::default().ident(),
        version: Some(Version::default().into()),
        params: Argon2::default().params().try_into().map_err(|error: password_hash::Error| failed(&error))?,
        salt: Some(salt.as_salt()),
        hash: Some(output.map_err(|error| failed(&error))?),
    };
    Ok(hash.to_string())
}

/// An error if `hash` is none of ours.
fn verify(password: &str, hash: &str, memory: &mut Vec<Block>) -> password_hash::Result<bool> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Err(password_hash::Error::PhcStringField) };
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
    let argon2 = Argon2::new(Algorithm::try_from(hash.algorithm)?, version, Params::try_from(&hash)?);
    // Outputs are compared in constant time.
    Ok(digest(&argon2, password, salt, expected.len(), memory)? == expected)
}

fn digest(
    argon2: &Argon2<'_>,
    password: &str,
    salt: password_hash::Salt<'_>,
    length: usize,
    memory: &mut Vec<Block>,
) -> password_hash::Result<Output> {
    let mut buffer = [0; 64];
    let salt = salt.decode_b64(&mut buffer)?;
    memory.resize(memory.len().max(argon2.params().block_count()), Block::default());
    Output::init_with(length, |output| {
        Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, memory.as_mut_slice())?)
    })
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[tokio::test]
    async fn the_right_password_is_told_from_others_and_hashes_are_what_any_argon2_understands() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        let check = async |password: &str, hash: &str| {
            passwords.verify(password.to_owned(), Some(hash.to_owned())).await.unwrap()
        };
        assert!(check("correct horse", &hash).await);
        assert!(!check("Correct horse", &hash).await);
        assert!(!check("correct horse", "rubbish").await);
        Argon2::default().verify_password(b"correct horse", &PasswordHash::new(&hash).unwrap()).unwrap();
        let elsewhere = SaltString::encode_b64(b"another salt").unwrap();
        let elsewhere = Argon2::default().hash_password(b"correct horse", &elsewhere).unwrap().to_string();
        assert!(check("correct horse", &elsewhere).await, "hashes made before stay good");
        assert_eq!(
            Params::try_from(&PasswordHash::new(NOBODY).unwrap()).unwrap(),
            Params::try_from(&PasswordHash::new(&hash).unwrap()).unwrap(),
            "a name that does not exist costs the same"
        );
        assert!(!verify("x", NOBODY, &mut Vec::new()).unwrap(), "and is worked at, not refused as malformed");
    }

    #[tokio::test]
    async fn many_at_once_share_the_memory_of_few_and_too_many_are_refused() {
        let passwords = Passwords::with(2, 10);
        let checks = (0..40).map(|_| passwords.verify("guess".to_owned(), None));
        let answers = futures_util::future::join_all(checks).await;
        let refused = answers.iter().filter(|answer| matches!(answer, Err(PasswordError::Busy))).count();
        assert_eq!((refused, answers.len() - refused), (28, 12), "two at work and ten in the queue");
        assert!(answers.iter().flatten().all(|right| !right));
        let memories = passwords.memories.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>();
        let each = usize::try_from(Params::DEFAULT_M_COST).unwrap();
        assert!(memories.len() <= 2 && memories.iter().all(|blocks| *blocks == each), "{memories:?}");
        assert!(passwords.verify("guess".to_owned(), None).await.is_ok(), "afterwards there is room again");
    }
}
