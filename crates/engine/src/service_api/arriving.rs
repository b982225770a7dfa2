//! An answer that is read while it arrives: the list of a large download is tens of megabytes of text, and what is kept of
//! it a fifth of that.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

/// So many parts of a body may wait to be read: no more arrives until they are.
const PARTS_AHEAD: usize = 16;
/// A body that is longer is not believed.
const LONGEST_BYTES: u64 = 1 << 30;

/// Reads an answer.
pub(crate) type ReadAnswer<T> = fn(&mut dyn Read) -> serde_json::Result<T>;

/// The arriving body as a reader; to be read on a thread that may wait.
#[derive(Debug)]
struct Arriving {
    parts: mpsc::Receiver<Bytes>,
    part: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
        let length = self.part.len().min(buffer.len());
        let taken = self.part.split_to(length);
        for (to, from) in buffer.iter_mut().zip(&taken) {
            *to = *from;
        }
        Ok(length)
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It broke off.
    Broken(reqwest::Error),
    /// It never ends.
    Endless,
    /// It isn't what was expected.
    Unexpected(serde_json::Error),
}

/// Reads a body while it arrives.
pub(super) async fn read<T: Send + 'static>(mut response: reqwest::Response, how: ReadAnswer<T>) -> Result<T, Unread> {
    let (arrived, parts) = mpsc::channel(PARTS_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        let arriving = Arriving { parts, part: Bytes::new() };
        how(&mut io::BufReader::with_capacity(64 * 1024, arriving))
    });
    let mut length = 0;
    loop {
        match response.chunk().await {
            Ok(Some(part)) => {
                length += part.len() as u64;
                if length > LONGEST_BYTES {
                    return Err(Unread::Endless);
                }
                // Nobody reads on: it says why.
                if arrived.send(part).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => return Err(Unread::Broken(error)),
        }
    }
    drop(arrived);
    let read = reading.await.unwrap_or_else(|error| Err(serde_json::Error::io(io::Error::other(error))));
    read.map_err(Unread::Unexpected)
}
