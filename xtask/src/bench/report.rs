//! A case's table, ratios first, and what was to be reached.

use serde_json::{Value, json};

use super::{measure::Lap, quiet::QUIET};

/// What a case showed.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// As on the command line.
    pub(super) name: String,
    pub(super) title: String,
    /// The first column is text, the others are numbers.
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    pub(super) goals: Vec<Goal>,
    pub(super) figures: Value,
    /// The share of the machine that others used, at worst.
    pub(super) others: Option<f64>,
}

/// A figure and where it should be.
#[derive(Debug)]
pub(super) struct Goal {
    what: String,
    found: f64,
    limit: f64,
    at_most: bool,
}

impl Goal {
    pub(super) fn at_most(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Self { what: what.into(), found, limit, at_most: true }
    }

    pub(super) fn at_least(what: impl Into<String>, found: f64, limit: f64) -> Self {
        Self { what: what.into(), found, limit, at_most: false }
    }

    /// Whether it is there; a figure that couldn't be had isn't.
    fn met(&self) -> bool {
        if self.at_most { self.found <= self.limit } else { self.found >= self.limit }
    }

    fn text(&self) -> String {
        let (sign, verdict) = (if self.at_most { "≤" } else { "≥" }, if self.met() { "met" } else { "NOT MET" });
        format!("{}: {} (wanted {sign} {}): {verdict}", self.what, number(self.found), number(self.limit))
    }
}

impl Report {
    /// Programs side by side; `work` is how much of what each did (`("MiB", 1024.0)`, `("files", 300.0)`).
    pub(super) fn beside(title: String, laps: &[Lap], work: (&str, f64)) -> Self {
        let unit = match work.0 {
            "MiB" => "MiB/s",
            _ => "files/s",
        };
        let columns = vec!["", "times as fast", "CPU ÷ its CPU", "seconds", unit, "CPU s", "peak MiB"];
        let ours = laps.first().and_then(|lap| lap.result.as_ref().ok());
        let row = |lap: &Lap| match (&lap.result, ours) {
            (Ok(sample), Some(ours)) => vec![
                lap.name.to_owned(),
                number(sample.seconds / ours.seconds),
                number(ours.cpu_seconds / sample.cpu_seconds),
                number(sample.seconds),
                format!("{:.0}", work.1 / sample.seconds),
                number(sample.cpu_seconds),
                format!("{:.1}", sample.peak_mib()),
            ],
            (Err(why), _) => vec![format!("{} – {why}", lap.name)],
            (Ok(_), None) => Vec::new(),
        };
        let figures = laps.iter().map(|lap| {
            let figures = match &lap.result {
                Ok(sample) => sample.json(),
                Err(why) => json!({ "failed": why }),
            };
            (lap.name.to_owned(), figures)
        });
        let figures = Value::Object(figures.collect());
        Self { title, columns, rows: laps.iter().map(row).collect(), figures, ..Self::default() }
    }

    /// How often our time goes into theirs; not a number when they failed.
    pub(super) fn times_as_fast(laps: &[Lap], as_what: &str) -> f64 {
        ratio(laps, as_what, |sample| sample.seconds).recip()
    }

    /// Our CPU by theirs.
    pub(super) fn cpu(laps: &[Lap], as_what: &str) -> f64 {
        ratio(laps, as_what, |sample| sample.cpu_seconds)
    }

    pub(super) fn met(&self) -> bool {
        self.goals.iter().all(Goal::met)
    }

    pub(super) fn print(&self, markdown: bool) {
        let others = self.others.map(|others| {
            let busy = if others > QUIET { ": the machine was BUSY, the figures are doubtful" } else { "" };
            format!("Others used up to {:.0} % of the machine{busy}.", others * 100.0)
        });
        if markdown {
            let case = match self.name.as_str() {
                "sync" => "sync".to_owned(),
                name if name.starts_with("service") => "service".to_owned(),
                name => format!("transfer --case {name}"),
            };
            println!("\n### {}\n\n`cargo xtask bench {case}`\n", self.title);
            self.print_markdown();
            println!();
        } else {
            println!("\n== {}: {}\n", self.name, self.title);
            self.print_text();
            println!();
        }
        let bullet = if markdown { "- " } else { "  " };
        for line in self.goals.iter().map(Goal::text).chain(others) {
            println!("{bullet}{line}");
        }
    }

    fn print_markdown(&self) {
        println!("| {} |", self.columns.join(" | "));
        println!("|---|{}", "---:|".repeat(self.columns.len().saturating_sub(1)));
        for row in &self.rows {
            println!("| {} |{}", row.join(" | "), " |".repeat(self.columns.len().saturating_sub(row.len())));
        }
    }

    fn print_text(&self) {
        let line = |cells: &[&str]| {
            let (first, rest) = cells.split_first().map_or(("", [].as_slice()), |(first, rest)| (*first, rest));
            let rest: String = rest.iter().map(|cell| format!(" {cell:>14}")).collect();
            println!("  {first:28}{rest}");
        };
        line(&self.columns);
        for row in &self.rows {
            line(&row.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    pub(super) fn json(&self) -> Value {
        let goal = |goal: &Goal| {
            let limit = if goal.at_most { "at_most" } else { "at_least" };
            json!({ "what": goal.what, "found": goal.found, limit: goal.limit, "met": goal.met() })
        };
        json!({
            "title": self.title, "others_used": self.others, "figures": self.figures,
            "goals": self.goals.iter().map(goal).collect::<Vec<_>>(),
        })
    }
}

fn ratio(laps: &[Lap], to: &str, of: fn(&super::measure::Sample) -> f64) -> f64 {
    let find = |lap: Option<&Lap>| lap.and_then(|lap| lap.result.as_ref().ok()).map(of);
    match (find(laps.first()), find(laps.iter().find(|lap| lap.name == to))) {
        (Some(ours), Some(theirs)) => ours / theirs,
        _ => f64::NAN,
    }
}

/// Two decimals, or three digits where that says more.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Sample;

    fn lap(name: &'static str, seconds: f64, cpu_seconds: f64) -> Lap {
        Lap { name, result: Ok(Sample { seconds, cpu_seconds, peak_bytes: 1 << 20 }) }
    }

    #[test]
    fn ratios_are_of_ours_to_theirs_and_goals_read_them_so() {
        let laps = [lap("carrel", 2.0, 3.0), lap("curl", 1.0, 2.0), Lap { name: "aria2", result: Err("gone".into()) }];
        assert_eq!(Report::times_as_fast(&laps, "curl"), 0.5);
        assert_eq!(Report::cpu(&laps, "curl"), 1.5);
        assert!(!Goal::at_least("speed", Report::times_as_fast(&laps, "curl"), 1.0).met());
        assert!(Goal::at_most("CPU", Report::cpu(&laps, "curl"), 1.5).met());
        assert!(!Goal::at_most("CPU", Report::cpu(&laps, "aria2"), 1.5).met(), "without a figure nothing is reached");
    }
}
