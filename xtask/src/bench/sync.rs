//! 10,000 writes that wait: how soon they are sent, and what whoever goes on learning feels of it.
//!
//! The example `drain` of testbed lets a learner work offline at the built host until so much waits, and brings the network
//! back, near and far; here it is built, run and held to its goals.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    ground, measure,
    quiet::Quiet,
    report::{Goal, Report, number},
};
use crate::{
    places,
    program::{self, cargo, program},
};

/// What is read of each run, and how it is called.
const FIGURES: [(&str, &str); 8] = [
    ("seconds", "until nothing waits, seconds"),
    ("host_cpu_seconds", "– processor time of the app, seconds"),
    ("service_cpu_seconds", "– processor time of the service, seconds"),
    ("read_p50_ms", "reading meanwhile, median ms"),
    ("read_p99_ms", "– 99th percentile, ms"),
    ("idle_read_p99_ms", "– the same with nothing to send, ms"),
    ("host_peak_mib", "memory of the app at its highest, MiB"),
    ("service_peak_mib", "memory of the service at its highest, MiB"),
];
/// What they are called in `drain`, and in the table.
const NETWORKS: [(&str, &str, f64); 2] = [("near", "loopback", 1.0), ("far", "80 ms, 5 Mbit/s", 4.0)];

/// Both networks, `runs` times each.
pub(super) fn run(runs: u32, build: bool, quiet: &mut Quiet) -> Result<Report> {
    if build {
        let programs = ["--bin", "carrel-service", "--bin", "carrel-host", "--example", "chaos", "--example", "drain"];
        let packages = ["--package", "carrel-service", "--package", "carrel-host", "--package", "carrel-testbed"];
        program::run(cargo().args(["build", "--release"]).args(packages).args(programs))?;
    }
    measure::settle();
    quiet.before_run();
    let mut drain = program(ground::release("drain"));
    drain.arg("--programs").arg(places::target().join("release")).args(["--runs", &runs.to_string()]);
    let said = program::output(&mut drain).context("the example `drain` failed; run alone it says why")?;
    let line = said.lines().last().unwrap_or_default();
    let line: Value = serde_json::from_str(line).with_context(|| format!("not a line of figures: {line}"))?;
    Ok(report(&line))
}

fn report(line: &Value) -> Report {
    let median = |network: &str, figure: &str| {
        let runs = line.get(network).and_then(Value::as_array).into_iter().flatten();
        let mut values: Vec<f64> = runs.filter_map(|run| run.get(figure)?.as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let row = |(figure, called): &(&str, &str)| {
        let cells = NETWORKS.iter().map(|(network, ..)| number(median(network, figure)));
        std::iter::once((*called).to_owned()).chain(cells).collect()
    };
    let mut goals = Vec::new();
    for (network, called, seconds) in NETWORKS {
        goals.push(Goal::at_most(
            format!("seconds until nothing waits, {called}"),
            median(network, "seconds"),
            seconds,
        ));
        let read = median(network, "read_p99_ms");
        goals.push(Goal::at_most(format!("99th percentile of reading meanwhile in ms, {called}"), read, 50.0));
        let memory = median(network, "service_peak_mib");
        goals.push(Goal::at_most(format!("MiB of the service, {called}"), memory, 100.0));
    }
    let writes = line.get("writes").and_then(Value::as_u64).unwrap_or(0);
    Report {
        title: format!("{writes} writes that waited are sent; medians"),
        columns: std::iter::once("").chain(NETWORKS.iter().map(|(_, called, _)| *called)).collect(),
        rows: FIGURES.iter().map(row).collect(),
        goals,
        figures: json!({ "writes": writes, "near": line.get("near"), "far": line.get("far") }),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_and_held_to_the_goals_of_their_network() {
        let run = |seconds: f64| json!({ "seconds": seconds, "read_p99_ms": 20.0, "service_peak_mib": 30.0 });
        let near = [run(0.5), run(9.0), run(0.7)];
        let met = |far: Value| report(&json!({ "writes": 10, "near": near, "far": [far] })).met();
        assert!(met(run(3.5)), "0.7 s and 3.5 s are within one and four");
        assert!(!met(run(4.5)));
        assert!(!met(json!({})), "what was not measured reaches nothing");
    }
}
