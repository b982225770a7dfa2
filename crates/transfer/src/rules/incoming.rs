//! The piece being received: where the next bytes belong. Pure.
//!
//! It outlives a broken connection, so that a source that is always cut after a few KiB still gets a piece through.

use carrel_model::pieces::Manifest;

/// A piece of which some bytes have arrived.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) piece: u64,
    pub(crate) buffer: Vec<u8>,
    length: usize,
}

impl Incoming {
    pub(crate) fn new(manifest: &Manifest, piece: u64, mut buffer: Vec<u8>) -> Self {
        let length = usize::try_from(manifest.piece_range(piece).1).unwrap_or(0);
        buffer.clear();
        buffer.reserve_exact(length);
        Self { piece, buffer, length }
    }

    /// How many of its bytes are still to come.
    pub(crate) const fn room(&self) -> usize {
        self.length.saturating_sub(self.buffer.len())
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.buffer.len() == self.length
    }

    /// How many of its bytes have arrived.
    pub(crate) const fn arrived(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets what arrived after that many bytes.
    pub(crate) fn forget_after(&mut self, arrived: usize) {
        self.buffer.truncate(arrived);
    }
}
