//! Who may do what: accounts on this device, tokens, leases, trusted time.
//!
//! Tokens live in [`crate::ports::Secrets`] and nowhere else. A lease is verified with keys pinned at first sign-in.

pub mod view;

use carrel_model::{CourseId, ProfileId, TimeMs};

use crate::EngineError;
use view::{ProfileView, SignIn, SignOut, SwitchProfile};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Access {}

impl Access {
    /// Learners on this device, the one who used it last first.
    pub async fn profiles(&self) -> Result<Vec<ProfileView>, EngineError> {
        todo!()
    }

    /// The learner this device is in use by.
    pub async fn current(&self) -> Result<Option<ProfileView>, EngineError> {
        todo!()
    }

    /// Signs in at a service, pins its lease keys, and makes the learner the current one. Signing in again as a known
    /// learner keeps everything that is theirs.
    pub async fn sign_in(&self, _request: SignIn) -> Result<ProfileView, EngineError> {
        todo!()
    }

    /// Makes a known learner the current one.
    pub async fn switch(&self, _request: SwitchProfile) -> Result<ProfileView, EngineError> {
        todo!()
    }

    /// Signs out; what becomes of waiting writes is the learner's explicit choice.
    pub async fn sign_out(&self, _profile: ProfileId, _request: SignOut) -> Result<(), EngineError> {
        todo!()
    }

    /// Trusted time now.
    pub fn trusted_now(&self) -> TimeMs {
        todo!()
    }

    /// Whether content of a course may be opened now by the lease; never asked for recording or syncing.
    pub async fn permits(
        &self,
        _profile: ProfileId,
        _course: CourseId,
        _open: bool,
        _download_expires_at: Option<TimeMs>,
    ) -> Result<(), EngineError> {
        todo!()
    }
}
