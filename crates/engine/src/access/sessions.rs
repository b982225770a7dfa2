//! Tokens: in [`Secrets`] and in memory, nowhere else.
//!
//! A session is renewed by one task at a time per learner; whoever comes meanwhile waits and takes the new token. The new
//! refresh token is durable before the new access token is used: the service forgets the old one soon.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use carrel_model::{ProfileId, TimeMs, wire::auth::SignedIn};
use serde::{Deserialize, Serialize};

use crate::{EngineError, ports::Secrets};

/// The tokens of one learner.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) access_expires_at: TimeMs,
    pub(super) refresh: String,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl From<&SignedIn> for Tokens {
    fn from(answer: &SignedIn) -> Self {
        Self {
            access: answer.access_token.clone(),
            access_expires_at: answer.access_expires_at,
            refresh: answer.refresh_token.clone(),
        }
    }
}

/// All tokens of this device. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    secrets: Arc<dyn Secrets>,
    known: Arc<Mutex<BTreeMap<ProfileId, Tokens>>>,
    turns: Arc<Mutex<BTreeMap<ProfileId, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Sessions {
    pub(super) fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self { secrets, known: Arc::default(), turns: Arc::default() }
    }

    /// The tokens of a learner, if there are any.
    pub(super) async fn get(&self, profile: ProfileId) -> Result<Option<Tokens>, EngineError> {
        if let Some(tokens) = self.known().get(&profile) {
            return Ok(Some(tokens.clone()));
        }
        let kept = self.secrets.get(&name(profile)).await.map_err(unavailable)?;
        let tokens: Option<Tokens> = kept.and_then(|json| serde_json::from_str(&json).ok());
        if let Some(tokens) = &tokens {
            self.known().insert(profile, tokens.clone());
        }
        Ok(tokens)
    }

    /// Keeps them, durably.
    pub(super) async fn set(&self, profile: ProfileId, tokens: Tokens) -> Result<(), EngineError> {
        let json = serde_json::to_string(&tokens)?;
        self.secrets.set(&name(profile), &json).await.map_err(unavailable)?;
        self.known().insert(profile, tokens);
        Ok(())
    }

    /// Forgets them.
    pub(super) async fn forget(&self, profile: ProfileId) -> Result<(), EngineError> {
        self.known().remove(&profile);
        self.secrets.delete(&name(profile)).await.map_err(unavailable)
    }

    /// The right to renew a learner's session; one at a time.
    pub(super) fn turn(&self, profile: ProfileId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(profile).or_default())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ProfileId, Tokens>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(profile: ProfileId) -> String {
    format!("session-{profile}")
}

fn unavailable(source: std::io::Error) -> EngineError {
    EngineError::Io { path: "the keyring".into(), source }
}
