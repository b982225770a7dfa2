//! Builds what the demo and the tests run.
//!
//! Always the whole workspace with one set of features: building single packages would give cargo other sets, and every
//! heavy crate would be compiled once for each.

use anyhow::Result;

use crate::program::{self, cargo, npm};

/// Selects the workspace; the app embeds the built UI and doesn't look for a development server.
pub(crate) const WORKSPACE: [&str; 3] = ["--workspace", "--features", "carrel/custom-protocol"];

/// The test target of the real window.
pub(crate) const WINDOW_TESTS: &str = "e2e";

/// The UI and every program.
pub(crate) fn run() -> Result<()> {
    ui()?;
    programs()
}

/// The UI, into `ui/dist`.
pub(crate) fn ui() -> Result<()> {
    program::run(npm().args(["run", "build", "--silent", "--workspace", "ui"]))
}

/// Every program of the workspace; the app embeds `ui/dist` as it is.
///
/// With one test target among them, since tests switch features of the dependencies on, and the tests come next.
pub(crate) fn programs() -> Result<()> {
    program::run(cargo().arg("build").args(WORKSPACE).args(["--bins", "--test", WINDOW_TESTS]))
}
