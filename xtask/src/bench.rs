//! `cargo xtask bench`: our verified downloads beside the ones people have, in the same run and on the same machine.
//!
//! Absolute numbers say more about the machine than about the program; so what counts are the ratios, which come first.
//! Every program does the same work against the same server, in turns, each time after `sync`, and what it wrote is
//! compared with what was served. Others may be using the machine: how much they did is measured before each run and
//! printed, because a ratio taken on a busy machine is worth less.

mod big;
mod ground;
mod kills;
mod measure;
mod outages;
mod queue;
mod quiet;
mod report;
mod server;
mod service;
mod small;
mod sync;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::places;
use ground::Ground;
use quiet::Quiet;
use report::Report;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The subject
    #[arg(value_enum, default_value = "transfer")]
    subject: Subject,
    /// Only these cases
    #[arg(long = "case", value_enum, value_delimiter = ',')]
    cases: Vec<Case>,
    /// Size of the large file in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=4096))]
    mib: u64,
    /// Runs of each program; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=21))]
    runs: u32,
    /// Kills in the case of that name
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    kills: u32,
    /// The seed of losses, outages and kills
    #[arg(long, default_value_t = 8)]
    seed: u64,
    /// Seconds to spend, over all runs, on waiting until nobody else uses the machine
    #[arg(long, default_value_t = 0)]
    wait_for_quiet: u64,
    /// Take the programs as they were built last
    #[arg(long)]
    no_build: bool,
    /// Print the tables as they stand in docs/BENCHMARKS.md
    #[arg(long)]
    markdown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// Downloads beside curl and aria2
    Transfer,
    /// Sending what waits
    Sync,
    /// The service under the load of many devices
    Service,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// One large file, HTTP/1.1, loopback
    Big,
    /// The same over TLS
    BigTls,
    /// 300 files of 30 KB, TLS, a round trip of 50 ms
    SmallFar,
    /// 2,000 files of 30 KB, HTTP/1.1, loopback
    SmallNear,
    /// A slow line with lost connections and outages
    Outages,
    /// A download that is killed again and again
    Kills,
    /// 50,000 blobs in the engine's queue
    Queue,
}

/// Runs it and leaves nothing behind.
pub(crate) fn run(options: &Options) -> Result<()> {
    // A folder of its own: two at once would only be slow, not wrong.
    let folder = places::scratch(&format!("bench-{}", std::process::id()));
    let result = match options.subject {
        Subject::Transfer => transfer(options, Ground::prepare(&folder, options.mib, !options.no_build)?),
        Subject::Sync => sync(options),
        Subject::Service => service(options),
    };
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("can't remove {}", folder.display()))?;
    }
    result
}

fn sync(options: &Options) -> Result<()> {
    let mut quiet = Quiet::new(Duration::from_secs(options.wait_for_quiet));
    let mut report = sync::run(options.runs.min(3), !options.no_build, &mut quiet)?;
    report.name = "sync".to_owned();
    report.others = quiet.take_worst();
    report.print(options.markdown);
    println!("{}", json!({ "bench": "sync", "met": report.met(), "sync": report.json() }));
    Ok(())
}

fn service(options: &Options) -> Result<()> {
    let mut quiet = Quiet::new(Duration::from_secs(options.wait_for_quiet));
    let reports = service::run(!options.no_build, options.seed, &mut quiet)?;
    reports.iter().for_each(|report| report.print(options.markdown));
    let cases: serde_json::Map<_, _> = reports.iter().map(|report| (report.name.clone(), report.json())).collect();
    println!("{}", json!({ "bench": "service", "met": reports.iter().all(Report::met), "cases": cases }));
    Ok(())
}

fn transfer(options: &Options, ground: Ground) -> Result<()> {
    let mut quiet = Quiet::new(Duration::from_secs(options.wait_for_quiet));
    let mut reports = Vec::new();
    for case in Case::value_variants().iter().filter(|case| options.cases.is_empty() || options.cases.contains(case)) {
        let name = case.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("bench: {name}");
        let mut report = match case {
            Case::Big => big::run(&ground, big::Over::Plain, options.runs, &mut quiet),
            Case::BigTls => big::run(&ground, big::Over::Tls, options.runs, &mut quiet),
            Case::SmallFar => small::far(&ground, options.runs, &mut quiet),
            Case::SmallNear => small::near(&ground, options.runs, &mut quiet),
            Case::Outages => outages::run(&ground, options.seed, &mut quiet),
            Case::Kills => kills::run(&ground, options.kills, options.seed, &mut quiet),
            Case::Queue => queue::run(options.runs.min(3), !options.no_build, &mut quiet),
        }
        .with_context(|| name.clone())?;
        report.name = name;
        report.others = quiet.take_worst();
        report.print(options.markdown);
        reports.push(report);
    }
    let cases: serde_json::Map<_, _> = reports.iter().map(|report| (report.name.clone(), report.json())).collect();
    println!(
        "{}",
        json!({ "bench": "transfer", "runs": options.runs, "met": reports.iter().all(Report::met), "cases": cases })
    );
    Ok(())
}
