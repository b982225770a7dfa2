//! Real processes: the built programs, started for one test, killed by their id, gone when the test ends.
//!
//! Each runs in a process group of its own, so that what it started (a browser, a session bus) goes with it, and writes
//! into a log file that a failing test can show.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How often a condition is looked at while waiting for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running program.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it, with both outputs in `log`.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let child = command.spawn().map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Self { child, name, log: log.to_owned() })
    }

    /// The operating system's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until `find` finds something in what it printed; an error names what it printed instead.
    pub async fn wait_for<T>(&mut self, limit: Duration, find: impl Fn(&str) -> Option<T>) -> io::Result<T> {
        let began = Instant::now();
        loop {
            let log = self.log();
            if let Some(found) = find(&log) {
                return Ok(found);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > limit {
                let why = ended.map_or_else(|| format!("said nothing of it in {limit:?}"), |status| status.to_string());
                return Err(io::Error::other(format!("{}: {why}; it printed:\n{log}", self.name)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > limit {
                return Err(io::Error::other(format!("{} still runs after {limit:?}:\n{}", self.name, self.log())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Kills it and what it started, without a warning (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        #[cfg(unix)]
        kill_group(self.child.id());
        // Fails only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(unix)]
fn kill_group(id: u32) {
    if let Some(group) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
        // Fails only when nothing of the group is left.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// Kills one process, without a warning (SIGKILL), and waits until it is gone.
#[cfg(target_os = "linux")]
pub async fn kill_and_wait(id: u32, limit: Duration) -> io::Result<()> {
    let pid = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other(format!("{id} is no process id")))?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let began = Instant::now();
    while !is_gone(id) {
        if began.elapsed() > limit {
            return Err(io::Error::other(format!("process {id} is still there after {limit:?}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// A zombie without threads holds no lock, no socket and no memory: it is gone but for its parent's notice of it.
///
/// The first thread alone says nothing: it becomes a zombie while others still hold everything open.
#[cfg(target_os = "linux")]
fn is_gone(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    let zombie = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'));
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).map(Iterator::count).unwrap_or_default();
    zombie && threads <= 1
}

/// The process that runs `program` with `variable=value` in its environment: for programs that another one started.
#[cfg(target_os = "linux")]
#[must_use]
pub fn find(program: &Path, variable: &str, value: &str) -> Option<u32> {
    let wanted = format!("{variable}={value}");
    // The system lists programs by their real path; the target folder may be a link.
    let program = program.canonicalize().ok()?;
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        // A program that was built anew meanwhile is listed as "… (deleted)".
        let running = std::fs::read_link(entry.path().join("exe")).ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let is_it = running.to_string_lossy().trim_end_matches(" (deleted)") == program.to_string_lossy();
        (is_it && environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())).then_some(id)
    })
}

#[cfg(all(test, target_os = "linux"))]
#[path = "processes_tests.rs"]
mod tests;
