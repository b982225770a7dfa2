//! One fault, one program: called until it says that it went well, or has failed often enough; then its file is looked at.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    Ground,
    programs::Program,
    server::{Blob, Fault, Server},
};
use crate::program::line;

/// A call that takes longer hangs.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// Calls of a program that fails, and how long they may take before another one isn't worth it.
const CALLS: u32 = 12;
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_CALLS: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a program is given.
pub(super) struct Work<'a> {
    pub(super) blob: Blob,
    /// To be asked for over HTTP/2, where a program can be told so.
    pub(super) http2: bool,
    pub(super) url: &'a str,
    /// A folder of its own.
    pub(super) folder: &'a Path,
    /// The file to write.
    pub(super) out: PathBuf,
    /// The PEM file of the authority to trust.
    pub(super) authority: Option<PathBuf>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It said well, and the file is right.
    Survived,
    /// It said that it failed.
    Error,
    /// It said well, and the file is wrong.
    Corrupt,
    /// It didn't end.
    Hang,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Survived => "✓",
            Self::Error => "error",
            Self::Corrupt => "CORRUPT",
            Self::Hang => "hang",
        })
    }
}

/// Plays a fault to a program on a fresh server.
pub(super) fn play(ground: &Ground, server: &Server, fault: &Fault, program: Program) -> Result<Outcome> {
    let folder = ground.folder.join(format!("{}-{}", fault.name, program.name().replace(' ', "")));
    fs::create_dir_all(&folder)?;
    let stage = server.stage(fault)?;
    let authority = match stage.authority {
        Some(pem) => {
            let path = folder.join("authority.pem");
            fs::write(&path, pem)?;
            Some(path)
        }
        None => None,
    };
    let out = folder.join("out.bin");
    let work = Work { blob: fault.blob, http2: fault.http2, url: &stage.url, folder: &folder, out, authority };
    let right: &[u8] = if fault.blob == Blob::Empty { &[] } else { &ground.content };
    if fault.blob == Blob::There {
        fs::write(&work.out, right)?;
    }
    let outcome = calls(ground, &work, program, right)?;
    fs::remove_dir_all(&folder)?;
    Ok(outcome)
}

fn calls(ground: &Ground, work: &Work<'_>, program: Program, right: &[u8]) -> Result<Outcome> {
    let begun = Instant::now();
    for call in 1.. {
        match end(&mut program.command(ground, work))? {
            None => return Ok(Outcome::Hang),
            Some(true) => {
                let is_right = fs::read(&work.out).is_ok_and(|found| found == right);
                return Ok(if is_right { Outcome::Survived } else { Outcome::Corrupt });
            }
            Some(false) if call >= CALLS || begun.elapsed() >= PATIENCE => break,
            Some(false) => std::thread::sleep(BETWEEN_CALLS),
        }
    }
    Ok(Outcome::Error)
}

/// Runs a command to its end: whether it said that it went well; `None` when it had to be killed.
fn end(command: &mut Command) -> Result<Option<bool>> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("can't start {}", line(command)))?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if begun.elapsed() >= CALL_LIMIT {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_what_a_program_says() {
        assert_eq!(end(&mut Command::new("true")).unwrap(), Some(true));
        assert_eq!(end(&mut Command::new("false")).unwrap(), Some(false));
        assert!(end(&mut Command::new("no such program")).is_err());
    }
}
