//! What a front end may ask of Carrel.
//!
//! Every command is declared once, in [`commands`]; the Tauri handlers, the HTTP routes, the TypeScript client and the
//! permission list follow from that table, and a test fails when they drift.

//!
//! Around the table: [`media`] answers with the bytes of lessons, [`http`] serves both to a browser, and [`batch`] calms
//! the engine's events down.

pub mod app;
pub mod batch;
pub mod command;
pub mod commands;
pub mod device;
pub mod diagnostics;
pub mod endings;
pub mod error;
pub mod http;
pub mod media;
pub mod permissions;
pub mod typescript;

#[cfg(test)]
mod batch_tests;

pub use app::{AppView, Host, HostConfig};
pub use carrel_engine::model::ErrorCode;
pub use carrel_engine::{EngineConfig, EngineEvent, Ports};
pub use command::{Caller, CommandSpec, Surface};
pub use error::HostError;
