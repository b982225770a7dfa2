//! Who survived what: as text, Markdown and JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{programs::Program, server::Fault, trial::Outcome};

/// A fault and how each program took it.
pub(super) struct Row {
    pub(super) fault: Fault,
    pub(super) outcomes: BTreeMap<Program, Outcome>,
}

impl Row {
    pub(super) const fn new(fault: Fault) -> Self {
        Self { fault, outcomes: BTreeMap::new() }
    }

    /// Whether ours did worse than it could.
    pub(super) fn is_lost(&self) -> bool {
        let best = if self.fault.passes { Outcome::Survived } else { Outcome::Error };
        self.outcomes.get(&Program::Carrel).is_none_or(|outcome| *outcome > best)
    }

    fn of(&self, program: Program) -> String {
        self.outcomes.get(&program).map(ToString::to_string).unwrap_or_default()
    }

    /// The row as text.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{:>2} {:26}", self.fault.number, self.fault.name);
        for program in Program::ALL {
            line.push_str(&format!(" {:>8}", self.of(program)));
        }
        line
    }
}

/// How often a program ended in each way.
fn counts(rows: &[Row], program: Program) -> BTreeMap<Outcome, usize> {
    let mut counts = BTreeMap::new();
    for outcome in rows.iter().filter_map(|row| row.outcomes.get(&program)) {
        *counts.entry(*outcome).or_default() += 1;
    }
    counts
}

const OUTCOMES: [Outcome; 4] = [Outcome::Survived, Outcome::Error, Outcome::Corrupt, Outcome::Hang];

/// Prints all rows and the sums.
pub(super) fn print(rows: &[Row]) {
    println!("\n{:29} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "carrel", "curl", "aria2", "+sha-256", "wget");
    for row in rows {
        println!("{}", row.line());
    }
    println!();
    for outcome in OUTCOMES {
        let mut line = format!("{:29}", outcome.to_string());
        for program in Program::ALL {
            line.push_str(&format!(" {:>8}", counts(rows, program).get(&outcome).copied().unwrap_or(0)));
        }
        println!("{line}");
    }
    let possible = rows.iter().filter(|row| row.fault.passes).count();
    println!("(in {possible} of {} the right bytes could be had; in the others an error is right)", rows.len());
}

/// The table for the documentation.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| | fault | possible |");
    let mut rule = String::from("|---:|---|:-:|");
    for program in Program::ALL {
        text.push_str(&format!(" {} |", program.name()));
        rule.push_str(":-:|");
    }
    text.push_str(&format!("\n{rule}\n"));
    for row in rows {
        let best = if row.fault.passes { Outcome::Survived } else { Outcome::Error };
        text.push_str(&format!("| {} | {} | {best} |", row.fault.number, row.fault.text));
        for program in Program::ALL {
            let outcome = row.of(program);
            let bold = if outcome == Outcome::Corrupt.to_string() { "**" } else { "" };
            text.push_str(&format!(" {bold}{outcome}{bold} |"));
        }
        text.push('\n');
    }
    for outcome in OUTCOMES {
        let possible = rows.iter().filter(|row| row.fault.passes == (outcome == Outcome::Survived)).count();
        let possible = if outcome <= Outcome::Error { possible } else { 0 };
        text.push_str(&format!("| | in all: {outcome} | {possible} |"));
        for program in Program::ALL {
            text.push_str(&format!(" {} |", counts(rows, program).get(&outcome).copied().unwrap_or(0)));
        }
        text.push('\n');
    }
    text
}

/// All of it for other programs.
pub(super) fn json(rows: &[Row]) -> Value {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Survived => "survived",
        Outcome::Error => "error",
        Outcome::Corrupt => "corrupt",
        Outcome::Hang => "hang",
    };
    let faults = rows.iter().map(|row| {
        let outcomes = row.outcomes.iter().map(|(program, outcome)| (program.name().to_owned(), word(outcome).into()));
        json!({
            "number": row.fault.number, "name": row.fault.name, "text": row.fault.text, "passes": row.fault.passes,
            "outcomes": outcomes.collect::<serde_json::Map<String, Value>>(),
        })
    });
    json!({ "hostile": faults.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::server::Blob;

    fn row(passes: bool, carrel: Outcome) -> Row {
        let (name, text) = ("fault".to_owned(), "something".to_owned());
        let mut row = Row::new(Fault { number: 1, name, text, blob: Blob::Usual, http2: false, passes });
        row.outcomes.insert(Program::Carrel, carrel);
        row.outcomes.insert(Program::Wget, Outcome::Corrupt);
        row
    }

    #[test]
    fn ours_has_lost_where_it_could_have_done_better() {
        assert!(!row(true, Outcome::Survived).is_lost());
        assert!(row(true, Outcome::Error).is_lost());
        assert!(!row(false, Outcome::Error).is_lost());
        assert!(!row(false, Outcome::Survived).is_lost());
        assert!(row(false, Outcome::Corrupt).is_lost());
        assert!(row(false, Outcome::Hang).is_lost());
    }

    #[test]
    fn the_table_says_who_ended_how() {
        let rows = [row(true, Outcome::Survived), row(false, Outcome::Error)];
        let text = markdown(&rows);
        assert!(text.contains("| 1 | something | ✓ | ✓ |  |  |  | **CORRUPT** |"), "{text}");
        assert!(text.contains("| | in all: CORRUPT | 0 | 0 | 0 | 0 | 0 | 2 |"), "{text}");
        let json = json(&rows);
        assert_eq!(json["hostile"][1]["outcomes"]["carrel"], "error");
    }
}
