//! The program that plays: an origin for each name it is given on its input.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program::line;

/// What there is to fetch, and what is there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blob {
    Usual,
    Empty,
    There,
}

/// A fault as the catalogue describes it.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) text: String,
    pub(super) blob: Blob,
    /// Whether HTTP/2 is what it is about.
    pub(super) http2: bool,
    /// Whether the right bytes can be had; if not, an error is all that can be hoped for.
    pub(super) passes: bool,
}

/// A fresh origin that plays a fault.
pub(super) struct Stage {
    pub(super) url: String,
    /// The authority to trust, as PEM.
    pub(super) authority: Option<String>,
}

/// The running program; it ends with this value.
pub(super) struct Server {
    child: Child,
    talk: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Server {
    /// Starts it and reads its catalogue.
    pub(super) fn start(command: &mut Command) -> Result<(Self, Vec<Fault>)> {
        let name = line(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start {name}"))?;
        let input = child.stdin.take().context("no input")?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut faults = Vec::new();
        loop {
            let text = lines.next().with_context(|| format!("{name} ended"))??;
            if text == "ready" {
                break;
            }
            faults.push(read(&text).with_context(|| format!("{name} said {text}"))?);
        }
        Ok((Self { child, talk: Mutex::new((input, lines)) }, faults))
    }

    /// A fresh origin that plays this fault.
    pub(super) fn stage(&self, fault: &Fault) -> Result<Stage> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let (input, lines) = &mut *talk;
        writeln!(input, "{}", fault.name)?;
        input.flush()?;
        let said: Value = serde_json::from_str(&lines.next().context("the server ended")??)?;
        let text = |key: &str| said.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Stage { url: text("url").context("no address")?, authority: text("ca") })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(text: &str) -> Option<Fault> {
    let value: Value = serde_json::from_str(text).ok()?;
    let blob = match value.get("blob")?.as_str()? {
        "usual" => Blob::Usual,
        "empty" => Blob::Empty,
        "there" => Blob::There,
        _ => return None,
    };
    Some(Fault {
        number: value.get("number")?.as_u64()?,
        name: value.get("name")?.as_str()?.to_owned(),
        text: value.get("text")?.as_str()?.to_owned(),
        blob,
        http2: value.get("http2")?.as_bool()?,
        passes: value.get("passes")?.as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_the_catalogue() {
        let fault =
            read(r#"{"number":8,"name":"416","text":"no","blob":"there","http2":true,"passes":false}"#).unwrap();
        assert_eq!((fault.number, fault.name.as_str(), fault.blob), (8, "416", Blob::There));
        assert!(fault.http2 && !fault.passes);
        assert!(read("ready").is_none());
        assert!(read(r#"{"number":8}"#).is_none());
    }
}
