//! Packing what is sent: a batch of five hundred ops is text that says nearly the same five hundred times, and a village's
//! line is slow upwards above all.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

/// Below this a packet carries it either way.
const WORTH_IT_BYTES: usize = 2 * 1024;

/// A body for the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) body: Vec<u8>,
    /// The value of `Content-Encoding`; none: as it was.
    pub(super) encoding: Option<&'static str>,
}

/// Packs a body where that makes it smaller. The fastest level: the line is slower than any other would be worth.
pub(super) fn packed(body: Vec<u8>) -> Packed {
    if body.len() < WORTH_IT_BYTES {
        return Packed { body, encoding: None };
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing into memory can't fail; if it did, the body would go as it is.
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(smaller) if smaller.len() < body.len() => Packed { body: smaller, encoding: Some("gzip") },
        _ => Packed { body, encoding: None },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_batch_becomes_a_fraction_and_is_the_same_unpacked() {
        let op = br#"{"seq":7,"kind":"answer.recorded","entity_id":"01900000-0000-7000-8000-000000000001"},"#;
        let body = op.repeat(500);
        let Packed { body: small, encoding } = packed(body.clone());
        assert_eq!(encoding, Some("gzip"));
        assert!(small.len() * 8 < body.len(), "{} of {}", small.len(), body.len());
        let mut back = Vec::new();
        flate2::read::GzDecoder::new(small.as_slice()).read_to_end(&mut back).unwrap();
        assert_eq!(back, body);
    }

    #[test]
    fn what_is_short_or_would_not_shrink_goes_as_it_is() {
        let mut noise = Vec::new();
        let mut state = 1_u64;
        for _ in 0..2_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.extend_from_slice(&state.to_le_bytes());
        }
        for body in [b"{}".to_vec(), noise] {
            assert_eq!(packed(body.clone()), Packed { body, encoding: None });
        }
    }
}
