//! The socket under a conversation: plain or TLS, closed in every way there is.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// The TCP connection itself. Dropping the wire closes it without a word of TLS.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Ends the TCP half that we write, under TLS without saying so.
    pub(super) async fn end_tcp(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.get_mut().0.shutdown().await,
        }
    }

    /// Whether HTTP/2 was agreed upon, or is spoken without having been agreed upon.
    pub(super) async fn speaks_http2(&self) -> io::Result<bool> {
        match self {
            Self::Tls(tls) => Ok(tls.get_ref().1.alpn_protocol() == Some(b"h2")),
            Self::Plain(tcp) => {
                let mut beginning = [0; 3];
                // A request is longer than this and comes in one packet from every client here.
                let length = tcp.peek(&mut beginning).await?;
                Ok(beginning.get(..length) == Some(b"PRI"))
            }
        }
    }
}

/// Sends bytes of a file from the page cache; says how many. Only where the system can, and only on plain connections.
#[cfg(target_os = "linux")]
pub(super) async fn send_file(tcp: &TcpStream, file: &std::fs::File, first: u64, length: u64) -> io::Result<u64> {
    let count = usize::try_from(length).unwrap_or(usize::MAX);
    let sent = tcp.async_io(tokio::io::Interest::WRITABLE, || {
        let mut from = first;
        Ok(rustix::fs::sendfile(tcp, file, Some(&mut from), count)?)
    });
    match sent.await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        sent => Ok(sent as u64),
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, into),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(context, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(context, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }
}
