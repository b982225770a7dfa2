//! Words and rules of Carrel.
//!
//! What the app and the service must agree on lives here once: ids, times, wire types, states, the merge rules, leases,
//! trusted time and the pieces of a blob. Everything is pure: no async, no I/O, no clock, no randomness – time and random
//! bytes are arguments, so every rule can be tested exhaustively and behaves the same on both sides of the wire.

#[macro_use]
mod macros;

pub mod bookmark;
pub mod content;
pub mod download;
pub mod error;
pub mod ids;
pub mod lease;
pub mod op;
pub mod pieces;
pub mod progress;
pub mod quiz;
pub mod session;
pub mod stamp;
pub mod time;
pub mod trusted_time;
pub mod wire;

pub use error::ErrorCode;
pub use ids::{
    AssetId, BlobHash, BookmarkId, CourseId, DeviceId, DownloadId, LearnerId, LessonId, ProfileId, SessionId, UnitId,
};
pub use time::TimeMs;
