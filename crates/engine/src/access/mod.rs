//! Who may do what: accounts on this device, tokens, leases, trusted time.
//!
//! Tokens live in [`crate::ports::Secrets`] and nowhere else. A lease is verified with keys pinned at first sign-in. Being
//! signed out by the service changes one flag: everything that is here keeps working, and nothing is sent until somebody
//! signs in again.

mod accounts;
mod address;
mod profiles;
mod sessions;
mod trusted;
pub mod view;

use carrel_model::{CourseId, ErrorCode, ProfileId, TimeMs, wire::auth::SignInRequest};
use url::Url;

use crate::{
    EngineError, EngineEvent, downloads::Downloads, network::Network, outbox::Outbox, service_api::ApiError, sync::Sync,
};
pub(crate) use accounts::Accounts;
use accounts::verify_first_lease;
use profiles::Profile;
use view::{ProfileView, SignIn, SignOut, SwitchProfile, UnsentChoice};

/// The longest name or password that is sent.
const MAX_CREDENTIAL_BYTES: usize = 1_024;

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Access {
    accounts: Accounts,
    network: Network,
    outbox: Outbox,
    sync: Sync,
    downloads: Downloads,
    device_name: String,
}

impl Access {
    pub(crate) const fn new(
        accounts: Accounts,
        network: Network,
        outbox: Outbox,
        sync: Sync,
        downloads: Downloads,
        device_name: String,
    ) -> Self {
        Self { accounts, network, outbox, sync, downloads, device_name }
    }

    /// Lets the badge speak of the current learner's service.
    pub(crate) async fn watch_current_service(&self) -> Result<(), EngineError> {
        let current = profiles::current(self.accounts.library().readers()).await?;
        self.network.watch_service(current.map(|profile| profile.service()).transpose()?);
        Ok(())
    }

    /// Writes trusted time down, at the end of a run.
    pub(crate) async fn keep_trusted_time(&self) -> Result<(), EngineError> {
        self.accounts.keep_trusted_time().await
    }

    /// Learners on this device, the one who used it last first.
    pub async fn profiles(&self) -> Result<Vec<ProfileView>, EngineError> {
        let all = profiles::list(self.accounts.library().readers()).await?;
        Ok(all.iter().map(Profile::view).collect())
    }

    /// The learner this device is in use by.
    pub async fn current(&self) -> Result<Option<ProfileView>, EngineError> {
        let current = profiles::current(self.accounts.library().readers()).await?;
        Ok(current.as_ref().map(Profile::view))
    }

    /// Signs in at a service, pins its lease keys, and makes the learner the current one. Signing in again as a known
    /// learner keeps everything that is theirs.
    pub async fn sign_in(&self, request: SignIn) -> Result<ProfileView, EngineError> {
        let service = address::service_address(&request.service_url)?;
        if request.name.len() > MAX_CREDENTIAL_BYTES || request.password.len() > MAX_CREDENTIAL_BYTES {
            return Err(EngineError::Invalid("name or password is too long"));
        }
        let profile = self.open_session(&service, request).await?;
        self.watch_current_service().await?;
        self.accounts.keep_trusted_time().await?;
        self.accounts.events().send(EngineEvent::Profiles);
        self.sync.start(profile.id);
        self.downloads.pause_others(Some(profile.id));
        Ok(profile.view())
    }

    async fn open_session(&self, service: &Url, typed: SignIn) -> Result<Profile, EngineError> {
        let accounts = &self.accounts;
        let service_url = address::as_shown(service);
        let readers = accounts.library().readers();
        let name = typed.name.trim().to_owned();
        let known = profiles::by_name(readers, &service_url, &name).await?;
        let mut request = SignInRequest {
            name,
            password: typed.password,
            device_id: known.map_or_else(|| accounts.new_device(), |profile| profile.device_id),
            device_name: self.device_name.chars().take(100).collect(),
        };
        let mut answer = accounts.request_session(service, &request).await.map_err(for_sign_in)?;
        let known = profiles::by_learner(readers, &service_url, answer.learner.id).await?;
        if let Some(known) = &known
            && known.device_id != request.device_id
        {
            // The account is known here under another name: what waits is keyed to the device it was recorded with.
            request.device_id = known.device_id;
            answer = accounts.request_session(service, &request).await.map_err(for_sign_in)?;
        }
        let keys = verify_first_lease(&answer, request.device_id)?;
        let profile = Profile {
            id: known.map_or_else(|| ProfileId::from_parts(accounts.now(), accounts.random()), |known| known.id),
            learner_id: answer.learner.id,
            service_url,
            name: answer.learner.name.clone(),
            display_name: answer.learner.display_name.clone(),
            device_id: request.device_id,
            signed_in: true,
        };
        accounts.keep_tokens(profile.id, &answer).await?;
        let mut tx = accounts.library().write().await?;
        profiles::put(&mut tx, &profile, accounts.now()).await?;
        profiles::put_lease(&mut tx, profile.id, &answer.lease, &keys).await?;
        profiles::make_current(&mut tx, Some(profile.id), accounts.now()).await?;
        tx.commit().await?;
        Ok(profile)
    }

    /// Makes a known learner the current one. Their downloads go on; those of who used the device before pause until they
    /// are back.
    pub async fn switch(&self, request: SwitchProfile) -> Result<ProfileView, EngineError> {
        let profile = self.accounts.profile(request.profile_id).await?;
        let mut tx = self.accounts.library().write().await?;
        profiles::make_current(&mut tx, Some(profile.id), self.accounts.now()).await?;
        tx.commit().await?;
        self.downloads.pause_others(Some(profile.id));
        self.watch_current_service().await?;
        self.accounts.events().send(EngineEvent::Profiles);
        Ok(profile.view())
    }

    /// Signs out; what becomes of waiting writes is the learner's explicit choice.
    pub async fn sign_out(&self, profile: ProfileId, request: SignOut) -> Result<(), EngineError> {
        let leaving = self.accounts.profile(profile).await?;
        let in_use = profiles::current(self.accounts.library().readers()).await?;
        if request.unsent == UnsentChoice::Send && self.outbox.count(profile).await?.unsent() > 0 {
            self.sync.send_all(profile).await?;
            if self.outbox.count(profile).await?.unsent() > 0 {
                return Err(EngineError::Refused(ErrorCode::UnsentWrites));
            }
        }
        self.sync.stop(profile).await;
        let mut tx = self.accounts.library().write().await?;
        // Recorded while it was being sent: still not to be lost without a choice.
        let unsent = self.outbox.count_in(&mut tx, profile).await?.unsent() > 0;
        if unsent && request.unsent == UnsentChoice::Send {
            drop(tx);
            self.sync.start(profile);
            return Err(EngineError::Refused(ErrorCode::UnsentWrites));
        }
        profiles::remove(&mut tx, profile, unsent && request.unsent == UnsentChoice::Keep, self.accounts.now()).await?;
        if in_use.is_none_or(|current| current.id == profile) {
            profiles::make_current(&mut tx, None, self.accounts.now()).await?;
        }
        tx.commit().await?;
        // Files that only this learner needed.
        self.downloads.forget_profile(profile).await?;
        self.watch_current_service().await?;
        self.accounts.end_session(&leaving).await?;
        self.accounts.events().send(EngineEvent::Profiles);
        self.accounts.events().send(EngineEvent::Storage);
        Ok(())
    }

    /// Trusted time now.
    #[must_use]
    pub fn trusted_now(&self) -> TimeMs {
        self.accounts.trusted_now()
    }

    /// Whether content of a course may be opened now by the lease; never asked for recording or syncing.
    pub async fn permits(
        &self,
        profile: ProfileId,
        course: CourseId,
        open: bool,
        download_expires_at: Option<TimeMs>,
    ) -> Result<(), EngineError> {
        self.accounts.permits(profile, course, open, download_expires_at).await
    }
}

/// Before there is a session, 401 can only mean that name and password don't fit.
fn for_sign_in(error: ApiError) -> EngineError {
    match error {
        ApiError::Refused { status: 401, detail, retry_after_ms, .. } => {
            EngineError::Service { code: ErrorCode::WrongCredentials, detail, retry_after_ms }
        }
        other => other.into(),
    }
}
