//! What is said about network and sync.

use carrel_model::{ErrorCode, TimeMs};

view! {
    /// The badge.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum NetworkState {
        /// The service answers.
        Online,
        /// There is a network, but the service doesn't answer.
        Limited,
        /// There is none.
        Offline,
        /// Not known yet.
        Unknown,
    }

    /// Everything the badge and the sync screen say.
    pub struct SyncView {
        /// The badge.
        pub network: NetworkState,
        /// Since when.
        pub network_since: Option<TimeMs>,
        /// Writes waiting to be sent.
        pub waiting: u32,
        /// Writes the service refused.
        pub refused: u32,
        /// Whether it is syncing right now.
        pub syncing: bool,
        /// The last time everything went through.
        pub last_success_at: Option<TimeMs>,
        /// What went wrong last, until something goes right.
        pub last_error: Option<ErrorCode>,
        /// When it will try again by itself.
        pub next_attempt_at: Option<TimeMs>,
        /// How far this device's clock is off (negative: behind), when it is worth telling.
        #[ts(type = "number | null")]
        pub clock_off_by_ms: Option<i64>,
    }

    /// The answer to "Sync now": always one.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum SyncNowOutcome {
        /// It is syncing.
        Started,
        /// No network: it will send by itself when there is one.
        WillSendWhenOnline,
        /// The session has ended: sign in, nothing is lost.
        SignInNeeded,
    }

    /// The answer to "Sync now".
    pub struct SyncNowView {
        /// What happens.
        pub outcome: SyncNowOutcome,
    }
}
