//! Service and host are killed behind a bad network, and nothing that was acknowledged is lost or doubled: the short form.
//!
//! The example `chaos` does the work, with the built programs; `cargo xtask chaos --kills 200` is the long form.
// Programs are killed by signal, so only where there are signals.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use std::{env, path::PathBuf, process::Command};

use serde_json::Value;

/// Where cargo puts programs.
fn programs() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned()
}

#[test]
fn ten_kills_behind_a_bad_network_lose_nothing_and_double_nothing() {
    let chaos = programs().join("examples").join("chaos");
    assert!(chaos.exists(), "{} is missing: cargo build -p carrel-testbed --examples", chaos.display());
    for name in ["carrel-service", "carrel-host"] {
        let program = programs().join(name);
        assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
    }
    let output =
        Command::new(chaos).arg("--programs").arg(programs()).args(["--kills", "10", "--seed", "7"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}\n{printed}");
    let line: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    for fault in ["lost", "duplicated", "wrong", "stuck"] {
        assert_eq!(line.get(fault), Some(&Value::from(0)), "{fault}: {line}\n{said}");
    }
    let number = |name: &str| line.get(name).and_then(Value::as_u64).unwrap();
    assert!(number("kills") >= 10, "{line}");
    assert!(number("answers") > 0, "the learner got something done: {line}");
    assert!(number("requests_lost") + number("answers_cut") > 0, "the network was bad: {line}");
}
