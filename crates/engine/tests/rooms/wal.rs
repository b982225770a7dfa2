//! What SQLite writes into its journal, read byte by byte: where each commit ends, and so what a power cut leaves.
//!
//! The format is that of <https://sqlite.org/fileformat2.html#walformat>; checksums are verified, so that a frame which is
//! being written while we look is not taken for one that was.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// Length of the header of the journal.
pub(crate) const HEADER: usize = 32;
/// Length of the header of a frame.
const FRAME_HEADER: usize = 24;

/// The committed part of a journal between two resets, and where its frames and commits end.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) bytes: Vec<u8>,
    pub(crate) frames: Vec<usize>,
    sums: (u32, u32),
}

impl Journal {
    /// Takes in what was committed since the last look. `false`: this is no longer the same journal, it was begun anew.
    pub(crate) fn follow(&mut self, path: &Path) -> bool {
        let Ok(mut file) = File::open(path) else { return self.bytes.is_empty() };
        let mut header = [0; HEADER];
        if file.read_exact(&mut header).is_err() {
            return self.bytes.is_empty();
        }
        if self.bytes.is_empty() {
            self.sums = checksum(&header[..24], (0, 0), big_endian(&header));
            if self.sums != (word(&header, 24), word(&header, 28)) {
                return true;
            }
            self.bytes.extend_from_slice(&header);
        } else if self.bytes[..HEADER] != header {
            return false;
        }
        file.seek(SeekFrom::Start(self.bytes.len() as u64)).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        self.take_commits(&rest);
        true
    }

    /// Size of a frame with its page.
    pub(crate) fn frame_size(&self) -> usize {
        FRAME_HEADER + word(&self.bytes, 8) as usize
    }

    /// The page numbers and contents of all frames, in order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.bytes[HEADER..]
            .chunks_exact(self.frame_size())
            .map(|frame| (word(frame, 0) as usize, &frame[FRAME_HEADER..]))
    }

    fn take_commits(&mut self, rest: &[u8]) {
        let (big, salts) = (big_endian(&self.bytes), self.bytes[16..24].to_vec());
        let (mut sums, mut ends) = (self.sums, Vec::new());
        let (mut at, start) = (0, self.bytes.len());
        for frame in rest.chunks_exact(self.frame_size()) {
            sums = checksum(&frame[FRAME_HEADER..], checksum(&frame[..8], sums, big), big);
            if frame[8..16] != salts[..] || sums != (word(frame, 16), word(frame, 20)) {
                break;
            }
            at += frame.len();
            ends.push(start + at);
            if word(frame, 4) != 0 {
                self.bytes.extend_from_slice(&rest[self.bytes.len() - start..at]);
                self.frames.append(&mut ends);
                self.sums = sums;
            }
        }
    }
}

fn big_endian(header: &[u8]) -> bool {
    word(header, 0) & 1 == 1
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn checksum(bytes: &[u8], (mut one, mut two): (u32, u32), big: bool) -> (u32, u32) {
    let read = |bytes: &[u8]| {
        let bytes = bytes.try_into().unwrap();
        if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        one = one.wrapping_add(read(&pair[..4])).wrapping_add(two);
        two = two.wrapping_add(read(&pair[4..])).wrapping_add(one);
    }
    (one, two)
}
