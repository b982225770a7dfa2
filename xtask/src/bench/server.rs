//! The programs that stand for the other side: origin and relay, quiet, asked by a line on their standard input.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program::{line, program};

const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A running server; it ends with this value.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    /// Where it is: the address it printed.
    pub(super) url: String,
}

impl Server {
    /// Starts it and waits for the address it prints.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let name = line(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start {name}"))?;
        let output = child.stdout.take().with_context(|| format!("{name} has no output"))?;
        let input = child.stdin.take();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for text in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(text).is_err() {
                    break;
                }
            }
        });
        let mut server = Self { child, input, lines, url: String::new() };
        while server.url.is_empty() {
            let text = server.lines.recv_timeout(ANSWER_LIMIT).with_context(|| format!("{name} gave no address"))?;
            server.url = address(&text).unwrap_or_default().to_owned();
        }
        Ok(server)
    }

    /// A relay in front of a server, given as [`authority`] of its address.
    pub(super) fn relay(to: &str, arguments: &[(&str, String)]) -> Result<Self> {
        let mut command = program(super::ground::release("relay"));
        command.args(["--to", authority(to)]);
        for (name, value) in arguments {
            command.arg(name).arg(value);
        }
        Self::start(&mut command)
    }

    /// Asks for one line of JSON.
    pub(super) fn ask(&mut self, question: &str) -> Result<Value> {
        let input = self.input.as_mut().context("the server can't be asked")?;
        writeln!(input, "{question}")?;
        let text = self.lines.recv_timeout(ANSWER_LIMIT).context("the server doesn't answer")?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in a line of output.
fn address(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with("http://") || word.starts_with("https://"))
}

/// Host and port of an address.
pub(super) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The same scheme and path at another host and port.
pub(super) fn moved(url: &str, to: &str) -> String {
    url.replacen(authority(url), authority(to), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_behind_a_relay_keeps_scheme_and_path() {
        let moved = moved("https://127.0.0.1:4433/blob", "http://127.0.0.1:9000");
        assert_eq!(moved, "https://127.0.0.1:9000/blob");
        assert_eq!(authority("https://localhost:1/"), "localhost:1");
        assert_eq!(address("at https://127.0.0.1:1/ now"), Some("https://127.0.0.1:1/"));
    }
}
