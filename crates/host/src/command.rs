//! The shape of a command: name, types, who may call it, and what it runs.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin};

use carrel_engine::model::{ErrorCode, ProfileId};
use futures_util::FutureExt as _;
use serde_json::Value;

use crate::{Host, HostError};

/// Where a call comes from; decides what it may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// The app's window, or its page in a browser.
    Main,
    /// The diagnostics window.
    Diagnostics,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// From where.
    pub surface: Surface,
}

/// The answer of a command, as JSON.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Value, HostError>> + Send + 'a>>;

/// One command.
#[derive(Clone, Copy)]
pub struct CommandSpec {
    /// The room it belongs to.
    pub area: &'static str,
    /// What it does there.
    pub verb: &'static str,
    /// `area_verb`: its name over IPC and in its HTTP route.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Who may call it.
    pub surfaces: &'static [Surface],
    /// TypeScript of the request; `null` for none.
    pub request_type: fn(&ts_rs::Config) -> String,
    /// TypeScript of the answer.
    pub response_type: fn(&ts_rs::Config) -> String,
    /// Writes the TypeScript of both and all they use.
    pub export_types: fn(&ts_rs::Config) -> Result<(), ts_rs::ExportError>,
    /// Decode, call the engine, encode.
    pub run: for<'a> fn(&'a Host, Value) -> Answer<'a>,
}

impl std::fmt::Debug for CommandSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Host {
    /// Runs a command by name for a caller.
    pub async fn call(&self, caller: Caller, name: &str, request: Value) -> Result<Value, HostError> {
        let spec = CommandSpec::find(name);
        let spec = spec.ok_or_else(|| HostError::new(ErrorCode::NotFound, format!("no command {name:.60}")))?;
        if !spec.surfaces.contains(&caller.surface) {
            return Err(HostError::new(ErrorCode::Forbidden, format!("{name} is not for this window")));
        }
        // A fault in one command must not leave its caller waiting for ever; everything durable is in transactions.
        let answer = AssertUnwindSafe((spec.run)(self, request)).catch_unwind().await;
        answer.unwrap_or_else(|_| Err(HostError::new(ErrorCode::Internal, format!("{name} failed; see the log"))))
    }

    /// The learner a command is for.
    pub(crate) async fn learner(&self) -> Result<ProfileId, HostError> {
        let current = self.engine()?.access().current().await?;
        current.map(|profile| profile.id).ok_or_else(|| HostError::new(ErrorCode::SignInNeeded, "nobody is signed in"))
    }
}

/// Reads a request; what can't be read is the caller's fault.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(request: Value) -> Result<T, HostError> {
    serde_json::from_value(request).map_err(|error| HostError::new(ErrorCode::InvalidRequest, error.to_string()))
}

/// Writes an answer.
pub(crate) fn encode<T: serde::Serialize>(answer: &T) -> Result<Value, HostError> {
    serde_json::to_value(answer).map_err(|error| HostError::new(ErrorCode::Internal, error.to_string()))
}
