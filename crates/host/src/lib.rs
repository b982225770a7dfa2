//! What a front end may ask of Carrel.
//!
//! Every command is declared once, in [`commands`]; the Tauri handlers, the HTTP routes, the TypeScript client and the
//! permission list follow from that table, and a test fails when they drift.

pub mod app;
pub mod command;
pub mod commands;
pub mod error;
pub mod typescript;

pub use app::{AppView, Host};
pub use command::{Caller, CommandSpec, Surface};
pub use error::HostError;
