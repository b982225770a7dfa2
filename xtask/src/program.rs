//! Starting other programs: in the foreground until they end, or in the background until this task ends.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::places;

/// A command that runs in the root of the repository.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(places::root());
    command
}

/// Cargo, the one that runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Set for this task by cargo; would otherwise decide what build scripts of the next cargo see.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME").env_remove("CARGO_PKG_VERSION");
    command
}

/// npm, which is a script on Windows.
pub(crate) fn npm() -> Command {
    program(if cfg!(windows) { "npm.cmd" } else { "npm" })
}

/// Runs a command to its end and shows what it prints.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("can't start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs a command to its end and takes what it prints; `None` when it can't be started or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program is on the path.
pub(crate) fn exists(name: &str) -> bool {
    let endings = ["", if cfg!(windows) { ".exe" } else { "" }];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| endings.iter().any(|ending| dir.join(format!("{name}{ending}")).is_file()))
}

/// A program in the background; it ends with this value.
#[derive(Debug)]
pub(crate) struct Background {
    child: Child,
    lines: mpsc::Receiver<String>,
    name: String,
}

impl Background {
    /// Starts it. Its standard output is kept for [`Self::wait_for`] and shown.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = line(command);
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("can't start {name}"))?;
        let output = child.stdout.take().with_context(|| format!("{name} has no output"))?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                println!("  {text}");
                // Nobody waits for a line any more: only the pipe must not fill up.
                let _ = send.send(text);
            }
        });
        Ok(Self { child, lines, name })
    }

    /// Waits until it prints a line in which `find` finds something.
    pub(crate) fn wait_for<T>(&self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        loop {
            let text = self.lines.recv_timeout(limit);
            let text = text.with_context(|| format!("{} ended, or said nothing for {limit:?}", self.name))?;
            if let Some(found) = find(&text) {
                return Ok(found);
            }
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Result<()> {
        let status = self.child.wait().with_context(|| format!("can't wait for {}", self.name))?;
        if status.success() { Ok(()) } else { bail!("{} ended with {status}", self.name) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
