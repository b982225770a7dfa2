//! `cargo xtask test`: every check, in the order in which they fail fastest.
//!
//! CI runs exactly this. A step that fails doesn't keep the others from running – one run shows everything that is
//! wrong – but for what it provides: without the built programs the steps that run them are not tried, and count as failed.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    build,
    program::{self, cargo, exists, npm},
    setup,
};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these steps
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Step>,
    /// Leave out the steps that need a display or a browser
    #[arg(long)]
    fast: bool,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Rust is formatted
    Format,
    /// The UI type-checks, lints, passes its unit tests
    Ui,
    /// The UI builds and its first load is small
    UiBuild,
    /// Clippy finds nothing
    Clippy,
    /// Licences, advisories, duplicates
    Deny,
    /// Every program builds
    Build,
    /// Every Rust test but those of the window; among them those that compare generated files
    Rust,
    /// The screens in Chromium
    Screens,
    /// The story and the faults in the real window
    Window,
}

const ORDER: &[Step] = &[
    Step::Format,
    Step::Ui,
    Step::UiBuild,
    Step::Clippy,
    Step::Deny,
    Step::Build,
    Step::Rust,
    Step::Screens,
    Step::Window,
];

/// Runs the steps and sums them up.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let mut results: Vec<(Step, Duration, Result<()>)> = Vec::new();
    for step in ORDER.iter().copied().filter(|step| options.wants(*step)) {
        println!("\n=== {} ===", step.name());
        let began = Instant::now();
        let failed = |needed: Step| results.iter().any(|(step, _, result)| *step == needed && result.is_err());
        let missing = step.needs().iter().copied().find(|needed| failed(*needed));
        let result = match missing {
            Some(needed) => Err(anyhow::anyhow!("not tried, because {} failed", needed.name())),
            None => step.run(),
        };
        if let Err(error) = &result {
            println!("{} failed: {error:#}", step.name());
        }
        results.push((step, began.elapsed(), result));
    }
    println!("\n=== summary ===");
    for (step, time, result) in &results {
        println!("{:10} {:>7.1} s  {}", step.name(), time.as_secs_f64(), if result.is_ok() { "ok" } else { "FAILED" });
    }
    let failed = results.iter().filter(|(_, _, result)| result.is_err()).count();
    println!("steps: {} passed, {failed} failed", results.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} steps failed", results.len());
    }
    Ok(())
}

impl Options {
    fn wants(&self, step: Step) -> bool {
        let named = self.only.is_empty() || self.only.contains(&step);
        named && !(self.fast && matches!(step, Step::Screens | Step::Window))
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The steps whose work this one uses.
    const fn needs(self) -> &'static [Self] {
        match self {
            Self::Build => &[Self::UiBuild],
            Self::Screens | Self::Window => &[Self::UiBuild, Self::Build],
            _ => &[],
        }
    }

    fn run(self) -> Result<()> {
        match self {
            Self::Format => program::run(cargo().args(["fmt", "--all", "--check"])),
            Self::Ui => ["check", "lint", "test"].iter().try_for_each(|script| ui(script)),
            Self::UiBuild => build::ui().and_then(|()| ui("size")),
            Self::Clippy => {
                let targets = ["--all-targets", "--", "--deny", "warnings"];
                program::run(cargo().arg("clippy").args(build::WORKSPACE).args(targets))
            }
            Self::Deny if !exists("cargo-deny") => {
                println!("cargo-deny is not installed; `cargo install --locked cargo-deny` makes this step check");
                Ok(())
            }
            Self::Deny => program::run(cargo().args(["deny", "--offline", "check", "licenses", "bans", "sources"])),
            Self::Build => build::programs(),
            Self::Rust => {
                tests(&format!("not binary({})", build::WINDOW_TESTS), &["--lib", "--bins", "--tests", "--examples"])
            }
            Self::Screens => build::programs().and_then(|()| program::run(npm().args(["run", "--silent", "test:ui"]))),
            Self::Window => build::programs().and_then(|()| window_tests(None)),
        }
    }
}

fn ui(script: &str) -> Result<()> {
    program::run(npm().args(["run", "--silent", script, "--workspace", "ui"]))
}

fn tests(filter: &str, targets: &[&str]) -> Result<()> {
    if exists("cargo-nextest") {
        return program::run(cargo().args(["nextest", "run"]).args(build::WORKSPACE).args(["-E", filter]));
    }
    // Without nextest there is no choosing by test target, but all tests of the window have this in their names.
    program::run(cargo().arg("test").args(build::WORKSPACE).args(targets).args(["--", "--skip", "real_window::"]))
}

/// Runs tests in the real window: all, or the one of this name.
pub(crate) fn window_tests(name: Option<&str>) -> Result<()> {
    program::run(&mut window_command(name))
}

/// The command of [`window_tests`].
pub(crate) fn window_command(name: Option<&str>) -> Command {
    let mut command = cargo();
    command.arg("test").args(build::WORKSPACE).args(["--test", build::WINDOW_TESTS, "--"]);
    // Each has its own screen, service and data; one after the other, so that two cores are enough for every time limit.
    command.arg("--test-threads=1");
    if let Some(name) = name {
        // Also one that only runs when it is asked for.
        command.args([name, "--exact", "--include-ignored", "--nocapture"]);
    }
    command
}
