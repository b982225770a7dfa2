//! Pieces: how a blob is verified part by part, in any order and from any source.
//!
//! A blob's identity is its BLAKE3 hash. BLAKE3 is a tree, and an aligned MiB is a complete subtree of it: the *chaining
//! values* of all those subtrees fold into the hash. So a list of them needs no trust of its own – it either folds into
//! the hash or it is wrong – and each piece can be checked alone as it arrives. A blob of at most one piece has no inner
//! subtree; its only entry is the hash itself.

use blake3::hazmat::{self, HasherExt as _, Mode};
use serde::{Deserialize, Serialize};

use crate::BlobHash;

/// Length of a piece in bytes: 1 MiB, a power of two of BLAKE3 chunks, so that every piece is one complete subtree.
pub const PIECE_BYTES: u64 = 1 << 20;

/// The longest blob accepted: a million pieces (1 TiB). A longer list is refused before it is read into memory.
pub const MAX_PIECES: u64 = 1 << 20;

/// The chaining value of a piece.
pub type ChainingValue = [u8; 32];

/// A piece list that doesn't belong to the blob it claims to describe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More pieces than [`MAX_PIECES`].
    #[error("{size} bytes are more than a blob may have")]
    TooLarge {
        /// The size claimed.
        size: u64,
    },
    /// The number of entries doesn't fit the size.
    #[error("{size} bytes need {expected} pieces, {found} are listed")]
    WrongCount {
        /// The size claimed.
        size: u64,
        /// Entries needed.
        expected: u64,
        /// Entries found.
        found: u64,
    },
    /// The entries don't fold into the hash.
    #[error("the pieces do not fold into the hash {expected}")]
    WrongFold {
        /// The hash claimed.
        expected: BlobHash,
    },
    /// An entry is not 64 hex digits, or bytes are left over.
    #[error("a piece is not 32 bytes")]
    Malformed,
}

/// Size, hash and pieces of one blob; proven consistent when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ManifestJson", into = "ManifestJson")]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(as = "ManifestJson"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Manifest))]
pub struct Manifest {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    hash: BlobHash,
    size: u64,
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pieces: Vec<ChainingValue>,
}

/// A [`Manifest`] as JSON: the pieces are hex texts.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "ts", derive(ts_rs::TS), ts(rename = "Manifest"))]
struct ManifestJson {
    hash: BlobHash,
    #[cfg_attr(feature = "ts", ts(type = "number"))]
    size: u64,
    pieces: Vec<String>,
}

impl TryFrom<ManifestJson> for Manifest {
    type Error = ManifestError;

    fn try_from(json: ManifestJson) -> Result<Self, ManifestError> {
        let pieces = json.pieces.iter().map(|text| {
            let mut value = [0; 32];
            hex::decode_to_slice(text, &mut value).map_err(|_| ManifestError::Malformed)?;
            Ok(value)
        });
        Self::new(json.hash, json.size, pieces.collect::<Result<_, _>>()?)
    }
}

impl From<Manifest> for ManifestJson {
    fn from(manifest: Manifest) -> Self {
        Self { hash: manifest.hash, size: manifest.size, pieces: manifest.pieces.iter().map(hex::encode).collect() }
    }
}

impl Manifest {
    /// Checks that the pieces describe a blob of this size and hash.
    pub fn new(hash: BlobHash, size: u64, pieces: Vec<ChainingValue>) -> Result<Self, ManifestError> {
        let expected = piece_count(size);
        if expected > MAX_PIECES {
            return Err(ManifestError::TooLarge { size });
        }
        let found = pieces.len() as u64;
        if found != expected {
            return Err(ManifestError::WrongCount { size, expected, found });
        }
        if fold(&pieces) != Some(hash) {
            return Err(ManifestError::WrongFold { expected: hash });
        }
        Ok(Self { hash, size, pieces })
    }

    /// Reads the binary form: 32 bytes for each piece.
    pub fn from_binary(hash: BlobHash, size: u64, binary: &[u8]) -> Result<Self, ManifestError> {
        let (pieces, rest) = binary.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(ManifestError::Malformed);
        }
        Self::new(hash, size, pieces.to_vec())
    }

    /// The binary form: 32 bytes for each piece.
    #[must_use]
    pub fn to_binary(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// The identity of the blob.
    #[must_use]
    pub const fn hash(&self) -> BlobHash {
        self.hash
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many pieces it has; at least one, even for an empty blob.
    #[must_use]
    pub const fn piece_count(&self) -> u64 {
        piece_count(self.size)
    }

    /// The byte range of a piece: start and length. Empty past the end.
    #[must_use]
    pub const fn piece_range(&self, index: u64) -> (u64, u64) {
        let start = index.saturating_mul(PIECE_BYTES);
        let left = self.size.saturating_sub(start);
        (start, if left < PIECE_BYTES { left } else { PIECE_BYTES })
    }

    /// Whether these are the bytes of that piece.
    #[must_use]
    pub fn verifies(&self, index: u64, content: &[u8]) -> bool {
        let Some(expected) = usize::try_from(index).ok().and_then(|index| self.pieces.get(index)) else {
            return false;
        };
        let (start, length) = self.piece_range(index);
        content.len() as u64 == length && piece_value(start, content, self.size) == *expected
    }
}

/// How many pieces a blob of this size has; an empty one has one.
#[must_use]
pub const fn piece_count(size: u64) -> u64 {
    if size == 0 { 1 } else { size.div_ceil(PIECE_BYTES) }
}

/// The value of the piece that starts at `start` in a blob of `size` bytes.
#[must_use]
pub fn piece_value(start: u64, content: &[u8], size: u64) -> ChainingValue {
    if size <= PIECE_BYTES {
        return *blake3::hash(content).as_bytes();
    }
    blake3::Hasher::new().set_input_offset(start).update(content).finalize_non_root()
}

/// Folds the values of all pieces into the blob's hash; `None` for an empty list.
#[must_use]
pub fn fold(pieces: &[ChainingValue]) -> Option<BlobHash> {
    match pieces {
        [] => None,
        [only] => Some(BlobHash::from_bytes(*only)),
        many => {
            let (left, right) = many.split_at(left_subtree(many.len()));
            let root = hazmat::merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
            Some(BlobHash::from_bytes(*root.as_bytes()))
        }
    }
}

fn subtree(pieces: &[ChainingValue]) -> ChainingValue {
    match pieces {
        [] => ChainingValue::default(),
        [only] => *only,
        many => {
            let (left, right) = many.split_at(left_subtree(many.len()));
            hazmat::merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// BLAKE3 gives the left subtree the largest power of two below the whole.
const fn left_subtree(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// Computes hash and pieces from a blob's bytes in one pass, given in any portions.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    pieces: Vec<ChainingValue>,
    piece: Vec<u8>,
    size: u64,
}

impl ManifestBuilder {
    /// Starts with nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut content: &[u8]) {
        while !content.is_empty() {
            // A full piece is only closed when more follows: the last piece of a small blob is hashed as the root.
            if self.piece.len() as u64 == PIECE_BYTES {
                self.close_piece(false);
            }
            let room = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX) - self.piece.len();
            let (now, later) = content.split_at(room.min(content.len()));
            self.piece.extend_from_slice(now);
            content = later;
        }
    }

    /// The manifest of all bytes taken.
    #[must_use]
    pub fn finish(mut self) -> Manifest {
        if !self.piece.is_empty() || self.pieces.is_empty() {
            let last_of_many = !self.pieces.is_empty();
            self.close_piece(!last_of_many);
        }
        let hash = fold(&self.pieces).unwrap_or_else(|| BlobHash::of(&[]));
        Manifest { hash, size: self.size, pieces: self.pieces }
    }

    fn close_piece(&mut self, root: bool) {
        let total = if root { 0 } else { u64::MAX };
        self.pieces.push(piece_value(self.size, &self.piece, total));
        self.size += self.piece.len() as u64;
        self.piece.clear();
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
