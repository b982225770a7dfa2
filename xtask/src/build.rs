//! Builds what the demo and the tests run.
//!
//! Always the whole workspace with one set of features: building single packages would give cargo other sets, and every
//! heavy crate would be compiled once for each.

use anyhow::Result;

use crate::program::{self, cargo, npm};

/// Selects the workspace; the app embeds the built UI and doesn't look for a development server.
pub(crate) const WORKSPACE: [&str; 3] = ["--workspace", "--features", "carrel/custom-protocol"];

/// The UI and every program.
pub(crate) fn run() -> Result<()> {
    ui()?;
    programs()
}

/// The UI, into `ui/dist`.
pub(crate) fn ui() -> Result<()> {
    program::run(npm().args(["run", "build", "--silent", "--workspace", "ui"]))
}

/// Every program and example of the workspace; the app embeds `ui/dist` as it is.
pub(crate) fn programs() -> Result<()> {
    program::run(cargo().arg("build").args(WORKSPACE))
}
