//! `cargo xtask fuzz`: each fuzz target for a bounded time.
//!
//! With the stable toolchain everybody has: coverage needs none of the unstable flags, and sanitizers, which would, have
//! little to find in code without `unsafe`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    places,
    program::{self, cargo, exists, line},
};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Don't run them: only see whether they build
    #[arg(long)]
    check: bool,
}

const INSTALL: &str = "cargo install --locked cargo-fuzz";
const LONGEST_STORY_BYTES: u32 = 2048;

/// Runs them one after the other; a finding doesn't keep the others from running.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !exists("cargo-fuzz") {
        bail!("cargo-fuzz is not installed: `{INSTALL}`");
    }
    let listed = program::output(fuzz("list").arg("--fuzz-dir").arg("fuzz")).context("can't list the fuzz targets")?;
    let targets: Vec<&str> = listed.lines().filter(|target| options.wants(target)).collect();
    if targets.is_empty() {
        bail!("no such target; there are: {}", listed.lines().collect::<Vec<_>>().join(", "));
    }
    program::run(with_flags(&mut fuzz("build")))?;
    if options.check {
        return Ok(());
    }
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for target in &targets {
        let (executions, found) = try_one(target, options.seconds)?;
        let verdict = found.as_deref().unwrap_or("nothing found");
        lines.push(format!("{target:12} {executions:>12} executions  {verdict}"));
        if found.is_some() {
            failed.push(*target);
        }
    }
    println!("\n=== summary: {} s each ===\n{}", options.seconds, lines.join("\n"));
    if !failed.is_empty() {
        bail!("{} broke a rule; move what was found to fuzz/regressions/<target>/ and mend it", failed.join(", "));
    }
    Ok(())
}

impl Options {
    fn wants(&self, target: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == target)
    }
}

fn fuzz(what: &str) -> Command {
    let mut command = cargo();
    command.args(["fuzz", what]);
    command
}

fn with_flags(command: &mut Command) -> &mut Command {
    let target = places::target().join("fuzz");
    command.args(["--fuzz-dir", "fuzz", "--sanitizer", "none", "--target-dir"]).arg(target)
}

/// Runs one target; says how often it ran, and where what it found is.
fn try_one(target: &str, seconds: u64) -> Result<(u64, Option<String>)> {
    println!("\n=== {target} ===");
    let folder = places::root().join("fuzz");
    let (corpus, regressions) = (folder.join("corpus").join(target), folder.join("regressions").join(target));
    std::fs::create_dir_all(&corpus)?;
    let mut command = fuzz("run");
    with_flags(&mut command).arg(target).arg(corpus);
    if regressions.is_dir() {
        command.arg(regressions);
    }
    command.arg("--").args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=1024"]);
    command.arg(format!("-max_len={LONGEST_STORY_BYTES}")).arg(format!("-max_total_time={seconds}"));
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("can't start {}", line(&command)))?;
    let errors = child.stderr.take().context("the fuzzer has no output")?;
    let (mut executions, mut found) = (0, None);
    for text in BufReader::new(errors).lines().map_while(Result::ok) {
        if let Some(number) = text.strip_prefix("stat::number_of_executed_units:") {
            executions = number.trim().parse().unwrap_or(0);
        } else if text.contains("panicked at") || text.contains("ERROR: libFuzzer") {
            found.get_or_insert_with(|| text.clone());
        }
        // What it says on the way is of no interest unless it found something.
        if found.is_some() || text.starts_with("stat::") || text.contains("Test unit written to") {
            println!("  {text}");
        }
    }
    let status = child.wait()?;
    if !status.success() {
        found.get_or_insert_with(|| format!("it ended with {status}"));
    }
    Ok((executions, found))
}
