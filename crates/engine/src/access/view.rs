//! Who learns on this device.

use carrel_model::{LearnerId, ProfileId};

view! {
    /// A learner on this device.
    pub struct ProfileView {
        /// Identity on this device.
        pub id: ProfileId,
        /// Identity at the service.
        pub learner_id: LearnerId,
        /// Account name.
        pub name: String,
        /// What they are called.
        pub display_name: String,
        /// The service.
        pub service_url: String,
        /// Whether the session holds; if not, everything works but nothing is sent until they sign in.
        pub signed_in: bool,
    }

    /// Signs in, or signs in again.
    pub struct SignIn {
        /// Where: `https://…`, or `http://` for loopback.
        pub service_url: String,
        /// Account name.
        pub name: String,
        /// Password. Never kept.
        pub password: String,
    }

    /// Makes a learner of this device the current one.
    pub struct SwitchProfile {
        /// Which.
        pub profile_id: ProfileId,
    }

    /// What becomes of writes that are still waiting.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum UnsentChoice {
        /// Send them first; refuse to sign out if that fails.
        Send,
        /// Keep them on this device until the learner signs in again.
        Keep,
        /// The learner knows they are lost.
        Discard,
    }

    /// Signs out and removes what is only this learner's.
    pub struct SignOut {
        /// Waiting writes.
        pub unsent: UnsentChoice,
    }
}
