//! A response: its head, and its body to be read into the caller's buffer.

use http::{HeaderMap, StatusCode};

use super::{
    HttpClient,
    connection::Home,
    h1::{self, Head},
    http2,
};
use crate::rules::patience::Setback;

/// How much of an error body is read to classify it.
const ERROR_BODY_BYTES: usize = 16 << 10;

/// The head of a response, and its body to be read. Dropped, it gives its connection back if that can be used again.
#[derive(Debug)]
pub(crate) struct Response {
    client: HttpClient,
    head: Head,
    body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Http1 {
        /// Gone when it has been given back.
        connection: Option<h1::Connection>,
        home: Home,
        epoch: u64,
    },
    Http2 {
        stream: http2::Stream,
        /// Its turn lasts as long as the stream.
        _home: Home,
    },
}

impl Response {
    pub(super) const fn new(client: HttpClient, head: Head, body: Body) -> Self {
        Self { client, head, body }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Appends at most `most` bytes of the body to `into`, within its capacity; 0 at the end of the body. Cancel-safe.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Setback> {
        match &mut self.body {
            Body::Http2 { stream, .. } => stream.read(into, most).await,
            Body::Http1 { connection: kept, .. } => {
                let connection = kept.as_mut().ok_or(Setback::Cut)?;
                let read = connection.read(into, most).await;
                if read.is_err() {
                    *kept = None;
                }
                read
            }
        }
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if let Body::Http1 { connection, home, epoch } = &mut self.body
            && let Some(connection) = connection.take()
        {
            home.keep(&self.client, connection, *epoch);
        }
    }
}

/// The beginning of an error's body.
pub(crate) async fn error_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::with_capacity(ERROR_BODY_BYTES);
    while let Ok(1..) = response.read(&mut body, ERROR_BODY_BYTES).await {}
    body
}
