//! Tokens in the system's keyring.
//!
//! A keyring is another program: it may be missing, locked, or waiting for somebody to type. So each call runs on its own
//! thread with a bound on the wait, and a short probe at the start decides between it and the fallback file.

use std::{io, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use keyring::v1::{Entry, Error};

use super::{FileSecrets, Secrets};

/// What entries are filed under.
const APPLICATION: &str = "carrel";
/// A keyring that doesn't answer the probe in this time is none.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// A person may have to unlock it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The keyring where it answers, else the file.
pub async fn system_secrets(data_dir: &Path) -> Arc<dyn Secrets> {
    if may_exist() {
        match on_own_thread(PROBE_PATIENCE, probe).await {
            Ok(()) => return Arc::new(KeyringSecrets),
            Err(error) => tracing::info!(%error, "no keyring: tokens are kept in a file"),
        }
    }
    Arc::new(FileSecrets::new(data_dir))
}

/// The keyring of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct KeyringSecrets;

#[async_trait]
impl Secrets for KeyringSecrets {
    async fn get(&self, name: &str) -> io::Result<Option<String>> {
        let name = name.to_owned();
        on_own_thread(PATIENCE, move || match Entry::new(APPLICATION, &name)?.get_password() {
            Ok(secret) => Ok(Some(secret)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn set(&self, name: &str, secret: &str) -> io::Result<()> {
        let (name, secret) = (name.to_owned(), secret.to_owned());
        on_own_thread(PATIENCE, move || Entry::new(APPLICATION, &name)?.set_password(&secret)).await
    }

    async fn delete(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        on_own_thread(PATIENCE, move || match Entry::new(APPLICATION, &name)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    fn is_fallback(&self) -> bool {
        false
    }
}

/// Whether asking makes sense at all: without a session bus the answer would only come after a long wait.
fn may_exist() -> bool {
    if cfg!(any(target_os = "android", target_os = "ios")) {
        return false;
    }
    if cfg!(all(unix, not(target_os = "macos"))) {
        let named = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty());
        let usual = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
        return named || usual;
    }
    true
}

fn probe() -> Result<(), Error> {
    match Entry::new(APPLICATION, "probe")?.get_password() {
        Ok(_) | Err(Error::NoEntry) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Not a thread of the runtime's blocking pool: one that hangs there would keep the app from ending.
async fn on_own_thread<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("carrel-keyring".to_owned()).spawn(move || {
        // Nobody waits any more when the time was over.
        let _ = answer.send(work());
    })?;
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(result)) => result.map_err(io::Error::other),
        Ok(Err(_)) => Err(io::Error::other("the keyring thread ended without an answer")),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_decided_within_the_patience_and_what_was_chosen_works() {
        let folder = tempfile::tempdir().unwrap();
        let began = std::time::Instant::now();
        let secrets = system_secrets(folder.path()).await;
        assert!(
            began.elapsed() < PROBE_PATIENCE + Duration::from_secs(1),
            "no long wait for a keyring that isn't there"
        );
        if secrets.is_fallback() {
            secrets.set("a", "one").await.unwrap();
            assert_eq!(secrets.get("a").await.unwrap().as_deref(), Some("one"));
        }
    }
}
