//! A service with the sample courses and one learner, for everything that a person looks at.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    places,
    program::{Background, line, program, run},
};

/// Name of the learner.
pub(crate) const LEARNER: &str = "amina";
/// Their password; it protects nothing but a service on this machine's loopback.
pub(crate) const PASSWORD: &str = "rivers-and-stars";

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running service with the sample courses; it ends with this value.
#[derive(Debug)]
pub(crate) struct SampleService {
    /// Where it listens.
    pub(crate) url: String,
    #[expect(dead_code, reason = "held, because the service ends with it")]
    process: Background,
}

impl SampleService {
    /// Publishes, adds the learner, and starts it. Port 0 takes a free one.
    pub(crate) fn start(data: &Path, port: u16) -> Result<Self> {
        std::fs::create_dir_all(data).with_context(|| format!("can't make {}", data.display()))?;
        for folder in courses()? {
            run(service(data).arg("publish").arg(&folder))?;
        }
        if !data.join("learner-added").exists() {
            add_learner(data)?;
            std::fs::write(data.join("learner-added"), LEARNER)?;
        }
        let listen = format!("127.0.0.1:{port}");
        let process = Background::start(service(data).args(["serve", "--listen", &listen]))?;
        let url = process.wait_for(START_LIMIT, address)?;
        Ok(Self { url, process })
    }
}

/// The folders of `samples/courses`, in the order of their names.
fn courses() -> Result<Vec<PathBuf>> {
    let folder = places::root().join("samples").join("courses");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))?;
    let mut found: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("course.toml").is_file()).collect();
    found.sort();
    if found.is_empty() {
        bail!("{} holds no course", folder.display());
    }
    Ok(found)
}

fn service(data: &Path) -> Command {
    let mut command = program(places::built("carrel-service"));
    command.arg("--data").arg(data);
    command
}

fn add_learner(data: &Path) -> Result<()> {
    let mut command = service(data);
    command.args(["account", "add", LEARNER, "--display-name", "Amina", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| format!("can't start {}", line(&command)))?;
    child.stdin.take().context("no standard input")?.write_all(format!("{PASSWORD}\n").as_bytes())?;
    if !child.wait()?.success() {
        bail!("{} failed", line(&command));
    }
    for folder in courses()? {
        let key = folder.file_name().unwrap_or_default().to_owned();
        run(service(data).arg("enrol").arg(LEARNER).arg(key))?;
    }
    Ok(())
}

/// The address in a line like "listening on http://127.0.0.1:8080".
pub(crate) fn address(line: &str) -> Option<String> {
    let start = line.find("http://")?;
    line.get(start..)?.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_address_a_program_prints() {
        assert_eq!(address("listening on http://127.0.0.1:8080"), Some("http://127.0.0.1:8080".into()));
        assert_eq!(
            address("Open http://127.0.0.1:1/#/open?key=abc in a browser"),
            Some("http://127.0.0.1:1/#/open?key=abc".into())
        );
        assert_eq!(address("published rivers"), None);
    }

    #[test]
    fn there_are_sample_courses() {
        assert!(!courses().unwrap().is_empty());
    }
}
