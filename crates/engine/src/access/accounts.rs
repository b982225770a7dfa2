//! What the other rooms need of access: addresses, bearers, leases, trusted time. The use cases are in [`super::Access`],
//! which needs those rooms in turn (signing out sends first); so that no two rooms hold each other, this part stands alone.

use std::{sync::Arc, time::Duration};

use carrel_model::{
    CourseId, DeviceId, ErrorCode, ProfileId, TimeMs,
    lease::{LeaseError, LeaseKey, Refusal, SignedLease},
    time::MINUTE_MS,
    wire::auth::{RefreshRequest, SignInRequest, SignedIn},
};
use http::Method;
use serde::Serialize;
use url::Url;

use super::{
    profiles::{self, Profile},
    sessions::{Sessions, Tokens},
    trusted::Trusted,
};
use crate::{
    EngineError, EngineEvent,
    events::EventBus,
    library::Library,
    ports::{Clock, Secrets},
    service_api::{ApiError, Exchange, Request},
};

/// A token that ends so soon is renewed before it is used.
const RENEW_EARLY_MS: i64 = MINUTE_MS;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Accounts {
    library: Library,
    events: EventBus,
    exchange: Exchange,
    sessions: Sessions,
    trusted: Trusted,
    clock: Arc<dyn Clock>,
}

impl Accounts {
    pub(crate) async fn open(
        library: Library,
        events: EventBus,
        exchange: Exchange,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, sqlx::Error> {
        let trusted = Trusted::open(library.clone(), Arc::clone(&clock)).await?;
        Ok(Self { library, events, exchange, sessions: Sessions::new(secrets), trusted, clock })
    }

    /// Trusted time in the place of the wall clock.
    pub(crate) fn trusted_clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.trusted.clone())
    }

    /// Trusted time now.
    pub(crate) fn trusted_now(&self) -> TimeMs {
        self.trusted.now()
    }

    /// The service said what time it is.
    pub(crate) fn service_said(&self, time: TimeMs) {
        self.trusted.service_said(time);
    }

    /// How far the wall clock is off, when it is worth telling.
    pub(crate) fn wall_clock_off_by_ms(&self) -> Option<i64> {
        self.trusted.wall_clock_off_by_ms()
    }

    /// Writes trusted time down.
    pub(crate) async fn keep_trusted_time(&self) -> Result<(), EngineError> {
        self.trusted.keep().await
    }

    /// A learner of this device.
    pub(crate) async fn profile(&self, profile: ProfileId) -> Result<Profile, EngineError> {
        profiles::get(self.library.readers(), profile).await
    }

    /// The learners whose session holds.
    pub(crate) async fn signed_in(&self) -> Result<Vec<ProfileId>, EngineError> {
        let all = profiles::list(self.library.readers()).await?;
        Ok(all.into_iter().filter(|profile| profile.signed_in).map(|profile| profile.id).collect())
    }

    /// The learner in use, if their session holds: theirs is the queue that runs. Who comes back finds theirs going on.
    pub(crate) async fn learning_now(&self) -> Result<Vec<ProfileId>, EngineError> {
        let current = profiles::current(self.library.readers()).await?;
        Ok(current.filter(|profile| profile.signed_in).map(|profile| profile.id).into_iter().collect())
    }

    /// All learners of this device.
    pub(crate) async fn all(&self) -> Result<Vec<ProfileId>, EngineError> {
        Ok(profiles::list(self.library.readers()).await?.into_iter().map(|profile| profile.id).collect())
    }

    /// Where a learner's service is.
    pub(crate) async fn service_url(&self, profile: ProfileId) -> Result<Url, EngineError> {
        self.profile(profile).await?.service()
    }

    /// A bearer for the service. `refused`: the one the service has just refused, so that it is renewed, once, by whoever
    /// comes first.
    pub(crate) async fn bearer(&self, profile: ProfileId, refused: Option<&str>) -> Result<String, ApiError> {
        let usable = |tokens: &Tokens| {
            Some(tokens.access.as_str()) != refused
                && tokens.access_expires_at.since(self.trusted_now()) > RENEW_EARLY_MS
        };
        let turn = self.sessions.turn(profile);
        let known = self.profile(profile).await?;
        if !known.signed_in {
            return Err(ApiError::SignInNeeded);
        }
        match self.sessions.get(profile).await? {
            Some(tokens) if usable(&tokens) => return Ok(tokens.access),
            Some(_) => {}
            None => return self.lost(profile).await,
        }
        let _turn = turn.lock().await;
        let Some(tokens) = self.sessions.get(profile).await? else { return self.lost(profile).await };
        if usable(&tokens) {
            return Ok(tokens.access);
        }
        let request = RefreshRequest { refresh_token: tokens.refresh, device_id: known.device_id };
        match self.ask(&known.service()?, "auth/refresh", &request).await {
            Ok(answer) => {
                let tokens = Tokens::from(&answer);
                self.sessions.set(profile, tokens.clone()).await?;
                self.service_said(answer.server_time);
                if let Err(error) = self.take_lease(profile, &answer.lease).await {
                    tracing::warn!(%error, "a renewed lease was not taken");
                }
                Ok(tokens.access)
            }
            Err(ApiError::Refused { status: 401, .. }) => self.lost(profile).await,
            Err(error) => Err(error),
        }
    }

    async fn lost(&self, profile: ProfileId) -> Result<String, ApiError> {
        self.session_ended(profile).await?;
        Err(ApiError::SignInNeeded)
    }

    /// The service no longer knows the session. Everything stays; sending waits for the next sign-in.
    pub(crate) async fn session_ended(&self, profile: ProfileId) -> Result<(), EngineError> {
        let mut tx = self.library.write().await?;
        let news = profiles::set_signed_in(&mut tx, profile, false).await?;
        tx.commit().await?;
        if news {
            tracing::info!(%profile, "the session has ended");
            self.sessions.forget(profile).await?;
            self.events.send(EngineEvent::Profiles);
        }
        Ok(())
    }

    /// Asks for a session.
    pub(super) async fn request_session(&self, service: &Url, request: &SignInRequest) -> Result<SignedIn, ApiError> {
        let answer = self.ask(service, "auth/sign-in", request).await?;
        self.service_said(answer.server_time);
        Ok(answer)
    }

    /// Ends the session at the service, if it can be reached; a token that is forgotten here harms nobody.
    pub(super) async fn end_session(&self, profile: &Profile) -> Result<(), EngineError> {
        if let (Ok(service), Ok(Some(tokens))) = (profile.service(), self.sessions.get(profile.id).await) {
            let request = Request {
                method: Method::POST,
                base: &service,
                path: "auth/sign-out",
                query: &[],
                body: None,
                bearer: Some(&tokens.access),
                patience: Duration::from_secs(3),
            };
            if let Err(error) = self.exchange.perform::<serde::de::IgnoredAny>(request).await {
                tracing::info!(%error, "the service was not told of the sign-out");
            }
        }
        self.sessions.forget(profile.id).await
    }

    pub(super) async fn keep_tokens(&self, profile: ProfileId, answer: &SignedIn) -> Result<(), EngineError> {
        let turn = self.sessions.turn(profile);
        let _turn = turn.lock().await;
        self.sessions.set(profile, Tokens::from(answer)).await
    }

    async fn ask(&self, service: &Url, path: &str, body: &impl Serialize) -> Result<SignedIn, ApiError> {
        let body = serde_json::to_vec(body).map_err(EngineError::from)?;
        let patience = Duration::from_secs(30);
        let method = Method::POST;
        let request = Request { method, base: service, path, query: &[], body: Some(body), bearer: None, patience };
        self.exchange.perform(request).await
    }

    /// Takes a fresh lease from a sync, if it is signed with a pinned key and meant for this learner and device.
    pub(crate) async fn take_lease(&self, profile: ProfileId, lease: &SignedLease) -> Result<(), EngineError> {
        let known = self.profile(profile).await?;
        let Some((_, keys)) = profiles::lease(self.library.readers(), profile).await? else {
            return Err(EngineError::Refused(ErrorCode::SignInNeeded));
        };
        lease.verify(&keys, known.learner_id, known.device_id).map_err(not_ours)?;
        let mut tx = self.library.write().await?;
        profiles::put_lease(&mut tx, profile, lease, &keys).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether content of a course opens now.
    pub(crate) async fn permits(
        &self,
        profile: ProfileId,
        course: CourseId,
        open: bool,
        download_expires_at: Option<TimeMs>,
    ) -> Result<(), EngineError> {
        let known = self.profile(profile).await?;
        let Some((lease, keys)) = profiles::lease(self.library.readers(), profile).await? else {
            return Err(EngineError::Refused(ErrorCode::SignInNeeded));
        };
        let lease = lease.verify(&keys, known.learner_id, known.device_id).map_err(not_ours)?;
        let refused = lease.permits(course, open, download_expires_at, self.trusted_now()).err();
        refused.map_or(Ok(()), |refusal| {
            Err(EngineError::Refused(match refusal {
                Refusal::LeaseEnded | Refusal::DownloadExpired => ErrorCode::Expired,
                Refusal::NotEnrolled => ErrorCode::NotEnrolled,
                Refusal::EnrolmentEnded => ErrorCode::EnrolmentExpired,
            }))
        })
    }

    pub(super) const fn library(&self) -> &Library {
        &self.library
    }

    pub(super) const fn events(&self) -> &EventBus {
        &self.events
    }

    /// A time for rows.
    pub(super) fn now(&self) -> TimeMs {
        self.clock.now()
    }

    pub(super) fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.clock.fill_random(&mut bytes);
        bytes
    }

    pub(crate) fn new_device(&self) -> DeviceId {
        DeviceId::from_parts(self.now(), self.random())
    }
}

/// Checks the lease that came with a session, by the keys that came with it.
pub(super) fn verify_first_lease(answer: &SignedIn, device: DeviceId) -> Result<Vec<LeaseKey>, EngineError> {
    answer.lease.verify(&answer.lease_keys, answer.learner.id, device).map_err(not_ours)?;
    Ok(answer.lease_keys.clone())
}

fn not_ours(error: LeaseError) -> EngineError {
    EngineError::Service { code: ErrorCode::NotAService, detail: format!("lease: {error}"), retry_after_ms: None }
}
