//! What waits to be sent.

use carrel_model::{ErrorCode, LessonId, TimeMs, op::OpKind, op::RejectCode};

view! {
    /// State of a waiting write.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "snake_case")]
    pub enum OutboxState {
        /// Waits.
        Waiting,
        /// Was sent, the answer is not here yet.
        Sending,
        /// The service refused it for good; it is kept.
        Refused,
    }

    /// One waiting write.
    pub struct OutboxEntryView {
        /// Its number on this device.
        #[ts(type = "number")]
        pub seq: u64,
        /// What it is; none for a kind this version doesn't know.
        pub op: Option<OpKind>,
        /// The lesson it speaks of.
        pub lesson_id: Option<LessonId>,
        /// Name of the lesson or unit.
        pub title: String,
        /// For a position: where, in the lesson's own unit.
        #[ts(type = "number | null")]
        pub position: Option<u64>,
        /// When it was recorded.
        pub at: TimeMs,
        /// State.
        pub state: OutboxState,
        /// How often the service answered "not now".
        pub attempts: u32,
        /// The last answer.
        pub last_error: Option<ErrorCode>,
        /// Why it was refused.
        pub rejected: Option<RejectCode>,
    }

    /// The outbox, oldest first.
    pub struct OutboxView {
        /// What is not acknowledged; of a long list all that was refused, and the beginning. How many there are, the state of
        /// sync says.
        pub entries: Vec<OutboxEntryView>,
    }

    /// Names one write.
    pub struct OutboxRequest {
        /// Its number on this device.
        #[ts(type = "number")]
        pub seq: u64,
    }

    /// What is waiting, as a file for a person to keep or hand in.
    pub struct OutboxExport {
        /// Suggested file name.
        pub file_name: String,
        /// JSON.
        pub content: String,
    }
}
