//! The buffers between connections and writers: bounded by bytes, reused, handed out in the order they were asked for.
//!
//! Why nobody waits for ever: a lane asks for its next buffer only when it holds none (the one before has gone to a writer
//! or was given up), and writers ask for none. So every buffer in use is either with a writer, which ends by itself, or
//! with a lane that fills it and doesn't wait for another; stalled lanes are cut off by the patience rules. The order is
//! first come, first served, so a whole piece is not starved by many small requests.
//!
//! Who is in the middle of a body finds at most one before him that only begins. Streams of one HTTP/2 connection share its
//! window: what has come for those who wait here fills it, and those who began with their buffers would wait for bytes that
//! can't come, while they hold what the others wait for.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex},
};

use carrel_model::pieces::PIECE_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::disk::lock;

/// What is counted: small enough that a 30 KB file takes little more than that.
const UNIT_BYTES: usize = 4 << 10;
#[expect(clippy::cast_possible_truncation, reason = "a piece is 1 MiB")]
const FULL_BYTES: usize = PIECE_BYTES as usize;
/// Whole buffers kept while nobody uses any.
const IDLE_SPARES: usize = 2;

/// A pool of buffers; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Buffers(Arc<Pool>);

struct Pool {
    /// Who begins waits here, and only the first of them for room.
    door: Semaphore,
    room: Arc<Semaphore>,
    units: usize,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("units", &self.units)
            .field("free", &self.room.available_permits())
            .finish_non_exhaustive()
    }
}

impl Buffers {
    /// At most so many bytes at once; room for two pieces at least, so that one is filled while another is written.
    pub(crate) fn new(bytes: usize) -> Self {
        let units = bytes.clamp(2 * FULL_BYTES, 1 << 30) / UNIT_BYTES;
        Self(Arc::new(Pool {
            door: Semaphore::new(1),
            room: Arc::new(Semaphore::new(units)),
            units,
            spare: Mutex::default(),
        }))
    }

    /// An empty buffer with capacity for so many bytes, as soon as there is room.
    pub(crate) async fn take(&self, bytes: usize) -> Buffer {
        // Neither semaphore is ever closed.
        let _door = self.0.door.acquire().await;
        self.take_next(bytes).await
    }

    /// As [`take`](Self::take), for who goes on with what he has begun.
    pub(crate) async fn take_next(&self, bytes: usize) -> Buffer {
        // More than the pool could never be had; nobody asks for more than a piece.
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, self.0.units);
        let room = Arc::clone(&self.0.room).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX)).await;
        let spare = {
            let mut spare = lock(&self.0.spare);
            if bytes != FULL_BYTES {
                // What is kept for whole pieces takes no more than the room that is left.
                spare.truncate(self.0.room.available_permits() * UNIT_BYTES / FULL_BYTES);
            }
            if bytes == FULL_BYTES { spare.pop() } else { None }
        };
        let bytes = spare.unwrap_or_else(|| Vec::with_capacity(bytes));
        Buffer { bytes, room: room.ok(), pool: Arc::clone(&self.0) }
    }

    /// Bytes that could be taken now.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.0.room.available_permits() * UNIT_BYTES
    }
}

/// A buffer of the pool; goes back when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
    pool: Arc<Pool>,
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() == FULL_BYTES {
            bytes.clear();
            lock(&self.pool.spare).push(bytes);
        }
        drop(self.room.take());
        if self.pool.room.available_permits() == self.pool.units {
            lock(&self.pool.spare).truncate(IDLE_SPARES);
        }
    }
}

#[cfg(test)]
#[path = "buffers_tests.rs"]
mod tests;
