//! The service under load: batches of 500, pages of 500, and ten thousand devices that come back within a minute.
//!
//! The example `service_load` of testbed starts the built service over a PostgreSQL (or a file) of its own and plays the devices;
//! here it is built, run for each database and held to its goals. All three share the machine, and the table says what each
//! took of it.

use std::process::Stdio;

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

/// What the service keeps its rows in, and whether the goals are meant for it.
const STORES: [(&str, &str, bool); 2] = [("postgres", "PostgreSQL", true), ("sqlite", "SQLite", false)];
/// Cases of the generator in the order of the table, and what each does.
const CASES: [(&str, &str); 5] = [
    ("push", "push, one after the other"),
    ("paced", "push, 20,000 ops/s offered"),
    ("pull", "pull(500)"),
    ("drain", "10,000 ops of one device"),
    ("devices", "10,000 devices in 60 s"),
];
/// What is read of each line.
const FIGURES: [&str; 7] = [
    "p50_ms",
    "p99_ms",
    "longest_ms",
    "processors_generator",
    "processors_service",
    "processors_database_and_others",
    "service_peak_mib",
];

/// A report for each database.
pub(super) fn run(build: bool, seed: u64, quiet: &mut Quiet) -> Result<Vec<Report>> {
    if build {
        // The same packages as for `bench sync`, so that cargo chooses the same features and builds nothing twice.
        let packages = ["--package", "carrel-service", "--package", "carrel-host", "--package", "carrel-testbed"];
        let programs = ["--bin", "carrel-service", "--example", "service_load"];
        program::run(cargo().args(["build", "--release"]).args(packages).args(programs))?;
    }
    STORES.iter().map(|(store, called, goals)| one(store, called, *goals, seed, quiet)).collect()
}

fn one(store: &str, called: &str, goals: bool, seed: u64, quiet: &mut Quiet) -> Result<Report> {
    measure::settle();
    quiet.before_run();
    let service =
        places::target().join("release").join("carrel-service").with_extension(std::env::consts::EXE_EXTENSION);
    let mut load = program(ground::release("service_load"));
    load.arg("--service").arg(service).args(["--store", store, "--seed", &seed.to_string()]);
    let output = load.stderr(Stdio::inherit()).output().context("the example `service_load` can't be started")?;
    anyhow::ensure!(output.status.success(), "the example `service_load` failed: {}", output.status);
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut report = report(called, &lines, goals);
    report.name = format!("service-{store}");
    report.others = quiet.take_worst();
    Ok(report)
}

fn report(called: &str, lines: &[Value], goals: bool) -> Report {
    let line = |case: &str| lines.iter().find(|line| line.get("case").and_then(Value::as_str) == Some(case));
    let figure = |case: &str, name: &str| line(case).and_then(|line| line.get(name)?.as_f64()).unwrap_or(f64::NAN);
    let row = |(case, called): &(&str, &str)| {
        let rate = match *case {
            "pull" => format!("{} pages/s", number(figure(case, "pages_per_second"))),
            "devices" => format!("{} ops failed", number(figure(case, "failed_ops"))),
            _ => format!("{} ops/s", number(figure(case, "ops_per_second"))),
        };
        let figures = FIGURES.iter().map(|name| number(figure(case, name)));
        [(*called).to_owned(), rate].into_iter().chain(figures).collect()
    };
    Report {
        title: format!("The service with {called}; batches and pages of 500, loopback"),
        columns: vec!["", "", "p50 ms", "p99 ms", "longest ms", "CPUs: generator", "service", "database", "peak MiB"],
        rows: CASES.iter().map(row).collect(),
        goals: if goals { wanted(figure) } else { Vec::new() },
        figures: json!(lines),
        ..Report::default()
    }
}

fn wanted(figure: impl Fn(&str, &str) -> f64) -> Vec<Goal> {
    vec![
        Goal::at_least("ops per second", figure("push", "ops_per_second"), 20_000.0),
        Goal::at_most("push p99 in ms", figure("push", "p99_ms"), 100.0),
        Goal::at_most("pull(500) p99 in ms", figure("pull", "p99_ms"), 50.0),
        Goal::at_most("failed ops of 10,000 devices", figure("devices", "failed_ops"), 0.0),
        Goal::at_most("memory of the service in MiB after 10,000 ops", figure("drain", "service_peak_mib"), 100.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_whose_case_said_nothing_is_not_met() {
        let push = json!({ "case": "push", "ops_per_second": 25_000.0, "p99_ms": 80.0 });
        assert!(!report("PostgreSQL", std::slice::from_ref(&push), true).met(), "nothing was pulled");
        let rest = [
            json!({ "case": "pull", "p99_ms": 20.0 }),
            json!({ "case": "devices", "failed_ops": 0 }),
            json!({ "case": "drain", "service_peak_mib": 60.0 }),
        ];
        let all: Vec<Value> = rest.into_iter().chain([push]).collect();
        assert!(report("PostgreSQL", &all, true).met());
    }
}
