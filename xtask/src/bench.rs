//! `cargo xtask bench`: our verified download beside the ones people have, in the same run and on the same machine.
//!
//! Absolute numbers say more about the machine than about the program; so what is printed are ratios to `curl -o`, which
//! writes the same bytes without checking them. One origin serves both, from the same cached file.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use wait4::Wait4 as _;

use crate::{
    places,
    program::{self, Background, cargo, line, program},
    samples,
};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The subject
    #[arg(value_enum, default_value = "transfer")]
    subject: Subject,
    /// Size of the file in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=4096))]
    mib: u64,
    /// Runs of each program; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=21))]
    runs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// One large file from the loopback into a verified file
    Transfer,
}

const START_LIMIT: Duration = Duration::from_secs(60);

/// Runs it and leaves nothing behind.
pub(crate) fn run(options: &Options) -> Result<()> {
    let folder = places::scratch("bench");
    let result = match options.subject {
        Subject::Transfer => transfer(options, &folder),
    };
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("can't remove {}", folder.display()))?;
    }
    result
}

fn transfer(options: &Options, folder: &Path) -> Result<()> {
    // One build, so that both examples share their dependencies.
    let packages = ["--package", "carrel-transfer", "--package", "carrel-testbed"];
    program::run(cargo().args(["build", "--release"]).args(packages).args([
        "--example",
        "fetch",
        "--example",
        "origin",
    ]))?;
    std::fs::create_dir_all(folder)?;
    let (file, manifest) = (folder.join("origin.bin"), folder.join("manifest.json"));
    write_file(&file, options.mib)?;
    let listed = program::output(program(release("manifest")).arg(&file)).context("can't make the manifest")?;
    std::fs::write(&manifest, listed)?;
    let origin = Background::start(program(release("origin")).arg(&file))?;
    let url = origin.wait_for(START_LIMIT, samples::address)?;

    let (out, journal) = (folder.join("out.bin"), folder.join("journal"));
    let fetch = || {
        let mut command = program(release("fetch"));
        command.arg("--manifest").arg(&manifest).arg("--out").arg(&out).arg("--journal").arg(&journal).arg(&url);
        command
    };
    let curl = || {
        let mut command = program("curl");
        command.args(["--silent", "--fail", "--output"]).arg(&out).arg(&url);
        command
    };
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    // In turns, so that a slow minute of the machine hits both.
    for _ in 0..options.runs {
        theirs.push(measure(&mut curl(), &[&out])?);
        ours.push(measure(&mut fetch(), &[&out, &journal])?);
    }
    report(options, &median(&ours), &median(&theirs));
    Ok(())
}

fn release(example: &str) -> PathBuf {
    places::target().join("release").join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Bytes that don't compress and differ from piece to piece; the same ones each time.
fn write_file(path: &Path, mib: u64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("can't write {}", path.display()))?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(1 << 20);
    for _ in 0..mib {
        block.clear();
        while block.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Sample {
    seconds: f64,
    cpu_seconds: f64,
    peak_bytes: u64,
}

/// Runs a command and removes what it left, so that each run begins alike.
fn measure(command: &mut Command, leaves: &[&Path]) -> Result<Sample> {
    let began = Instant::now();
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("can't start {}", line(command)))?;
    let used = child.wait4().with_context(|| format!("can't wait for {}", line(command)))?;
    let seconds = began.elapsed().as_secs_f64();
    if !used.status.success() {
        bail!("{} ended with {}", line(command), used.status);
    }
    for path in leaves {
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    let cpu_seconds = (used.rusage.utime + used.rusage.stime).as_secs_f64();
    Ok(Sample { seconds, cpu_seconds, peak_bytes: used.rusage.maxrss })
}

fn median(samples: &[Sample]) -> Sample {
    let middle = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    Sample {
        seconds: middle(|sample| sample.seconds),
        cpu_seconds: middle(|sample| sample.cpu_seconds),
        peak_bytes: middle(|sample| sample.peak_bytes as f64) as u64,
    }
}

fn report(options: &Options, ours: &Sample, theirs: &Sample) {
    let mib_per_second = |sample: &Sample| options.mib as f64 / sample.seconds;
    let peak_mib = |sample: &Sample| sample.peak_bytes as f64 / f64::from(1 << 20);
    println!("\n{} MiB on loopback, median of {} runs each", options.mib, options.runs);
    println!("{:24} {:>10} {:>10} {:>10}", "", "carrel", "curl -o", "ratio");
    let row = |name: &str, ours: f64, theirs: f64| {
        println!("{name:24} {ours:>10.2} {theirs:>10.2} {:>10.2}", ours / theirs);
    };
    row("seconds", ours.seconds, theirs.seconds);
    row("MiB per second", mib_per_second(ours), mib_per_second(theirs));
    row("CPU seconds", ours.cpu_seconds, theirs.cpu_seconds);
    row("peak memory, MiB", peak_mib(ours), peak_mib(theirs));
    let json = |sample: &Sample| json!({ "seconds": sample.seconds, "cpu_seconds": sample.cpu_seconds, "peak_bytes": sample.peak_bytes });
    println!(
        "{}",
        json!({
            "bench": "transfer", "mib": options.mib, "runs": options.runs, "carrel": json(ours), "curl": json(theirs),
            "speed_ratio": theirs.seconds / ours.seconds,
        })
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_of_each_number_by_itself() {
        let sample = |seconds, cpu_seconds, peak_bytes| Sample { seconds, cpu_seconds, peak_bytes };
        let median = median(&[sample(3.0, 1.0, 10), sample(1.0, 2.0, 30), sample(2.0, 3.0, 20)]);
        assert_eq!((median.seconds, median.cpu_seconds, median.peak_bytes), (2.0, 2.0, 20));
    }

    #[test]
    fn a_run_that_fails_is_not_a_measurement() {
        assert!(measure(&mut Command::new("false"), &[]).is_err());
    }
}
