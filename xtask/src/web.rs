//! `cargo xtask web`: the app in a browser, over the HTTP host, against a service with the sample courses.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{
    build, places,
    program::{self, Background, program},
    samples::{self, LEARNER, PASSWORD, SampleService},
    setup,
};

const START_LIMIT: Duration = Duration::from_secs(30);

/// Where to listen and what to keep.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Port of the HTTP host
    #[arg(long, default_value_t = 7420)]
    port: u16,
    /// Port of the service; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    service_port: u16,
    /// Go on with the data of the last time
    #[arg(long)]
    keep: bool,
}

/// A running HTTP host; it ends with this value.
#[derive(Debug)]
pub(crate) struct SampleHost {
    /// Opens the app, once.
    pub(crate) link: String,
    process: Background,
    cookies: PathBuf,
}

impl SampleHost {
    /// Starts it. Port 0 takes a free one.
    pub(crate) fn start(data: &Path, service: &str, port: u16) -> Result<Self> {
        let mut command = program(places::built("carrel-host"));
        command.arg("--data").arg(data).args(["--service", service, "--listen", &format!("127.0.0.1:{port}")]);
        let process = Background::start(&mut command)?;
        let link = process.wait_for(START_LIMIT, samples::address)?;
        Ok(Self { link, process, cookies: data.with_extension("cookies") })
    }

    /// Calls a command as a browser that followed the link would. The first call uses the link up.
    pub(crate) fn call(&self, command: &str, request: &Value) -> Result<()> {
        let origin: String = self.link.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--location", "--output"]);
        curl.arg(if cfg!(windows) { "NUL" } else { "/dev/null" });
        program::run(curl.arg("--cookie-jar").arg(&self.cookies).arg(&self.link))?;

        let mut curl = program("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--data-binary", "@-"])
            .arg("--cookie")
            .arg(&self.cookies);
        curl.args(["--header", "Content-Type: application/json", "--header", &format!("Origin: {origin}")]);
        // By standard input: an argument could be read by every user of this machine.
        let mut child = curl.arg(format!("{origin}/api/commands/{command}")).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().context("no standard input")?.write_all(request.to_string().as_bytes())?;
        if !child.wait()?.success() {
            bail!("{command} failed");
        }
        Ok(())
    }
}

/// Runs until it is interrupted.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    build::run()?;
    let folder = places::scratch("web");
    if !options.keep && folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let service = SampleService::start(&folder.join("service"), options.service_port)?;
    let host = SampleHost::start(&folder.join("app"), &service.url, options.port)?;
    println!("\nOpen {}\nSign in as {LEARNER}, password {PASSWORD}. Ctrl-C ends it.", host.link);
    host.process.wait()
}
