//! Installs what building and testing need, and names what it can't install.

use anyhow::{Result, bail};

use crate::{
    places,
    program::{self, exists, npm, output, program},
};

/// Debian packages: the webview and what it plays with, then what only the tests use.
const PACKAGES: &[&str] = &[
    "build-essential",
    "pkg-config",
    "libwebkit2gtk-4.1-dev",
    "libayatana-appindicator3-dev",
    "librsvg2-dev",
    "libasound2-dev",
    "libdbus-1-dev",
    "patchelf",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-libav",
    "xvfb",
    "dbus-x11",
    "webkit2gtk-driver",
    "chromium",
    "curl",
    "aria2",
    "wget",
    "fonts-noto-core",
    "postgresql",
];

const OLDEST_RUST: [u32; 2] = [1, 95];
const OLDEST_NODE: [u32; 2] = [20, 19];

/// Installs what is missing; says nothing about what is there.
pub(crate) fn run() -> Result<()> {
    at_least("Rust", output(program("rustc").arg("--version")), OLDEST_RUST)?;
    at_least("Node", output(program("node").arg("--version")), OLDEST_NODE)?;
    system_packages()?;
    npm_packages()?;
    for (tool, loss) in [("cargo-nextest", "tests run with `cargo test`"), ("cargo-deny", "licences aren't checked")] {
        if !exists(tool) {
            println!("{tool} is not installed, so {loss}: `cargo install --locked {tool}`");
        }
    }
    Ok(())
}

fn at_least(what: &str, version: Option<String>, oldest: [u32; 2]) -> Result<()> {
    let wanted = format!("{}.{}", oldest[0], oldest[1]);
    let Some(version) = version else { bail!("{what} {wanted} or newer is needed, and there is none") };
    match numbers(&version) {
        Some(found) if found >= oldest => Ok(()),
        _ => bail!("{what} {wanted} or newer is needed; this is {version}"),
    }
}

/// The first two numbers of a version line.
fn numbers(version: &str) -> Option<[u32; 2]> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let mut parts = version.get(start..)?.split(|c: char| !c.is_ascii_digit());
    Some([parts.next()?.parse().ok()?, parts.next()?.parse().ok()?])
}

fn system_packages() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    if !exists("dpkg-query") {
        println!("Not a Debian or Ubuntu: see to it that the like of these is installed: {}", PACKAGES.join(" "));
        return Ok(());
    }
    let missing: Vec<_> = PACKAGES.iter().filter(|package| !installed(package)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("Installing {}", missing.join(" "));
    program::run(apt().args(["update", "-qq"]))?;
    program::run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing))
}

fn installed(package: &str) -> bool {
    let status = output(program("dpkg-query").args(["-W", "-f", "${Status}", package]));
    status.is_some_and(|status| status.ends_with("ok installed"))
}

fn apt() -> std::process::Command {
    let root = output(program("id").arg("-u")).is_some_and(|id| id == "0");
    let mut command = program(if root { "env" } else { "sudo" });
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

/// Runs `npm ci` unless the packages are those of the lock file.
fn npm_packages() -> Result<()> {
    let modified = |path: &str| std::fs::metadata(places::root().join(path)).and_then(|meta| meta.modified()).ok();
    if let (Some(lock), Some(done)) = (modified("package-lock.json"), modified("node_modules/.package-lock.json"))
        && done >= lock
    {
        return Ok(());
    }
    program::run(
        npm().args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_programs_print_them() {
        assert_eq!(numbers("rustc 1.95.0 (f2d3ce0bd 2026-03-21)"), Some([1, 95]));
        assert_eq!(numbers("v20.20.2"), Some([20, 20]));
        assert_eq!(numbers("none"), None);
    }

    #[test]
    fn an_older_version_is_refused_with_both_versions_named() {
        let error = at_least("Node", Some("v18.2.0".into()), OLDEST_NODE).unwrap_err().to_string();
        assert!(error.contains("20.19") && error.contains("v18.2.0"), "{error}");
        assert!(at_least("Node", Some("v22.1.0".into()), OLDEST_NODE).is_ok());
    }
}
