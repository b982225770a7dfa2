//! Programs side by side: each run's time, CPU and memory, in turns, and the medians.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use wait4::Wait4 as _;

use super::quiet::Quiet;
use crate::program::{self, line, program};

/// Checks what a run left; with `true` byte by byte.
type Check<'a> = Box<dyn Fn(bool) -> Result<()> + 'a>;

/// A program and what it is to leave.
pub(super) struct Tool<'a> {
    pub(super) name: &'static str,
    command: Box<dyn Fn() -> Command + 'a>,
    check: Check<'a>,
    leaves: Vec<PathBuf>,
}

impl<'a> Tool<'a> {
    /// `leaves` are out of the way before and after each run.
    pub(super) fn new(
        name: &'static str,
        leaves: &[&Path],
        command: impl Fn() -> Command + 'a,
        check: impl Fn(bool) -> Result<()> + 'a,
    ) -> Self {
        let leaves = leaves.iter().map(|path| path.to_path_buf()).collect();
        Self { name, command: Box::new(command), check: Box::new(check), leaves }
    }

    /// One run from nothing. An `Err` is a run that didn't do its work: it failed, or what it left is wrong.
    pub(super) fn run(&self, limit: Duration, thorough: bool) -> Result<Sample> {
        self.clear()?;
        let sample = measure(&mut (self.command)(), limit)?;
        (self.check)(thorough).with_context(|| format!("{} left something else", self.name))?;
        self.clear()?;
        Ok(sample)
    }

    fn clear(&self) -> Result<()> {
        for path in &self.leaves {
            if path.is_dir() {
                // Only moved: ext4 looks for long at each inode that was freed within the last minutes, and the next run
                // would pay for it.
                std::fs::rename(path, path.with_extension(format!("{}", MOVED.fetch_add(1, Ordering::Relaxed))))?;
            } else if path.exists() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Folders moved out of the way so far; they go with the folder of the whole benchmark.
static MOVED: AtomicU64 = AtomicU64::new(0);

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) peak_bytes: u64,
}

impl Sample {
    pub(super) fn peak_mib(&self) -> f64 {
        self.peak_bytes as f64 / f64::from(1 << 20)
    }

    pub(super) fn json(&self) -> Value {
        json!({ "seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_bytes": self.peak_bytes })
    }
}

/// What a program took, or why it can't be compared.
#[derive(Debug)]
pub(super) struct Lap {
    pub(super) name: &'static str,
    pub(super) result: Result<Sample, String>,
}

/// Lets all programs do the work so many times. The first one is ours: it must not fail; others may, and it is told.
pub(super) fn race(tools: &[Tool<'_>], runs: u32, limit: Duration, quiet: &mut Quiet) -> Result<Vec<Lap>> {
    let mut samples: Vec<Result<Vec<Sample>, String>> = tools.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..runs {
        // Each time another one begins, and every other time in the opposite order: a slow minute hits all of them.
        for turn in 0..tools.len() {
            let at = order(turn, round as usize, tools.len());
            let (Some(tool), Some(taken)) = (tools.get(at), samples.get_mut(at)) else { continue };
            let Ok(so_far) = taken else { continue };
            settle();
            quiet.before_run();
            match tool.run(limit, round == 0) {
                Ok(sample) => so_far.push(sample),
                Err(error) if at == 0 => return Err(error),
                Err(error) => *taken = Err(format!("{error:#}")),
            }
        }
    }
    Ok(tools
        .iter()
        .zip(samples)
        .map(|(tool, samples)| Lap { name: tool.name, result: samples.map(|samples| median(&samples)) })
        .collect())
}

fn order(turn: usize, round: usize, count: usize) -> usize {
    if round.is_multiple_of(2) { (round + turn) % count } else { (round + count - turn) % count }
}

/// Lets the pages of the run before reach the disk, so that they don't hit the next one.
pub(super) fn settle() {
    // Where there is no such program there is nothing to be had.
    program::output(&mut program("sync"));
}

/// Runs a command to its end, and not longer than the limit.
fn measure(command: &mut Command, limit: Duration) -> Result<Sample> {
    let log =
        std::env::temp_dir().join(format!("carrel-bench-{}-{:?}.log", std::process::id(), std::thread::current().id()));
    let errors = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
    let began = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .with_context(|| format!("can't start {}", line(command)))?;
    let id = child.id().to_string();
    let (done, watched) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let over = watched.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if over {
            program::output(program("kill").args(["-9", &id]));
        }
        over
    });
    let used = child.wait4().with_context(|| format!("can't wait for {}", line(command)))?;
    let seconds = began.elapsed().as_secs_f64();
    drop(done);
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    std::fs::remove_file(&log).ok();
    if watch.join().unwrap_or_default() {
        bail!("not done after {} s", limit.as_secs());
    }
    if !used.status.success() {
        bail!("{} ended with {}: {}", line(command), used.status, said.lines().last().unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn the_median_is_taken_of_each_number_by_itself() {
        let sample = |seconds, cpu_seconds, peak_bytes| Sample { seconds, cpu_seconds, peak_bytes };
        let median = median(&[sample(3.0, 1.0, 10), sample(1.0, 2.0, 30), sample(2.0, 3.0, 20)]);
        assert_eq!((median.seconds, median.cpu_seconds, median.peak_bytes), (2.0, 2.0, 20));
    }

    #[test]
    fn a_run_that_fails_or_does_not_end_is_not_a_measurement() {
        assert!(measure(&mut Command::new("false"), LIMIT).is_err());
        let error = measure(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("not done"), "{error}");
    }

    #[test]
    fn a_run_that_leaves_the_wrong_bytes_is_not_a_measurement() {
        let wrong = Tool::new("wrong", &[], || Command::new("true"), |_| bail!("other bytes"));
        assert!(wrong.run(LIMIT, true).is_err());
    }

    #[test]
    fn each_round_everybody_has_one_turn_and_over_the_rounds_everybody_begins() {
        let mut first = Vec::new();
        for round in 0..4 {
            let mut turns: Vec<_> = (0..4).map(|turn| order(turn, round, 4)).collect();
            first.extend(turns.first().copied());
            turns.sort_unstable();
            assert_eq!(turns, [0, 1, 2, 3]);
        }
        assert_eq!(first, [0, 1, 2, 3]);
    }
}
