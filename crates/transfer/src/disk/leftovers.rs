//! What an earlier run left in the file: pieces are found by their hashes, whatever the journal knows.

use std::io;

use carrel_model::pieces::{Manifest, PIECE_BYTES};

use crate::{
    PieceSet,
    disk::{beginnings, layer::OpenFile},
};

/// How many pieces after a known one are rehashed whatever their first bytes are.
const NEAR_PIECES: u64 = 32;
/// How much of a farther piece is looked at to tell written from reserved.
const PROBE_BYTES: u64 = 4 << 10;
/// So many beginnings are kept in memory until somebody goes on with them.
const BEGUN_PIECES: usize = 8;

/// What an earlier run left.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Whole pieces, hashed and right.
    pub(crate) found: Vec<u64>,
    /// Beginnings of pieces, as they were kept.
    pub(crate) begun: Vec<(u64, Vec<u8>)>,
}

/// The buffer needed to read a piece of this blob.
pub(crate) fn buffer_bytes(manifest: &Manifest) -> usize {
    usize::try_from(manifest.size().min(PIECE_BYTES)).unwrap_or(0)
}

/// Whether the bytes of a piece on disk are right.
pub(crate) fn holds(file: &dyn OpenFile, manifest: &Manifest, piece: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let (start, length) = manifest.piece_range(piece);
    buffer.resize(usize::try_from(length).unwrap_or(0), 0);
    match file.read_at(buffer, start) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(manifest.verifies(piece, buffer)),
    }
}

/// What an earlier run wrote but didn't get to record: pieces that hash right and beginnings with their seal, in a file that
/// was `before` long.
///
/// A reserved file is full length from the start, so most of what is missing are zeros nobody wrote. Near a piece
/// that is known everything is hashed; farther away only what doesn't begin with zeros.
pub(crate) fn unrecorded(
    file: &dyn OpenFile,
    manifest: &Manifest,
    known: &PieceSet,
    before: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Leftovers> {
    let mut leftovers = Leftovers::default();
    let mut near = NEAR_PIECES;
    for piece in 0..manifest.piece_count() {
        let (start, length) = manifest.piece_range(piece);
        if start.saturating_add(length) > before {
            break;
        }
        if known.contains(piece) {
            near = NEAR_PIECES;
            continue;
        }
        if near > 0 || !starts_with_zeros(file, start, length, buffer)? {
            if holds(file, manifest, piece, buffer)? {
                leftovers.found.push(piece);
                near = NEAR_PIECES;
                continue;
            }
            let begun = buffer.get(..beginnings::found(manifest, piece, buffer)).unwrap_or_default();
            if !begun.is_empty() && leftovers.begun.len() < BEGUN_PIECES {
                leftovers.begun.push((piece, begun.to_vec()));
            }
        }
        near = near.saturating_sub(1);
    }
    Ok(leftovers)
}

fn starts_with_zeros(file: &dyn OpenFile, start: u64, length: u64, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.resize(usize::try_from(length.min(PROBE_BYTES)).unwrap_or(0), 0);
    file.read_at(buffer, start)?;
    Ok(buffer.iter().all(|byte| *byte == 0))
}
