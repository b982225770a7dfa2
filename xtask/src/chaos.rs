//! `cargo xtask chaos`: kills, bad networks and power cuts, from outside.
//!
//! Kills: the example `chaos` of testbed starts the built service and host, kills them and compares what was acknowledged
//! with what the service has. Cuts: the test of `crates/engine/tests/rooms/wal_cuts.rs` with other numbers. The last line
//! is one JSON object in either case.

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    places,
    program::{self, cargo, program},
};

/// The test that cuts journals, and what it reads its numbers from.
const CUTS_TEST: &str = "every_acknowledged_write_survives_two_thousand_cuts_of_the_journal";
const CUTS: &str = "CARREL_WAL_CUTS";
const SEED: &str = "CARREL_SEED";

/// What is to go wrong.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// SIGKILLs of service and host
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kills: u32,
    /// The seed of kills, network and cuts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With the service on a PostgreSQL of its own
    #[arg(long)]
    postgres: bool,
    /// Cut the journal of the app's database so often, instead of killing
    #[arg(long, conflicts_with_all = ["kills", "postgres"])]
    wal_cuts: Option<u32>,
    /// Take the programs as they were built last
    #[arg(long)]
    no_build: bool,
}

/// Runs it; whatever was lost, doubled, wrong or stuck is a failure.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.wal_cuts {
        Some(cuts) => cut(cuts, options.seed),
        None => kill(options),
    }
}

fn kill(options: &Options) -> Result<()> {
    if !options.no_build {
        build()?;
    }
    let programs = places::target().join("release");
    let mut chaos = program(programs.join("examples").join("chaos").with_extension(std::env::consts::EXE_EXTENSION));
    chaos.arg("--programs").arg(&programs);
    chaos.args(["--kills", &options.kills.to_string(), "--seed", &options.seed.to_string()]);
    if options.postgres {
        chaos.arg("--postgres");
    }
    program::run(&mut chaos)
}

/// Service, host and chaos, with optimisations.
fn build() -> Result<()> {
    let programs = ["--bin", "carrel-service", "--bin", "carrel-host", "--example", "chaos"];
    let packages = ["--package", "carrel-service", "--package", "carrel-host", "--package", "carrel-testbed"];
    program::run(cargo().args(["build", "--quiet", "--release"]).args(packages).args(programs))
}

fn cut(cuts: u32, seed: u64) -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--quiet", "--package", "carrel-engine", "--test", "rooms", CUTS_TEST, "--", "--nocapture"]);
    test.env(CUTS, cuts.to_string()).env(SEED, seed.to_string());
    let output = test.stderr(std::process::Stdio::inherit()).output().context("can't start cargo")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let figures = figures(&printed);
    for line in printed.lines().filter(|line| Some(*line) != figures) {
        eprintln!("{line}");
    }
    if let Some(figures) = figures {
        println!("{figures}");
    }
    if !output.status.success() || figures.is_none() {
        bail!("the cuts of the journal ended with {}", output.status);
    }
    Ok(())
}

/// The one line of JSON among what a test prints.
fn figures(printed: &str) -> Option<&str> {
    printed.lines().find(|line| line.starts_with('{') && line.ends_with('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_figures_is_found_among_the_words_of_the_test() {
        let printed = "\nrunning 1 test\n{\"wal_cuts\":5,\"failed\":0}\n.\ntest result: ok. 1 passed\n";
        assert_eq!(figures(printed), Some("{\"wal_cuts\":5,\"failed\":0}"));
        assert_eq!(figures("test result: FAILED"), None);
    }
}
