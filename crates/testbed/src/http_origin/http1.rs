//! HTTP/1.1 written on the socket itself: heads that lie, chunks that don't end.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    time::sleep,
};

use super::{
    act::Act,
    answer::{Answer, End, Part, answer},
    content::Content,
    seen::Seen,
    stage::{Connection, inverted},
    wire::Wire,
};

/// A chunk of a chunked body.
const CHUNK: u64 = 16 << 10;

/// Serves one connection until it ends.
pub(super) async fn converse(wire: Wire, connection: &Connection) -> io::Result<()> {
    let mut reader = BufReader::new(wire);
    while let Some(seen) = read_request(&mut reader).await? {
        let mut talk = Talk { wire: reader.get_mut(), connection, request: 0 };
        if !talk.reply(seen).await? {
            break;
        }
    }
    Ok(())
}

/// Reads one request without a body; `None` when the client has gone.
async fn read_request(reader: &mut BufReader<Wire>) -> io::Result<Option<Seen>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match reader.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some(Seen { method, path, headers, ..Seen::default() }.with_range()))
}

/// One request and its answer.
struct Talk<'a> {
    wire: &'a mut Wire,
    connection: &'a Connection,
    request: usize,
}

impl Talk<'_> {
    /// Answers; `false` when the connection is to be closed.
    async fn reply(&mut self, seen: Seen) -> io::Result<bool> {
        let (range, head_only) = (seen.range, seen.method == "HEAD");
        let last = seen.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let (request, act, content) = self.connection.arrived(seen);
        self.request = request;
        let Some(content) = content else {
            self.wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await?;
            return Ok(!last);
        };
        match answer(&act, &content, range) {
            Some(answer) => {
                self.head(&answer).await?;
                if !head_only {
                    self.body(&answer, &content).await?;
                }
                Ok(self.finish(answer.end).await? && !last)
            }
            None => self.oddity(&act).await,
        }
    }

    async fn oddity(&mut self, act: &Act) -> io::Result<bool> {
        match act {
            Act::Silent => std::future::pending().await,
            Act::Headers(length) => {
                self.wire.write_all(b"HTTP/1.1 206 Partial Content\r\n").await?;
                for _ in 0..length.div_ceil(100) {
                    self.wire.write_all(format!("X-Padding: {}\r\n", "x".repeat(87)).as_bytes()).await?;
                }
                self.wire.write_all(b"Content-Length: 0\r\n\r\n").await?;
                self.wire.flush().await?;
            }
            Act::Endless1xx => loop {
                self.wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                self.wire.flush().await?;
                sleep(Duration::from_millis(1)).await;
            },
            _ => {}
        }
        Ok(false)
    }

    async fn head(&mut self, answer: &Answer) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} As Scripted\r\n", answer.status);
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        if answer.head_every_ms == 0 {
            return self.wire.write_all(text.as_bytes()).await;
        }
        for byte in text.bytes() {
            self.wire.write_all(&[byte]).await?;
            self.wire.flush().await?;
            sleep(Duration::from_millis(answer.head_every_ms)).await;
        }
        Ok(())
    }

    async fn body(&mut self, answer: &Answer, content: &Content) -> io::Result<()> {
        for part in &answer.body {
            match part {
                Part::Blob(first, end) => self.blob(content, *first, *end, answer.chunked).await?,
                Part::Wrong(first, end) => {
                    let wrong = inverted(content, *first, *end)?;
                    self.bytes(&wrong, Some(*first)).await?;
                }
                Part::Drip(first, end, every_ms) => {
                    for at in *first..*end {
                        let byte = content.read(at, at + 1)?;
                        self.bytes(&byte, Some(at)).await?;
                        self.wire.flush().await?;
                        sleep(Duration::from_millis(*every_ms)).await;
                    }
                }
                Part::Text(text) => self.bytes(text, None).await?,
                Part::HalfChunk => self.wire.write_all(b"4000\r\nnot so many").await?,
                Part::GoAway => {}
            }
        }
        if answer.chunked && answer.end == End::KeepOpen {
            self.wire.write_all(b"0\r\n\r\n").await?;
        }
        self.wire.flush().await
    }

    /// What follows the body; `true` when another request may come.
    async fn finish(&mut self, end: End) -> io::Result<bool> {
        match end {
            End::KeepOpen => return Ok(true),
            End::Close => self.wire.shutdown().await?,
            End::Cut | End::Break => {}
            End::Reset => self.wire.tcp().set_zero_linger()?,
            End::HalfClose => {
                self.wire.end_tcp().await?;
                // Until the client has enough of it.
                tokio::io::copy(&mut self.wire, &mut tokio::io::sink()).await?;
            }
            End::Stall => std::future::pending().await,
        }
        Ok(false)
    }

    async fn blob(&mut self, content: &Content, mut first: u64, end: u64, chunked: bool) -> io::Result<()> {
        let end = end.min(content.size());
        while first < end {
            #[cfg(target_os = "linux")]
            if let (Wire::Plain(tcp), Content::File { file, .. }, false) = (&*self.wire, content, chunked)
                && self.connection.is_unlimited()
            {
                let sent = super::wire::send_file(tcp, file, first, end - first).await?;
                self.connection.sent(self.request, Some(first), sent);
                first += sent;
                continue;
            }
            let next = end.min(first + if chunked { CHUNK } else { self.connection.portion() });
            let portion = content.read(first, next)?;
            if chunked {
                self.wire.write_all(format!("{:x}\r\n", portion.len()).as_bytes()).await?;
            }
            self.bytes(&portion, Some(first)).await?;
            if chunked {
                self.wire.write_all(b"\r\n").await?;
            }
            first = next;
        }
        Ok(())
    }

    async fn bytes(&mut self, mut bytes: &[u8], mut at: Option<u64>) -> io::Result<()> {
        while !bytes.is_empty() {
            let portion = usize::try_from(self.connection.portion()).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(portion));
            self.wire.write_all(now).await?;
            let length = now.len() as u64;
            self.connection.sent(self.request, at, length);
            self.connection.pay(length).await;
            at = at.map(|at| at + length);
            bytes = later;
        }
        Ok(())
    }
}
