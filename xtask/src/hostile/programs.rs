//! The programs compared, each told to do what it can: go on with what is there, try again, take three seconds of silence
//! for a stall.

use std::{path::Path, process::Command};

use super::{EMPTY_SHA256, Ground, release, server::Blob, trial::Work};
use crate::program::{exists, program};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Program {
    Carrel,
    Curl,
    Aria2,
    /// With the SHA-256 of the file on its command line.
    Aria2Checksum,
    Wget,
}

impl Program {
    pub(super) const ALL: [Self; 5] = [Self::Carrel, Self::Curl, Self::Aria2, Self::Aria2Checksum, Self::Wget];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Carrel => "carrel",
            Self::Curl => "curl",
            Self::Aria2 => "aria2",
            Self::Aria2Checksum => "aria2 --checksum",
            Self::Wget => "wget",
        }
    }

    /// Its command line for a piece of work.
    pub(super) fn command(self, ground: &Ground, work: &Work<'_>) -> Command {
        match self {
            Self::Carrel => carrel(ground, work),
            Self::Curl => curl(work),
            Self::Aria2 => aria2(work),
            Self::Aria2Checksum => {
                let digest = if work.blob == Blob::Empty { EMPTY_SHA256 } else { ground.sha256.as_str() };
                let mut command = aria2(work);
                command.arg(format!("--checksum=sha-256={digest}"));
                command
            }
            Self::Wget => wget(work),
        }
    }
}

/// Programs that aren't there, by the names of their packages.
pub(super) fn missing() -> Vec<&'static str> {
    let needed = [("curl", "curl"), ("aria2c", "aria2"), ("wget", "wget"), ("sha256sum", "coreutils")];
    needed.into_iter().filter(|(name, _)| !exists(name)).map(|(_, package)| package).collect()
}

fn carrel(ground: &Ground, work: &Work<'_>) -> Command {
    let mut command = program(release("fetch"));
    let manifest = if work.blob == Blob::Empty { &ground.empty_manifest } else { &ground.manifest };
    command.arg("--manifest").arg(manifest).arg("--out").arg(&work.out);
    command.arg("--journal").arg(work.out.with_extension("journal"));
    command.args(["--stall", "3", "--attempts", "3"]);
    if work.http2 {
        // By itself it takes HTTP/1.1 for a file of this size.
        command.arg("--http2=always");
    }
    trust(&mut command, "--ca", work.authority.as_deref());
    command.arg(work.url);
    command
}

fn curl(work: &Work<'_>) -> Command {
    let mut command = program("curl");
    command.args(["--silent", "--show-error", "--fail", "--location", "--continue-at", "-", "--retry", "2"]);
    command.args(["--retry-delay", "1", "--speed-limit", "1024", "--speed-time", "3", "--connect-timeout", "3"]);
    trust(&mut command, "--cacert", work.authority.as_deref());
    command.arg("--output").arg(&work.out).arg(work.url);
    command
}

fn aria2(work: &Work<'_>) -> Command {
    let mut command = program("aria2c");
    command.args(["--quiet", "--continue=true", "--no-conf=true", "--max-connection-per-server=4", "--split=4"]);
    command.args(["--min-split-size=1M", "--max-tries=3", "--retry-wait=1", "--timeout=3", "--connect-timeout=3"]);
    command.args(["--lowest-speed-limit=1K", "--file-allocation=none", "--auto-file-renaming=false"]);
    trust(&mut command, "--ca-certificate", work.authority.as_deref());
    let name = work.out.file_name().unwrap_or_default();
    command.arg("--dir").arg(work.folder).arg("--out").arg(name).arg(work.url);
    command
}

fn wget(work: &Work<'_>) -> Command {
    let mut command = program("wget");
    command.args(["--no-config", "--quiet", "--continue", "--tries=3", "--waitretry=1", "--timeout=3"]);
    command.args(["--retry-connrefused", "--retry-on-http-error=408,425,429,500,502,503,504,522,524"]);
    trust(&mut command, "--ca-certificate", work.authority.as_deref());
    command.arg("--output-document").arg(&work.out).arg(work.url);
    command
}

fn trust(command: &mut Command, flag: &str, authority: Option<&Path>) {
    if let Some(path) = authority {
        command.arg(flag).arg(path);
    }
}
