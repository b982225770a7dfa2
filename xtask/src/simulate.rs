//! `cargo xtask simulate`: random histories of sync, as many as wanted.
//!
//! The ordinary test run plays some (`crates/simulation/tests`); this is for many, and for one by its seed. Built with
//! optimisations: a million histories take hours otherwise.

use anyhow::Result;
use clap::Args;

use crate::{
    places,
    program::{self, cargo, program},
};

/// What to play.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many histories; with `--planted` at most so many for each bug
    #[arg(long, default_value_t = 20_000)]
    histories: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plant bugs that sync has elsewhere, one at a time, and see that each is found
    #[arg(long)]
    planted: bool,
    /// Print every step of the one history of this seed
    #[arg(long, conflicts_with = "planted")]
    trace: Option<u64>,
}

/// Builds and plays. The last line is one JSON object.
pub(crate) fn run(options: &Options) -> Result<()> {
    program::run(cargo().args(["build", "--quiet", "--release", "--package", "carrel-simulation"]))?;
    let binary = places::target().join("release").join("simulate").with_extension(std::env::consts::EXE_EXTENSION);
    let mut simulate = program(binary);
    simulate.args(["--histories", &options.histories.to_string(), "--seed", &options.seed.to_string()]);
    if options.planted {
        simulate.arg("--planted");
    }
    if let Some(seed) = options.trace {
        simulate.args(["--trace", &seed.to_string()]);
    }
    program::run(&mut simulate)
}
