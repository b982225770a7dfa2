//! What travels between app and service (`/api/v1`), request by request.

pub mod auth;
pub mod content;
pub mod downloads;
pub mod problem;
pub mod record_sums;
pub mod set_sum;
pub mod sync;
