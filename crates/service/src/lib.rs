//! The content service of Carrel.
//!
//! It is the source of truth: courses are published into it, learners sign in to it, downloads are authorised by it, and
//! everything a learner did without a network arrives in it, once. The app needs nothing of it while offline.
//!
//! The rooms: `routes` speak HTTP and hold no rule; `rules` decide and do no I/O; [`store`] keeps rows and says in which
//! order they became true; [`objects`] keeps bytes and signs addresses of them; [`accounts`] knows who somebody is;
//! [`publish`] turns a folder into a course. [`start`] puts them together.

pub mod accounts;
pub mod clock;
pub mod config;
pub mod objects;
pub mod publish;
mod routes;
pub mod rules;
mod secrets;
mod serving;
mod start;
pub mod store;

pub use routes::{API_PREFIX, openapi_json};
pub use secrets::{SecretError, Secrets};
pub use start::{RunningService, Service, StartError, start, start_with_clock};
