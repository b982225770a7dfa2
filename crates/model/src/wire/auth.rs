//! Signing in and staying signed in.

use crate::{
    DeviceId, LearnerId, TimeMs,
    lease::{LeaseKey, SignedLease},
};

wire! {
    /// `POST /auth/sign-in`
    #[derive(Eq)]
    pub struct SignInRequest {
        /// Account name.
        pub name: String,
        /// Password.
        pub password: String,
        /// The device; made by it, kept for good.
        pub device_id: DeviceId,
        /// "Amina's tablet".
        #[serde(default)]
        pub device_name: String,
    }

    /// `POST /auth/refresh`
    #[derive(Eq)]
    pub struct RefreshRequest {
        /// The last refresh token; the one before it is accepted for 60 s more, since an answer can get lost.
        pub refresh_token: String,
        /// The device.
        pub device_id: DeviceId,
    }

    /// The answer to both.
    #[derive(Eq)]
    pub struct SignedIn {
        /// Who.
        pub learner: LearnerIdentity,
        /// Bearer token.
        pub access_token: String,
        /// Until when (1 h).
        pub access_expires_at: TimeMs,
        /// To be kept in the keyring (90 d, rotates).
        pub refresh_token: String,
        /// What may be opened offline.
        pub lease: SignedLease,
        /// Pinned at first sign-in.
        pub lease_keys: Vec<LeaseKey>,
        /// The service's clock.
        pub server_time: TimeMs,
    }

    /// Who a learner is.
    #[derive(Eq)]
    pub struct LearnerIdentity {
        /// Identity.
        pub id: LearnerId,
        /// Account name.
        pub name: String,
        /// What they are called.
        pub display_name: String,
    }
}
