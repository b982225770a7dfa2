//! The vocabulary of downloads (D5): one closed set of states, and why something waits.

words! {
    /// State of a download and of each of its items.
    pub enum DownloadState {
        /// Queued; with a [`WaitReason`] when something must change first.
        Pending = "pending",
        /// Bytes are coming.
        Downloading = "downloading",
        /// Bytes are here and are being checked and put in place.
        Verifying = "verifying",
        /// Verified on disk: ready offline.
        Completed = "completed",
        /// Given up for now, with a reason a person can act on.
        Failed = "failed",
        /// Stopped by the learner.
        Paused = "paused",
        /// Called off by the learner.
        Cancelled = "cancelled",
        /// Past its last day; can't be opened until renewed.
        Expired = "expired",
    }
}

words! {
    /// Why a pending download does not run.
    pub enum WaitReason {
        /// No network.
        Network = "network",
        /// Wi-Fi is asked for and the network is metered.
        Wifi = "wifi",
        /// Charging is asked for.
        Power = "power",
        /// Too little space.
        Space = "space",
        /// Outside the chosen hours.
        Schedule = "schedule",
        /// The session has ended.
        SignIn = "sign_in",
        /// The service doesn't answer or asked to wait.
        Server = "server",
        /// The drive the files are kept on is not there.
        Drive = "drive",
    }
}

words! {
    /// What a learner or the queue does to a download.
    pub enum DownloadAction {
        /// Begin or go on transferring.
        Start = "start",
        /// All bytes are here.
        Verify = "verify",
        /// Everything is in place.
        Complete = "complete",
        /// Given up after its rounds.
        Fail = "fail",
        /// The learner stops it.
        Pause = "pause",
        /// The learner lets it go on.
        Resume = "resume",
        /// The learner calls it off.
        Cancel = "cancel",
        /// The learner or a new round tries again.
        Retry = "retry",
        /// It was running and has to wait (or the app starts again).
        Requeue = "requeue",
        /// Its last day has passed.
        Expire = "expire",
        /// It was renewed.
        Renew = "renew",
    }
}

impl DownloadState {
    /// The state after an action, or `None` where the action makes no sense. The only place transitions are written.
    #[must_use]
    pub const fn after(self, action: DownloadAction) -> Option<Self> {
        use DownloadAction as A;
        Some(match (self, action) {
            (Self::Pending, A::Start) => Self::Downloading,
            (Self::Pending | Self::Downloading, A::Verify) => Self::Verifying,
            (Self::Verifying | Self::Downloading | Self::Pending, A::Complete) => Self::Completed,
            (Self::Pending | Self::Downloading | Self::Verifying, A::Fail) => Self::Failed,
            (Self::Pending | Self::Downloading | Self::Verifying | Self::Failed, A::Pause) => Self::Paused,
            (Self::Paused, A::Resume) | (Self::Failed | Self::Cancelled, A::Retry) => Self::Pending,
            (Self::Downloading | Self::Verifying | Self::Pending, A::Requeue) => Self::Pending,
            (Self::Pending | Self::Downloading | Self::Verifying | Self::Paused | Self::Failed, A::Cancel) => {
                Self::Cancelled
            }
            (Self::Completed, A::Expire) => Self::Expired,
            (Self::Expired, A::Renew) => Self::Completed,
            (Self::Expired, A::Retry) => Self::Pending,
            // Noticed on play or scan: what was complete is damaged and is fetched again (S5).
            (Self::Completed, A::Retry) => Self::Pending,
            _ => return None,
        })
    }

    /// Whether it occupies or waits for a place in the queue.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Downloading | Self::Verifying)
    }
}
