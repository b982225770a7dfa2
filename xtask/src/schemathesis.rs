//! `cargo xtask schemathesis`: random requests against the service, made from its OpenAPI document.
//!
//! Schemathesis (a Python program, of one version, in a folder of its own under `target`) reads the document that the service
//! serves and looks for answers it doesn't allow: a status, a media type or a body that isn't described, and any 5xx. The
//! service is the built one, with the sample courses; a learner is signed in, so that requests get as far as they can.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    build, places,
    program::{self, cargo, exists, output, program},
    samples::{LEARNER, PASSWORD, SampleService},
};

/// The one that was tried.
const VERSION: &str = "4.32.5";
/// What an answer must be.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,response_headers_conformance";
/// It ends the session that all other requests need.
const SIGN_OUT: &str = "/api/v1/auth/sign-out";
const DEVICE: &str = "01900000-0000-7000-8000-000000000001";

/// How many, and which.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests there must be at least
    #[arg(long, default_value_t = 2_000)]
    cases: u64,
    /// Random requests for each operation, beside those that the document calls for
    #[arg(long, default_value_t = 110)]
    each: u32,
    /// The seed
    #[arg(long, default_value_t = 8)]
    seed: u32,
    /// Take the service as it was built last
    #[arg(long)]
    no_build: bool,
}

/// Runs them. The last line is one JSON object.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.no_build {
        program::run(cargo().arg("build").args(build::WORKSPACE).args(["--bin", "carrel-service"]))?;
    }
    let schemathesis = installed()?;
    let data = places::scratch(&format!("schemathesis-{}", std::process::id()));
    let result = checked(options, schemathesis, &data);
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| format!("can't remove {}", data.display()))?;
    }
    result
}

fn checked(options: &Options, schemathesis: PathBuf, data: &std::path::Path) -> Result<()> {
    let service = SampleService::start(data, 0)?;
    let authorization = format!("Authorization: Bearer {}", signed_in(&service.url)?);
    let report = data.join("report.json");
    let mut command = program(schemathesis);
    command.arg("run").arg(format!("{}/api/v1/openapi.json", service.url));
    command.args(["--header", &authorization, "--exclude-path", SIGN_OUT, "--checks", CHECKS]);
    command.args(["--max-examples", &options.each.to_string(), "--seed", &options.seed.to_string()]);
    command.args(["--generation-database", "none", "--no-color", "--continue-on-failure", "--warnings", "off"]);
    command.arg("--report-json-path").arg(&report);
    let outcome = program::run(&mut command);
    let cases = std::fs::read(&report).ok().and_then(|text| cases(&serde_json::from_slice(&text).ok()?));
    println!("{}", json!({ "schemathesis": VERSION, "cases": cases, "seed": options.seed, "met": outcome.is_ok() }));
    outcome?;
    let cases = cases.context("schemathesis did not say how many requests it made")?;
    ensure!(cases >= options.cases, "{cases} requests are fewer than {}; more with --each", options.cases);
    Ok(())
}

/// How many requests were generated, wherever the report says so.
fn cases(report: &Value) -> Option<u64> {
    match report {
        Value::Object(fields) => {
            let here = fields.get("test_cases").and_then(|cases| cases.get("generated").unwrap_or(cases).as_u64());
            here.or_else(|| fields.values().find_map(cases))
        }
        _ => None,
    }
}

/// The program, in an environment of its own.
fn installed() -> Result<PathBuf> {
    let environment = places::target().join("schemathesis").join(VERSION);
    let bin = environment.join("bin");
    if !bin.join("schemathesis").exists() {
        if !exists("python3") {
            bail!("Python is missing; install it: apt-get install --no-install-recommends python3 python3-venv");
        }
        let made = program::run(program("python3").args(["-m", "venv"]).arg(&environment));
        made.context("is python3-venv installed? apt-get install --no-install-recommends python3-venv")?;
        let package = format!("schemathesis=={VERSION}");
        program::run(program(bin.join("pip")).args(["install", "--quiet", "--disable-pip-version-check", &package]))?;
    }
    Ok(bin.join("schemathesis"))
}

/// An access token of the learner that [`SampleService`] adds.
fn signed_in(url: &str) -> Result<String> {
    let body = json!({ "name": LEARNER, "password": PASSWORD, "device_id": DEVICE }).to_string();
    let mut curl = program("curl");
    curl.args(["--silent", "--fail", "--header", "content-type: application/json", "--data", &body]);
    let answer = output(curl.arg(format!("{url}/api/v1/auth/sign-in"))).context("the learner can't sign in")?;
    let answer: Value = serde_json::from_str(&answer)?;
    answer.get("access_token").and_then(Value::as_str).map(str::to_owned).context("no token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_requests_is_found_in_the_report() {
        assert_eq!(cases(&json!({ "summary": { "test_cases": { "generated": 2_100 } } })), Some(2_100));
        assert_eq!(cases(&json!({ "test_cases": 7 })), Some(7));
        assert_eq!(cases(&json!({ "summary": {} })), None);
    }
}
