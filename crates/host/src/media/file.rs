//! A part of a file, in chunks.
//!
//! A player that pauses leaves its connection open for minutes. So a file is open only while a chunk is read, and only so
//! many chunks are read at once: a thousand connections hold no handle while they wait, and a chunk of memory each.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::Semaphore;

/// Bytes read and held for each connection.
const CHUNK: u64 = 64 * 1024;

/// Files open at once.
pub(super) const OPEN_FILES: usize = 32;

/// The bytes of `range`; an error where the file is shorter or gone.
pub(super) fn chunks(
    path: PathBuf,
    range: Range<u64>,
    gate: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let path: Arc<std::path::Path> = path.into();
    stream::try_unfold(range, move |left| {
        let (path, gate) = (Arc::clone(&path), Arc::clone(&gate));
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let take = CHUNK.min(left.end - left.start);
            let permit = gate.acquire_owned().await.map_err(io::Error::other)?;
            let start = left.start;
            let read = tokio::task::spawn_blocking(move || {
                let chunk = read_chunk(&path, start, take);
                // Held until the file is closed, even when nobody waits for the chunk any more.
                drop(permit);
                chunk
            });
            let chunk = read.await.map_err(io::Error::other)??;
            Ok(Some((chunk, start + take..left.end)))
        }
    })
}

fn read_chunk(path: &std::path::Path, start: u64, take: u64) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut chunk = Vec::with_capacity(usize::try_from(take).unwrap_or_default());
    file.take(take).read_to_end(&mut chunk)?;
    if chunk.len() as u64 == take { Ok(chunk.into()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
