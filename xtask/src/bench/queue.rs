//! 50,000 blobs in the queue: what they cost in memory, and how soon an order is carried out.
//!
//! The engine's example `queue` does the work and measures; here it is built, run several times and held to its goals.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    ground, measure,
    quiet::Quiet,
    report::{Goal, Report, number},
};
use crate::program::{self, cargo, program};

/// What is read from the example's line, how it is called, and by what it is divided.
const FIGURES: [(&str, &str, f64); 9] = [
    ("enqueue_seconds", "enqueueing, seconds", 1.0),
    ("service_seconds", "– of them the service's processor time", 1.0),
    ("extra_memory_bytes", "extra memory, MiB", 1_048_576.0),
    ("priority_ms", "changing a priority, ms", 1.0),
    ("priority_ms_worst", "– at worst", 1.0),
    ("reorder_ms", "moving one, ms", 1.0),
    ("reorder_ms_worst", "– at worst", 1.0),
    ("plan_ms", "the next one instead of a running one, ms", 1.0),
    ("list_ms", "the list for the screen, ms", 1.0),
];

pub(super) fn run(runs: u32, build: bool, quiet: &mut Quiet) -> Result<Report> {
    if build {
        program::run(cargo().args(["build", "--release", "--package", "carrel-engine", "--example", "queue"]))?;
    }
    let mut lines = Vec::new();
    for _ in 0..runs {
        measure::settle();
        quiet.before_run();
        let said = program::output(&mut program(ground::release("queue"))).context("the example `queue` failed")?;
        let line = said.lines().last().unwrap_or_default();
        lines.push(serde_json::from_str(line).with_context(|| format!("not a line of figures: {line}"))?);
    }
    Ok(report(&lines))
}

fn report(lines: &[Value]) -> Report {
    let median = |name: &str| {
        let mut values: Vec<f64> = lines.iter().filter_map(|line| line.get(name)?.as_f64()).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let figure = |name: &str| {
        let by = FIGURES.iter().find(|(figure, ..)| *figure == name).map_or(1.0, |(_, _, by)| *by);
        median(name) / by
    };
    Report {
        title: format!("50,000 queued blobs; medians of {} runs", lines.len()),
        columns: vec!["", "carrel"],
        rows: FIGURES.iter().map(|(name, called, _)| vec![(*called).to_owned(), number(figure(name))]).collect(),
        goals: vec![
            Goal::at_most("extra memory in MiB", figure("extra_memory_bytes"), 60.0),
            Goal::at_most("seconds to enqueue", figure("enqueue_seconds"), 2.0),
            Goal::at_most("ms to change a priority", figure("priority_ms"), 5.0),
        ],
        figures: json!(
            FIGURES.iter().map(|(name, ..)| (*name, median(name))).collect::<std::collections::BTreeMap<_, _>>()
        ),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_each_figure_counts_and_a_missing_one_reaches_nothing() {
        let line = |seconds: f64| json!({ "enqueue_seconds": seconds, "extra_memory_bytes": 1 << 20 });
        let report = report(&[line(3.0), line(1.0), line(1.5)]);
        let cell = |row: usize| report.rows.get(row).and_then(|row| row.get(1)).map(String::as_str);
        assert_eq!((cell(0), cell(2)), (Some("1.50"), Some("1.00")));
        assert!(!report.met(), "nobody said how long a change of priority takes");
    }
}
