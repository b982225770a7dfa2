//! What travels between app and service (`/api/v1`), request by request.

pub mod auth;
pub mod content;
pub mod downloads;
pub mod problem;
pub mod sync;
