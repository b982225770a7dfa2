//! What the page of a `carrel-host` does, without a page: its one-time link followed, its commands called.
//!
//! As plain as can be – one request on one connection – so that an answer either came whole or didn't come.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A host that takes longer than this is taken for dead.
const PATIENCE: Duration = Duration::from_secs(30);

/// A host that was entered by its one-time link. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Browser {
    host: SocketAddr,
    cookie: String,
}

impl Browser {
    /// Follows the link.
    pub async fn enter(link: &str) -> io::Result<Self> {
        let rest = link.strip_prefix("http://").ok_or_else(|| io::Error::other("no link"))?;
        let (host, query) = rest.split_once('/').ok_or_else(|| io::Error::other("no link"))?;
        let host = host.parse().map_err(io::Error::other)?;
        let answer =
            exchange(host, &format!("GET /{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await?;
        let cookie = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("set-cookie")
                .then(|| value.split(';').next().map(str::trim).map(str::to_owned))?
        });
        Ok(Self { host, cookie: cookie.ok_or_else(|| io::Error::other("no cookie"))? })
    }

    /// Calls a command as the page does: status and answer.
    pub async fn call(&self, command: &str, request: &Value) -> io::Result<(u16, Value)> {
        let (host, cookie, body) = (self.host, &self.cookie, request.to_string());
        let head = format!(
            "POST /api/commands/{command} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let answer = exchange(host, &(head + &body)).await?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("an answer that was cut"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status"))?;
        // What was cut in the middle is no answer: JSON says where it ends.
        Ok((status, serde_json::from_str(body)?))
    }
}

async fn exchange(host: SocketAddr, request: &str) -> io::Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        String::from_utf8(answer).map_err(io::Error::other)
    };
    timeout(PATIENCE, exchange).await?
}
