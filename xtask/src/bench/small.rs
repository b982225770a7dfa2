//! Many small files: far away over TLS, where round trips count, and near, where the disk does.
//!
//! Ours makes all of them durable in both; the others don't. What aria2 would need for that is shown where the network
//! costs nothing (`sync --file-system` once at the end, the cheapest way there is). aria2 makes a control file for each
//! file durable, though, three times: on a disk that is where most of its time goes. So it is measured once more with
//! everything in memory, where that costs nothing.

use std::{fmt::Write as _, path::Path, path::PathBuf, time::Duration};

use anyhow::Result;

use super::{
    big::again,
    ground::{self, Ground},
    measure::{self, Tool},
    quiet::Quiet,
    report::{Goal, Report},
    server::{self, Server},
};

const LIMIT: Duration = Duration::from_secs(120);
const FAR_FILES: u64 = 300;
const NEAR_FILES: u64 = 2_000;
const ROUND_TRIP_MS: u64 = 50;
/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// 300 files of 30 KB, TLS, HTTP/2 where the program speaks it, 50 ms there and back.
pub(super) fn far(ground: &Ground, runs: u32, quiet: &mut Quiet) -> Result<Report> {
    let folder = ground.small(FAR_FILES)?;
    let origin = ground.origin(&folder, true)?;
    let relay = Server::relay(&origin.url, &[("--round-trip-ms", ROUND_TRIP_MS.to_string())])?;
    let work = Work::prepare(ground, &folder, server::moved(&origin.url, &relay.url), true)?;
    let check = |thorough| ground::same_folder(&work.out, &folder, thorough);
    let leaves = [work.out.as_path()];
    let memory = Memory::prepare();
    let ours = ground.fetch_folder(&folder, &work.out, true, &work.base)?;
    let tools = [
        Tool::new("carrel", &leaves, || again(&ours), check),
        Tool::new("curl -Z, HTTP/2", &leaves, || work.curl(&["--http2", "--parallel-max", "200"]), check),
        Tool::new("aria2c -j16", &leaves, || work.aria2(&work.out), check),
        in_memory(&work, &memory.out, &folder),
    ];
    let laps = measure::race(&tools, runs, LIMIT, quiet)?;
    let title = format!(
        "{FAR_FILES} files of 30 KB, TLS, a round trip of {ROUND_TRIP_MS} ms; medians of {runs} runs; \
         curl: --parallel-max 200"
    );
    let mut report = Report::beside(title, &laps, ("files", FAR_FILES as f64));
    report.goals = vec![
        Goal::at_least("times as fast as aria2c -j16", Report::times_as_fast(&laps, "aria2c -j16"), 2.5),
        Goal::at_least("times as fast as curl -Z", Report::times_as_fast(&laps, "curl -Z, HTTP/2"), 0.95),
    ];
    Ok(report)
}

/// 2,000 such files, HTTP/1.1 without TLS, no delay; ours durable.
pub(super) fn near(ground: &Ground, runs: u32, quiet: &mut Quiet) -> Result<Report> {
    let folder = ground.small(NEAR_FILES)?;
    let origin = ground.origin(&folder, false)?;
    let work = Work::prepare(ground, &folder, origin.url.clone(), false)?;
    let check = |thorough| ground::same_folder(&work.out, &folder, thorough);
    let leaves = [work.out.as_path()];
    let memory = Memory::prepare();
    let ours = ground.fetch_folder(&folder, &work.out, false, &work.base)?;
    let tools = [
        Tool::new("carrel", &leaves, || again(&ours), check),
        Tool::new("aria2c -j16", &leaves, || work.aria2(&work.out), check),
        Tool::new(
            "aria2c -j16, sync",
            &leaves,
            || ground::then_sync(&work.aria2(&work.out), &["--file-system"], &work.out),
            check,
        ),
        in_memory(&work, &memory.out, &folder),
        Tool::new("curl -Z", &leaves, || work.curl(&["--http1.1", "--parallel-max", "16"]), check),
    ];
    let laps = measure::race(&tools, runs, LIMIT, quiet)?;
    let title = format!(
        "{NEAR_FILES} files of 30 KB, HTTP/1.1, loopback; medians of {runs} runs; curl: --parallel-max 16; \
         only carrel's (and with sync) are durable"
    );
    let mut report = Report::beside(title, &laps, ("files", NEAR_FILES as f64));
    let fast = Report::times_as_fast(&laps, "aria2c -j16");
    report.goals = vec![Goal::at_least("times as fast as aria2c -j16", fast, 1.3)];
    Ok(report)
}

/// A folder in memory; it goes with this value.
struct Memory {
    folder: PathBuf,
    out: PathBuf,
}

impl Memory {
    fn prepare() -> Self {
        let folder = Path::new(MEMORY).join(format!("carrel-bench-{}", std::process::id()));
        // Where there is no such file system, what is to go there fails and is told as failed.
        std::fs::create_dir(&folder).ok();
        Self { out: folder.join("out"), folder }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// aria2 into a file system in memory.
fn in_memory<'a>(work: &'a Work<'a>, out: &'a Path, folder: &'a Path) -> Tool<'a> {
    let check = move |thorough| ground::same_folder(out, folder, thorough);
    Tool::new("aria2c -j16, in memory", &[out], move || work.aria2(out), check)
}

/// The lists the programs work from.
struct Work<'a> {
    ground: &'a Ground,
    base: String,
    tls: bool,
    out: PathBuf,
    curl_list: PathBuf,
    aria2_list: PathBuf,
}

impl<'a> Work<'a> {
    fn prepare(ground: &'a Ground, folder: &Path, base: String, tls: bool) -> Result<Self> {
        ground.manifest(folder)?;
        let base = format!("{}/", base.trim_end_matches('/'));
        let out = ground.path("out");
        let mut names: Vec<_> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let (mut curl, mut aria2) = (String::new(), String::new());
        for name in names.iter().filter_map(|name| name.to_str()) {
            writeln!(curl, "url = \"{base}{name}\"\noutput = \"{}\"", out.join(name).display())?;
            writeln!(aria2, "{base}{name}\n  out={name}")?;
        }
        let (curl_list, aria2_list) = (ground.path("curl.list"), ground.path("aria2.list"));
        std::fs::write(&curl_list, curl)?;
        std::fs::write(&aria2_list, aria2)?;
        Ok(Self { ground, base, tls, out, curl_list, aria2_list })
    }

    fn curl(&self, options: &[&str]) -> std::process::Command {
        let mut command = self.ground.curl(self.tls);
        command.args(["--parallel", "--create-dirs"]).args(options).arg("--config").arg(&self.curl_list);
        command
    }

    fn aria2(&self, out: &Path) -> std::process::Command {
        let mut command = self.ground.aria2(self.tls);
        command.arg("-j16").arg("--input-file").arg(&self.aria2_list).arg("--dir").arg(out);
        command
    }
}
