//! A connection as a device keeps one: HTTP/1.1, one request at a time. By hand, since the generator shares its processors
//! with what it measures.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// More headers than the service sends.
const MAX_HEADERS: usize = 32;

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Seconds after which to come back.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Vec<u8>,
}

/// A connection that is kept until it breaks.
#[derive(Debug)]
pub(crate) struct Connection {
    to: SocketAddr,
    stream: Option<TcpStream>,
}

impl Connection {
    pub(crate) const fn new(to: SocketAddr) -> Self {
        Self { to, stream: None }
    }

    pub(crate) async fn get(&mut self, path: &str, token: &str) -> io::Result<Answer> {
        self.send("GET", path, Some(token), &[]).await
    }

    pub(crate) async fn post(&mut self, path: &str, token: Option<&str>, body: &[u8]) -> io::Result<Answer> {
        self.send("POST", path, token, body).await
    }

    async fn send(&mut self, method: &str, path: &str, token: Option<&str>, body: &[u8]) -> io::Result<Answer> {
        let mut head = Vec::with_capacity(256 + body.len());
        write!(head, "{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\n", self.to)?;
        if let Some(token) = token {
            write!(head, "Authorization: Bearer {token}\r\n")?;
        }
        if method == "POST" {
            write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())?;
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(body);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.to).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&head).await?;
        let answer = read(&mut stream).await?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

async fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&bytes).map_err(|error| broken(&error.to_string()))?;
        let httparse::Status::Complete(start) = parsed else { continue };
        let number = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()?.parse::<u64>().ok()
        };
        let status = response.code.ok_or_else(|| broken("no status"))?;
        let retry_after = number("retry-after");
        // The service knows the length of everything it says to a caller that reads no gzip.
        let length = if status == 204 { Some(0) } else { number("content-length") };
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(|| broken("no length"))?;
        let mut body = bytes.split_off(start);
        body.reserve(length.saturating_sub(body.len()));
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        return Ok(Answer { status, retry_after, body });
    }
}
