//! The offline engine: everything Carrel does for a learner, without a window.
//!
//! [`Engine::open`] is the one door. A front end gets one handle per room, whose methods are the use cases, and one stream
//! of [`EngineEvent`]s; it needs nothing else. The rooms own their tables: see docs/ARCHITECTURE.md.

#[macro_use]
mod macros;

pub mod access;
pub mod background;
pub mod blobs;
pub mod catalogue;
pub mod downloads;
pub mod error;
pub mod events;
pub mod learning;
pub mod library;
pub mod network;
pub mod outbox;
pub mod playback;
pub mod ports;
pub mod settings;
pub mod storage;
pub mod sync;

mod engine;
mod room_links;
mod rows;
mod service_api;

/// The words its methods speak, so that a front end needs no crate but this one.
pub use carrel_model as model;
pub use engine::{Engine, EngineConfig, OpenNotice};
pub use error::{EngineError, OpenError};
pub use events::EngineEvent;
pub use ports::Ports;
