//! Errors as RFC 9457 problem details with a stable code.

use crate::ErrorCode;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

wire! {
    /// What went wrong, for a program (`code`) and for a log (`title`, `detail`).
    pub struct Problem {
        /// `about:blank`: the code says it all.
        #[serde(rename = "type", default = "about_blank")]
        pub kind: String,
        /// Short text of the status.
        pub title: String,
        /// HTTP status.
        pub status: u16,
        /// The stable word.
        pub code: ErrorCode,
        /// This occurrence, without anything secret.
        #[serde(default)]
        pub detail: String,
        /// Milliseconds after which trying again makes sense.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "ts", ts(type = "number | null"))]
        pub retry_after_ms: Option<u64>,
        /// With `device_seq_regressed`: the ops of the batch that are here already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "ts", ts(type = "number[] | null"))]
        pub known_seqs: Option<Vec<u64>>,
        /// With `device_seq_regressed`: the ops of the batch under whose numbers something else came before. Only these go
        /// under a new device id. What is named nowhere was not judged and comes again under its own key: a device that was
        /// cloned may hold the same op, and it must not come under two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "ts", ts(type = "number[] | null"))]
        pub conflicting_seqs: Option<Vec<u64>>,
    }
}

fn about_blank() -> String {
    "about:blank".to_owned()
}
