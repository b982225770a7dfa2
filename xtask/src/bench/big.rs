//! One large file from loopback: wall time, CPU and memory beside `curl -o`.
//!
//! Ours hashes each piece, compares it with the manifest, makes it durable and records it; the others write what they
//! get. What they would need for durability alone is shown as well (`sync --data`).

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{
    ground::{self, Ground},
    measure::{self, Lap, Tool},
    quiet::Quiet,
    report::{Goal, Report},
};

const LIMIT: Duration = Duration::from_secs(120);

/// With or without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Plain,
    Tls,
}

pub(super) fn run(ground: &Ground, over: Over, runs: u32, quiet: &mut Quiet) -> Result<Report> {
    let tls = over == Over::Tls;
    let file = ground.large(ground.mib)?;
    ground.manifest(&file)?;
    let origin = ground.origin(&file, tls)?;
    let url = origin.url.as_str();
    let (out, journal) = (ground.path("out.bin"), ground.path("journal"));
    let aria2_notes = ground.path("out.bin.aria2");
    let check = |thorough| ground::same(&out, &file, thorough);

    let ours = ground.fetch(&file, &out, &journal, tls, url)?;
    let curl = || {
        let mut command = ground.curl(tls);
        // The one connection of ours speaks HTTP/1.1 as well.
        command.arg("--http1.1").arg("--output").arg(&out).arg(url);
        command
    };
    let aria2 = |connections: &str| {
        let mut command = ground.aria2(tls);
        let dir = out.parent().unwrap_or(Path::new("."));
        command
            .args(["-x", connections, "-s", connections, "-k", "1M", "--out", "out.bin"])
            .arg("--dir")
            .arg(dir)
            .arg(url);
        command
    };
    let leaves = [out.as_path(), &journal, &aria2_notes];
    let tools = [
        Tool::new("carrel", &leaves, || again(&ours), check),
        Tool::new("curl -o", &leaves, curl, check),
        Tool::new("curl -o, sync", &leaves, || ground::then_sync(&curl(), &["--data"], &out), check),
        Tool::new("aria2c -x1", &leaves, || aria2("1"), check),
        Tool::new("aria2c -x4", &leaves, || aria2("4"), check),
    ];
    let laps = measure::race(&tools, runs, LIMIT, quiet)?;
    let with = if tls { "HTTP/1.1 over TLS" } else { "HTTP/1.1" };
    let title = format!("One file of {} MiB, {with}, loopback; medians of {runs} runs", ground.mib);
    let mut report = Report::beside(title, &laps, ("MiB", ground.mib as f64));
    report.goals = goals(&laps, over);
    Ok(report)
}

fn goals(laps: &[Lap], over: Over) -> Vec<Goal> {
    let fast = Report::times_as_fast(laps, "curl -o");
    let mut goals = vec![Goal::at_least("times as fast as curl -o", fast, 1.0)];
    if over == Over::Plain {
        let peak = laps.first().and_then(|lap| lap.result.as_ref().ok()).map_or(f64::NAN, measure::Sample::peak_mib);
        goals.push(Goal::at_most("CPU by that of curl -o", Report::cpu(laps, "curl -o"), 1.3));
        goals.push(Goal::at_most("peak memory in MiB", peak, 48.0));
    }
    goals
}

/// The same command once more.
pub(super) fn again(command: &std::process::Command) -> std::process::Command {
    let mut again = crate::program::program(command.get_program());
    again.args(command.get_args());
    again
}
