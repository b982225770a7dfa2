//! A set of pieces as a bitmap: what the journal keeps of a blob.

use carrel_model::pieces::MAX_PIECES;

/// Which pieces of one blob are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PieceSet {
    bits: Vec<u8>,
    pieces: u64,
    held: u64,
}

impl PieceSet {
    /// No piece of a blob with so many pieces (at most [`MAX_PIECES`]).
    #[must_use]
    pub fn new(pieces: u64) -> Self {
        let pieces = pieces.min(MAX_PIECES);
        Self { bits: vec![0; usize::try_from(pieces.div_ceil(8)).unwrap_or(0)], pieces, held: 0 }
    }

    /// Reads [`to_bytes`](Self::to_bytes) back; `None` when the bytes aren't those of a blob with so many pieces.
    #[must_use]
    pub fn from_bytes(pieces: u64, bytes: &[u8]) -> Option<Self> {
        let mut set = Self::new(pieces);
        if set.pieces != pieces || set.bits.len() != bytes.len() {
            return None;
        }
        set.bits.copy_from_slice(bytes);
        let beyond = match pieces % 8 {
            0 => 0,
            used => u8::MAX << used,
        };
        if set.bits.last().is_some_and(|last| last & beyond != 0) {
            return None;
        }
        set.held = set.bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
        Some(set)
    }

    /// One bit for each piece, the first piece in the lowest bit of the first byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bits.clone()
    }

    /// How many pieces the blob has.
    #[must_use]
    pub const fn pieces(&self) -> u64 {
        self.pieces
    }

    /// How many pieces are in the set.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.held
    }

    /// Whether no piece is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Whether every piece is in the set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.held == self.pieces
    }

    /// Whether this piece is in the set.
    #[must_use]
    pub fn contains(&self, piece: u64) -> bool {
        let byte = usize::try_from(piece / 8).ok().and_then(|at| self.bits.get(at));
        byte.is_some_and(|byte| byte & (1 << (piece % 8)) != 0)
    }

    /// Adds a piece; `false` when it was there or the blob has no such piece.
    pub fn insert(&mut self, piece: u64) -> bool {
        if piece >= self.pieces || self.contains(piece) {
            return false;
        }
        if let Some(byte) = usize::try_from(piece / 8).ok().and_then(|at| self.bits.get_mut(at)) {
            *byte |= 1 << (piece % 8);
            self.held += 1;
        }
        true
    }

    /// Takes a piece out; `false` when it wasn't there.
    pub fn remove(&mut self, piece: u64) -> bool {
        if !self.contains(piece) {
            return false;
        }
        if let Some(byte) = usize::try_from(piece / 8).ok().and_then(|at| self.bits.get_mut(at)) {
            *byte &= !(1 << (piece % 8));
            self.held -= 1;
        }
        true
    }

    /// The first piece at or after `from` that isn't in the set.
    #[must_use]
    pub fn next_missing(&self, from: u64) -> Option<u64> {
        (from..self.pieces).find(|piece| !self.contains(*piece))
    }

    /// The first piece at or after `from` that is in the set, or the number of pieces.
    #[must_use]
    pub fn next_held(&self, from: u64) -> u64 {
        (from..self.pieces).find(|piece| self.contains(*piece)).unwrap_or(self.pieces)
    }

    /// The pieces in the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.pieces).filter(|piece| self.contains(*piece))
    }
}

#[cfg(test)]
#[path = "piece_set_tests.rs"]
mod tests;
