//! What went through, read off the wire: the heads of HTTP/1.1 requests, and the bytes of each answer's body.
//!
//! Anything else (TLS, HTTP/2) is forwarded all the same and leaves no note.

use std::sync::Mutex;

use super::lock;

/// Longest request head that is understood; longer ones are forwarded all the same.
const LONGEST_HEAD: usize = 64 * 1024;

/// One HTTP/1.1 request that went through, and how much of its answer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// Bytes of the answer's body that were handed on.
    pub body_bytes: u64,
}

/// Which request of a connection is being answered, and how much of the end of the answer's head has been seen.
#[derive(Debug, Default)]
pub(super) struct Current(Mutex<(Option<usize>, HeadEnd)>);

impl Current {
    /// A request has been read; its answer comes next.
    fn begins(&self, request: Passed, passed: &Mutex<Vec<Passed>>) {
        let mut passed = lock(passed);
        passed.push(request);
        *lock(&self.0) = (Some(passed.len() - 1), HeadEnd::default());
    }

    /// These bytes of an answer were handed on.
    pub(super) fn answered(&self, bytes: &[u8], passed: &Mutex<Vec<Passed>>) {
        let mut passed = lock(passed);
        let (request, head) = &mut *lock(&self.0);
        let body = head.body_of(bytes);
        if let Some(passed) = request.and_then(|request| passed.get_mut(request)) {
            passed.body_bytes += body;
        }
    }
}

/// Finds the heads in what an app sends.
#[derive(Debug, Default)]
pub(super) struct Requests {
    head: Vec<u8>,
}

impl Requests {
    /// Takes the next bytes of an app.
    pub(super) fn sent(&mut self, bytes: &[u8], current: &Current, passed: &Mutex<Vec<Passed>>) {
        for byte in bytes {
            self.head.push(*byte);
            if self.head.ends_with(b"\r\n\r\n") || self.head.len() > LONGEST_HEAD {
                if let Some(request) = read_head(&self.head) {
                    current.begins(request, passed);
                }
                self.head.clear();
            }
        }
    }
}

/// Finds the empty line at the end of a head.
#[derive(Debug, Default)]
struct HeadEnd {
    matched: usize,
}

impl HeadEnd {
    /// Takes the next bytes of an answer; how many of them belong to the body.
    fn body_of(&mut self, bytes: &[u8]) -> u64 {
        const END: &[u8] = b"\r\n\r\n";
        let mut rest = bytes.iter();
        while let Some(expected) = END.get(self.matched) {
            let Some(byte) = rest.next() else { break };
            self.matched = if byte == expected { self.matched + 1 } else { usize::from(*byte == b'\r') };
        }
        rest.len() as u64
    }
}

/// Reads a request's head; what comes before it is the body of the request before.
pub(super) fn read_head(bytes: &[u8]) -> Option<Passed> {
    const METHODS: [&str; 6] = ["GET ", "HEAD ", "POST ", "PUT ", "PATCH ", "DELETE "];
    let text = String::from_utf8_lossy(bytes);
    let start = METHODS.iter().filter_map(|method| text.find(method)).min()?;
    let mut lines = text.get(start..)?.split("\r\n");
    let mut words = lines.next()?.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let range = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| value.trim().to_owned())
    });
    version.starts_with("HTTP/1").then(|| Passed {
        method: method.to_owned(),
        target: target.to_owned(),
        range,
        body_bytes: 0,
    })
}
