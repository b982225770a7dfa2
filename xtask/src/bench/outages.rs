//! A bad line: 5 Mbit/s, a fifth of all connections lost, and every few seconds nothing at all for 1–3 s.
//!
//! What is compared is the time of each program with the least there is: the bytes at the line's rate and the outages
//! that fell into its time. Each program meets the same weather: losses by the number of its connection, outages by the
//! time since its first one. A connection that isn't lost early is lost with a chance of a fifth in each second, too; else one
//! long connection would hardly notice.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    big::again,
    ground::{self, Ground},
    measure::Tool,
    quiet::Quiet,
    report::{Goal, Report, number},
    server::{self, Server},
};

const MIB: u64 = 8;
const BYTES_PER_SECOND: u64 = 5_000_000 / 8;
const OUTAGE_EVERY_MS: u64 = 5_000;
/// Seeds ours is tried with; the others only meet the first.
const SEEDS: u64 = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// One program's way through the weather.
struct Passage {
    name: String,
    seconds: f64,
    least: f64,
    ledger: Value,
    failed: Option<String>,
}

pub(super) fn run(ground: &Ground, seed: u64, quiet: &mut Quiet) -> Result<Report> {
    let file = ground.large(MIB)?;
    ground.manifest(&file)?;
    let origin = ground.origin(&file, false)?;
    let (out, journal) = (ground.path("out.bin"), ground.path("journal"));
    let notes = ground.path("out.bin.aria2");
    let leaves = [out.as_path(), &journal, &notes];
    let check = |_| ground::same(&out, &file, true);

    let mut passages = Vec::new();
    for seed in seed..seed + SEEDS {
        let command = |url: &str| ground.fetch(&file, &out, &journal, false, url);
        let name = format!("carrel, seed {seed}");
        passages.push(pass(&name, &origin, seed, &leaves, &check, &command, quiet)?);
    }
    let curl = |url: &str| {
        let mut command = ground.curl(false);
        command.args(["--retry", "1000", "--retry-all-errors", "--retry-delay", "1", "--continue-at", "-"]);
        command.arg("--output").arg(&out).arg(url);
        Ok(command)
    };
    let curl_again = |url: &str| {
        let mut command = crate::program::program("sh");
        command.args(["-c", "until \"$@\"; do sleep 1; done", "sh", "curl", "--disable", "--silent", "--fail"]);
        command.args(["--continue-at", "-", "--output"]).arg(&out).arg(url);
        Ok(command)
    };
    let aria2 = |url: &str| {
        let mut command = ground.aria2(false);
        command.args(["-x4", "-s4", "-k1M", "--max-tries=0", "--retry-wait=1", "--timeout=5", "--connect-timeout=5"]);
        command.args(["--out", "out.bin", "--dir"]).arg(out.parent().unwrap_or(Path::new("."))).arg(url);
        Ok(command)
    };
    passages.push(pass("curl --retry -C -", &origin, seed, &leaves, &check, &curl, quiet)?);
    passages.push(pass("until curl -C -", &origin, seed, &leaves, &check, &curl_again, quiet)?);
    passages.push(pass("aria2c -x4", &origin, seed, &leaves, &check, &aria2, quiet)?);
    Ok(report(&passages))
}

fn pass(
    name: &str,
    origin: &Server,
    seed: u64,
    leaves: &[&Path],
    check: &dyn Fn(bool) -> Result<()>,
    command: &dyn Fn(&str) -> Result<Command>,
    quiet: &mut Quiet,
) -> Result<Passage> {
    // A relay of its own: the weather begins with the first connection.
    let mut relay = Server::relay(
        &origin.url,
        &[
            ("--rate", BYTES_PER_SECOND.to_string()),
            ("--seed", seed.to_string()),
            ("--loss", "0.2".to_owned()),
            ("--loss-per-second", "0.2".to_owned()),
            ("--outage-every-ms", OUTAGE_EVERY_MS.to_string()),
            ("--socket-buffer", "16384".to_owned()),
        ],
    )?;
    let command = command(&server::moved(&origin.url, &relay.url))?;
    let tool = Tool::new("", leaves, || again(&command), check);
    quiet.before_run();
    let began = Instant::now();
    let result = tool.run(LIMIT, true);
    let seconds = result.as_ref().map_or(began.elapsed().as_secs_f64(), |sample| sample.seconds);
    let ledger = relay.ask("0")?;
    let least = (MIB << 20) as f64 / BYTES_PER_SECOND as f64 + outage_seconds(&ledger, seconds).context("no ledger")?;
    if name.starts_with("carrel") {
        result.as_ref().map_err(|error| anyhow::anyhow!("{name}: {error:#}"))?;
    }
    Ok(Passage {
        name: name.to_owned(),
        seconds,
        least,
        ledger,
        failed: result.err().map(|error| format!("{error:#}")),
    })
}

/// The outages within the first so many seconds.
fn outage_seconds(ledger: &Value, within: f64) -> Option<f64> {
    let seconds = |outage: &Value, name: &str| Some(outage.get(name)?.as_f64()? / 1000.0);
    let mut sum = 0.0;
    for outage in ledger.get("outages")?.as_array()? {
        let begin = seconds(outage, "at_ms")?;
        let end = begin + seconds(outage, "length_ms")?;
        sum += (end.min(within) - begin).max(0.0);
    }
    Some(sum)
}

fn report(passages: &[Passage]) -> Report {
    let title = format!("One file of {MIB} MiB at 5 Mbit/s, 20 % of connections lost, outages of 1–3 s");
    let columns =
        vec!["", "time ÷ least", "seconds", "least possible", "bytes ÷ file", "connections", "lost", "outages"];
    let count = |ledger: &Value, name: &str| ledger.get(name).and_then(Value::as_u64).unwrap_or_default();
    let rows = passages.iter().map(|passage| {
        if let Some(why) = &passage.failed {
            return vec![format!("{} – {why}", passage.name)];
        }
        let outages = passage.ledger.get("outages").and_then(Value::as_array).map_or(0, Vec::len);
        vec![
            passage.name.clone(),
            number(passage.seconds / passage.least),
            number(passage.seconds),
            number(passage.least),
            number(count(&passage.ledger, "to_app_bytes") as f64 / (MIB << 20) as f64),
            count(&passage.ledger, "connections").to_string(),
            count(&passage.ledger, "lost").to_string(),
            outages.to_string(),
        ]
    });
    let ours = passages.iter().filter(|passage| passage.name.starts_with("carrel"));
    let worst = ours.map(|passage| passage.seconds / passage.least).fold(f64::NAN, f64::max);
    let figures = passages.iter().map(|passage| {
        let figures = json!({
            "seconds": passage.seconds, "least_seconds": passage.least, "failed": passage.failed,
            "connections": count(&passage.ledger, "connections"), "lost": count(&passage.ledger, "lost"),
            "bytes": count(&passage.ledger, "to_app_bytes"), "outages": passage.ledger.get("outages"),
        });
        (passage.name.clone(), figures)
    });
    Report {
        title,
        columns,
        rows: rows.collect(),
        goals: vec![Goal::at_most("carrel's time by bytes/bandwidth + outages, at worst", worst, 1.15)],
        figures: Value::Object(figures.collect()),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_of_an_outage_within_the_run_counts() {
        let ledger = json!({ "outages": [
            { "at_ms": 1000, "length_ms": 2000 }, { "at_ms": 5000, "length_ms": 3000 }, { "at_ms": 9000, "length_ms": 1000 },
        ]});
        assert_eq!(outage_seconds(&ledger, 6.0), Some(3.0));
        assert_eq!(outage_seconds(&json!({}), 6.0), None);
    }
}
