//! What an origin has seen and sent: requests as they arrived, bytes as they left.
//!
//! "Nothing was fetched twice" is a claim about the wire, so the bytes are counted where they are written to it.

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The range asked for: first byte and, if given, last byte.
    pub range: Option<(u64, Option<u64>)>,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Whether it came over HTTP/2.
    pub http2: bool,
}

impl Seen {
    /// The value of a header; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads the range out of the headers.
    pub(super) fn with_range(mut self) -> Self {
        self.range = self.header("range").and_then(|value| {
            let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()))
        });
        self
    }
}

/// Bytes of a blob that were written to a socket without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The request they answer: its index among all seen.
    pub request: usize,
    /// The path of that request.
    pub path: String,
    /// The first byte.
    pub first: u64,
    /// One behind the last byte.
    pub end: u64,
}

#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) seen: Vec<Seen>,
    pub(super) served: Vec<Served>,
    pub(super) connections: usize,
}

impl Records {
    /// Notes bytes of the blob written in answer to a request.
    pub(super) fn sent(&mut self, request: usize, first: u64, length: u64) {
        let last = self.served.iter_mut().rev().find(|served| served.request == request);
        match last {
            Some(served) if served.end == first => served.end += length,
            _ => {
                let path = self.seen.get(request).map(|seen| seen.path.clone()).unwrap_or_default();
                self.served.push(Served { request, path, first, end: first + length });
            }
        }
    }
}

/// How many bytes were sent more than once, blob by blob (paths without their query).
#[must_use]
pub fn sent_twice(served: &[Served]) -> u64 {
    let mut ranges: Vec<(&str, u64, u64)> = served
        .iter()
        .map(|served| (served.path.split('?').next().unwrap_or_default(), served.first, served.end))
        .collect();
    ranges.sort_unstable();
    let (mut twice, mut path, mut reached) = (0, None, 0);
    for (of, first, end) in ranges {
        if path != Some(of) {
            (path, reached) = (Some(of), 0);
        }
        twice += reached.min(end).saturating_sub(first);
        reached = reached.max(end);
    }
    twice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(path: &str, first: u64, end: u64) -> Served {
        Served { request: 0, path: path.to_owned(), first, end }
    }

    #[test]
    fn bytes_sent_again_are_counted_once_for_each_time() {
        assert_eq!(sent_twice(&[]), 0);
        assert_eq!(sent_twice(&[served("/a", 0, 10), served("/a", 10, 20), served("/b", 0, 10)]), 0);
        assert_eq!(sent_twice(&[served("/a?sig=1", 0, 10), served("/a?sig=2", 4, 12)]), 6);
        assert_eq!(sent_twice(&[served("/a", 0, 10), served("/a", 0, 10), served("/a", 2, 3)]), 11);
    }

    #[test]
    fn neighbouring_writes_of_one_answer_are_one_range() {
        let mut records = Records::default();
        records.sent(0, 0, 5);
        records.sent(1, 7, 1);
        records.sent(0, 5, 5);
        records.sent(0, 20, 1);
        let ranges: Vec<_> = records.served.iter().map(|served| (served.request, served.first, served.end)).collect();
        assert_eq!(ranges, [(0, 0, 10), (1, 7, 8), (0, 20, 21)]);
    }
}
