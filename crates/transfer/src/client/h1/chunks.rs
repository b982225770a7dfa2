//! The `chunked` coding, between the chunks: what each line means. Pure.

/// Where in the coding the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Place {
    /// A line with the size of a chunk.
    #[default]
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The empty line after a chunk.
    After,
    /// Lines after the last chunk; so many have been read.
    Trailer(u32),
    /// The body is complete.
    End,
}

/// The longest line that is read.
pub(super) const LINE_LIMIT_BYTES: usize = 4 << 10;
const TRAILER_LINES: u32 = 64;

impl Place {
    /// Where the place is after this line, whose end is cut off; `None`: it isn't the coding.
    pub(super) fn after_line(self, line: &[u8]) -> Option<Self> {
        match self {
            Self::Size => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                let all_hex = digits.iter().all(u8::is_ascii_hexdigit);
                let size = u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| all_hex)?, 16).ok()?;
                Some(if size == 0 { Self::Trailer(0) } else { Self::Chunk(size) })
            }
            Self::After => line.is_empty().then_some(Self::Size),
            Self::Trailer(_) if line.is_empty() => Some(Self::End),
            Self::Trailer(lines) => (lines < TRAILER_LINES).then_some(Self::Trailer(lines + 1)),
            Self::Chunk(_) | Self::End => None,
        }
    }

    /// Where the place is after so many bytes of a chunk.
    pub(super) const fn after_bytes(self, bytes: u64) -> Self {
        match self {
            Self::Chunk(left) if left > bytes => Self::Chunk(left - bytes),
            Self::Chunk(_) => Self::After,
            other => other,
        }
    }
}
