//! `cargo xtask generate`: writes the committed files that follow from Rust code anew.
//!
//! The tests that hold those files to the code are also what writes them, so that there is one way to make each.

use anyhow::Result;

use crate::program::{self, cargo};

/// Packages with a test that compares a committed file, and the test target.
const GENERATORS: &[(&str, &str)] = &[("carrel-host", "typescript"), ("carrel-service", "openapi")];

/// Runs them all.
pub(crate) fn run() -> Result<()> {
    for (package, target) in GENERATORS {
        let test = ["--package", package, "--test", target];
        program::run(cargo().arg("test").args(test).env("UPDATE_SNAPSHOTS", "1"))?;
    }
    Ok(())
}
