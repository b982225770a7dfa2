//! How much a kill would cost a lane: what it has received and what isn't in the file yet.
//!
//! On a fast line that is bounded by the buffers, and reading on while writers work is what makes it fast. On a slow one
//! writers have nothing to do – unless something else keeps the machine busy: then much would pile up in memory that took
//! long to come. So there a lane reads no further while too much of what it has received waits to be written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// What may wait to be written on a slow line. With what a socket holds it stays under a piece.
const MOST_BYTES: u64 = 384 << 10;
/// A line is slow when a piece takes longer than this: below 128 MB/s.
const SLOW_PIECE: Duration = Duration::from_millis(8);

/// What one lane has received, and how much of it is in the file.
#[derive(Debug)]
pub(crate) struct Unkept {
    received: u64,
    kept: Arc<Kept>,
    piece_begun: Instant,
    slow: bool,
}

#[derive(Debug, Default)]
struct Kept {
    /// So many of the bytes received are in the file, or lost for another reason.
    bytes: AtomicU64,
    /// Writes under way.
    writes: AtomicUsize,
    ended: Notify,
}

/// A write under way; dropped when it has ended, however that was.
#[derive(Debug)]
pub(crate) struct Writing {
    kept: Arc<Kept>,
    upto: u64,
}

impl Unkept {
    pub(crate) fn new() -> Self {
        Self { received: 0, kept: Arc::default(), piece_begun: Instant::now(), slow: true }
    }

    /// So many bytes have come.
    pub(crate) const fn received(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// A piece begins now.
    pub(crate) fn begin(&mut self) {
        self.piece_begun = Instant::now();
    }

    /// The piece is complete; what the line is like shows in how long it took.
    pub(crate) fn complete(&mut self) {
        self.slow = self.piece_begun.elapsed() >= SLOW_PIECE;
    }

    /// All bytes received are being written but for the last `behind`.
    pub(crate) fn writing(&self, behind: usize) -> Writing {
        self.kept.writes.fetch_add(1, Ordering::AcqRel);
        Writing { kept: Arc::clone(&self.kept), upto: self.received.saturating_sub(behind as u64) }
    }

    /// Waits while too much isn't in the file; says how long that took.
    pub(crate) async fn settle(&mut self) -> Duration {
        if !self.waits() {
            return Duration::ZERO;
        }
        let paused = Instant::now();
        while self.waits() {
            // Whoever ends before this is reached leaves a note.
            self.kept.ended.notified().await;
        }
        let paused = paused.elapsed();
        self.piece_begun += paused;
        paused
    }

    fn waits(&self) -> bool {
        let unkept = self.received.saturating_sub(self.kept.bytes.load(Ordering::Acquire));
        self.slow && unkept >= MOST_BYTES && self.kept.writes.load(Ordering::Acquire) > 0
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.kept.bytes.fetch_max(self.upto, Ordering::AcqRel);
        self.kept.writes.fetch_sub(1, Ordering::AcqRel);
        self.kept.ended.notify_one();
    }
}

#[cfg(test)]
#[path = "unkept_tests.rs"]
mod tests;
