//! Duration and size of an MP4 from its boxes: two numbers of the movie header and two of each track header.
//!
//! Only headers are read, wherever in the file the movie box lies (ISO/IEC 14496-12, 8.2 and 8.3).

use std::io::{Read, Seek, SeekFrom};

/// What the boxes say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mp4 {
    pub(super) duration_ms: Option<u64>,
    /// Pixels across and down of the first track that shows anything.
    pub(super) pixels: Option<(u32, u32)>,
}

/// A track header is under 200 bytes and a movie header under 150.
const HEADER_BYTES: u64 = 256;
/// No sensible file has more boxes on one level.
const MAX_BOXES: usize = 4096;

struct Box4 {
    kind: [u8; 4],
    start: u64,
    end: u64,
}

/// Reads the boxes of a file of this length.
pub(super) fn read<R: Read + Seek>(file: &mut R, length: u64) -> std::io::Result<Mp4> {
    let mut found = Mp4::default();
    let Some(movie) = boxes(file, 0, length)?.into_iter().find(|b| &b.kind == b"moov") else { return Ok(found) };
    for part in boxes(file, movie.start, movie.end)? {
        match &part.kind {
            b"mvhd" => found.duration_ms = duration(&header(file, &part)?),
            b"trak" if found.pixels.is_none() => {
                let track = boxes(file, part.start, part.end)?.into_iter().find(|b| &b.kind == b"tkhd");
                if let Some(track) = track {
                    found.pixels = pixels(&header(file, &track)?);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn boxes<R: Read + Seek>(file: &mut R, start: u64, end: u64) -> std::io::Result<Vec<Box4>> {
    let mut list = Vec::new();
    let mut at = start;
    while at.saturating_add(8) <= end && list.len() < MAX_BOXES {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 8];
        file.read_exact(&mut head)?;
        let [a, b, c, d, k0, k1, k2, k3] = head;
        let (size, head_bytes) = match u64::from(u32::from_be_bytes([a, b, c, d])) {
            0 => (end - at, 8),
            1 => {
                let mut large = [0; 8];
                file.read_exact(&mut large)?;
                (u64::from_be_bytes(large), 16)
            }
            size => (size, 8),
        };
        let next = at.saturating_add(size);
        if size < head_bytes || next > end {
            break;
        }
        list.push(Box4 { kind: [k0, k1, k2, k3], start: at + head_bytes, end: next });
        at = next;
    }
    Ok(list)
}

fn header<R: Read + Seek>(file: &mut R, part: &Box4) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(part.start))?;
    let mut bytes = Vec::new();
    file.take((part.end - part.start).min(HEADER_BYTES)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

fn duration(header: &[u8]) -> Option<u64> {
    let (scale, units) = match header.first()? {
        0 => (number(header, 12)?, u64::from(u32::from_be_bytes(number(header, 16)?))),
        _ => (number(header, 20)?, u64::from_be_bytes(number(header, 24)?)),
    };
    let scale = u128::from(u32::from_be_bytes(scale));
    let ms = (u128::from(units) * 1000).checked_div(scale)?;
    u64::try_from(ms).ok().filter(|ms| *ms > 0)
}

fn pixels(header: &[u8]) -> Option<(u32, u32)> {
    let at = if *header.first()? == 0 { 76 } else { 88 };
    // 16.16 fixed point.
    let width = u32::from_be_bytes(number(header, at)?) >> 16;
    let height = u32::from_be_bytes(number(header, at + 4)?) >> 16;
    (width > 0 && height > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&u32::try_from(content.len() + 8).unwrap().to_be_bytes()[..], kind, content].concat()
    }

    #[test]
    fn finds_duration_and_size_behind_the_data_and_survives_rubbish() {
        let mut mvhd = vec![0; 100];
        mvhd[12..16].copy_from_slice(&600_u32.to_be_bytes());
        mvhd[16..20].copy_from_slice(&750_u32.to_be_bytes());
        let mut tkhd = vec![0; 84];
        tkhd[76..80].copy_from_slice(&(640_u32 << 16).to_be_bytes());
        tkhd[80..84].copy_from_slice(&(360_u32 << 16).to_be_bytes());
        let sound = boxed(b"trak", &boxed(b"tkhd", &[0; 84]));
        let picture = boxed(b"trak", &boxed(b"tkhd", &tkhd));
        let movie = boxed(b"moov", &[boxed(b"mvhd", &mvhd), sound, picture].concat());
        let file = [boxed(b"ftyp", b"isom"), boxed(b"mdat", &[7; 5000]), movie].concat();
        let found = |file: &[u8]| read(&mut std::io::Cursor::new(file), file.len() as u64);
        let expected = Mp4 { duration_ms: Some(1250), pixels: Some((640, 360)) };
        assert_eq!(found(&file).unwrap(), expected);
        for cut in 0..file.len() {
            let _ = found(&file[..cut]);
        }
        assert_eq!(found(&[0xff; 64]).unwrap(), Mp4::default(), "rubbish says nothing");
    }
}
