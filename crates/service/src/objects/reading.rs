//! Reading an object as a stream of large portions.
//!
//! A local file is read here and not by the store, whose portions of 8 KiB cost more in switching threads than in reading.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, path::Path};

use super::ObjectError;

const PORTION_BYTES: u64 = 512 * 1024;

/// Bytes as they come.
pub(crate) type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

pub(super) async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    start: u64,
    end: u64,
) -> Result<ByteStream, ObjectError> {
    if start >= end {
        return Ok(stream::empty().boxed());
    }
    let options = GetOptions { range: Some(GetRange::Bounded(start..end)), ..GetOptions::default() };
    match store.get_opts(path, options).await?.payload {
        GetResultPayload::File(mut file, _) => {
            // The options don't move the file's own position.
            file.seek(SeekFrom::Start(start))?;
            Ok(portions(file, end - start).boxed())
        }
        GetResultPayload::Stream(bytes) => Ok(bytes.map_err(std::io::Error::other).boxed()),
    }
}

fn portions(file: std::fs::File, left: u64) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    stream::try_unfold((file, left), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let want = left.min(PORTION_BYTES);
            let mut portion = Vec::with_capacity(usize::try_from(want).unwrap_or_default());
            (&mut file).take(want).read_to_end(&mut portion)?;
            if portion.len() as u64 != want {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            }
            Ok((Bytes::from(portion), (file, left - want)))
        });
        read.await.map_err(std::io::Error::other)?.map(Some)
    })
}
