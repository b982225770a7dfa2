//! Which pieces to ask for next. Pure: told what happened, it answers what is missing.
//!
//! A piece is *missing*, *in flight* (handed to the writer, not judged yet) or *held*. Held pieces are either *proven*
//! (hashed in this run) or *claimed* (the journal said so); claimed ones are to be proven before the file counts as
//! complete. A piece that came wrong is asked for alone, so that the rest of a stream need not wait for it.

use std::{collections::BTreeMap, sync::Arc};

use carrel_model::pieces::Manifest;

use crate::PieceSet;

/// Neighbouring pieces to ask for in one request: `first` up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) end: u64,
}

#[derive(Debug)]
pub(crate) struct Plan {
    manifest: Arc<Manifest>,
    /// Held or in flight: nothing to ask for.
    taken: PieceSet,
    held: PieceSet,
    proven: PieceSet,
    wrong: BTreeMap<u64, u32>,
    held_bytes: u64,
}

impl Plan {
    pub(crate) fn new(manifest: Arc<Manifest>) -> Self {
        let none = PieceSet::new(manifest.piece_count());
        let (taken, held, proven) = (none.clone(), none.clone(), none);
        Self { manifest, taken, held, proven, wrong: BTreeMap::new(), held_bytes: 0 }
    }

    /// What to ask for next; `None` when nothing is missing.
    pub(crate) fn next(&self) -> Option<Span> {
        let first = self.taken.next_missing(0)?;
        if self.wrong.contains_key(&first) {
            return Some(Span { first, end: first + 1 });
        }
        let taken = self.taken.next_held(first);
        let suspect = self.wrong.range(first..taken).next().map_or(taken, |(piece, _)| *piece);
        Some(Span { first, end: suspect })
    }

    /// The bytes of a span: start and end.
    pub(crate) fn bytes(&self, span: Span) -> (u64, u64) {
        let end = if span.end >= self.manifest.piece_count() {
            self.manifest.size()
        } else {
            self.manifest.piece_range(span.end).0
        };
        (self.manifest.piece_range(span.first).0, end)
    }

    /// The journal says this piece is on disk.
    pub(crate) fn claimed(&mut self, piece: u64) {
        self.hold(piece);
    }

    /// The bytes of this piece are with the writer.
    pub(crate) fn sent(&mut self, piece: u64) {
        self.taken.insert(piece);
    }

    /// This piece has been hashed and is on disk.
    pub(crate) fn verified(&mut self, piece: u64) {
        self.hold(piece);
        self.proven.insert(piece);
        self.wrong.remove(&piece);
    }

    /// This piece came wrong; says how often by now.
    pub(crate) fn came_wrong(&mut self, piece: u64) -> u32 {
        self.taken.remove(piece);
        let count = self.wrong.entry(piece).or_default();
        *count += 1;
        *count
    }

    /// What was held is not on disk: it is missing again.
    pub(crate) fn lost(&mut self, piece: u64) {
        self.taken.remove(piece);
        self.proven.remove(piece);
        if self.held.remove(piece) {
            self.held_bytes -= self.manifest.piece_range(piece).1;
        }
    }

    /// The next claimed piece at or after `from` that this run has not hashed.
    pub(crate) fn next_unproven(&self, from: u64) -> Option<u64> {
        if self.proven.is_full() {
            return None;
        }
        (from..self.held.pieces()).find(|piece| self.held.contains(*piece) && !self.proven.contains(*piece))
    }

    /// What was proven may have changed under our hands (the file is shorter than it was): nothing is proven any more.
    pub(crate) fn doubt_all(&mut self) {
        self.proven = PieceSet::new(self.manifest.piece_count());
    }

    pub(crate) const fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    pub(crate) const fn held(&self) -> &PieceSet {
        &self.held
    }

    fn hold(&mut self, piece: u64) {
        self.taken.insert(piece);
        if self.held.insert(piece) {
            self.held_bytes += self.manifest.piece_range(piece).1;
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
