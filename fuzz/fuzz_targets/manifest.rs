//! Manifests, as JSON and as bytes: whatever is accepted is consistent and comes back the same.
#![no_main]

use carrel_model::{
    BlobHash,
    pieces::{Manifest, ManifestBuilder, fold, piece_count},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|story: &[u8]| {
    let Some((kind, rest)) = story.split_first() else { return };
    match kind % 3 {
        0 => json(rest),
        1 => binary(rest),
        _ => content(rest),
    }
});

fn json(text: &[u8]) {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(text) {
        check(&manifest);
        let again = serde_json::to_vec(&manifest).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<Manifest>(&again).expect("and read"), manifest);
    }
}

/// A size, and pieces whose hash is right, or off by a bit.
fn binary(rest: &[u8]) {
    let Some((size, pieces)) = rest.split_first_chunk::<8>() else { return };
    let size = u64::from_le_bytes(*size);
    let values: Vec<_> = pieces.as_chunks::<32>().0.to_vec();
    let right = fold(&values).unwrap_or_else(|| BlobHash::from_bytes([0; 32]));
    for size in [size, size % (64 << 20), (values.len() as u64) << 20] {
        if let Ok(manifest) = Manifest::from_binary(right, size, pieces) {
            check(&manifest);
            assert_eq!(manifest.to_binary(), pieces);
            let mut wrong = *right.as_bytes();
            wrong[usize::try_from(size % 32).expect("it is small")] ^= 1;
            assert!(Manifest::from_binary(BlobHash::from_bytes(wrong), size, pieces).is_err(), "another hash");
        }
    }
}

/// Bytes in any portions have one manifest, and only they verify.
fn content(rest: &[u8]) {
    let Some((portion, bytes)) = rest.split_first() else { return };
    let mut builder = ManifestBuilder::new();
    for part in bytes.chunks(usize::from(*portion) + 1) {
        builder.update(part);
    }
    let manifest = builder.finish();
    assert_eq!(manifest.hash(), BlobHash::of(bytes));
    check(&manifest);
    assert!(manifest.verifies(0, bytes));
    assert!(!manifest.verifies(1, bytes));
    let mut other = bytes.to_vec();
    if let Some(byte) = other.get_mut(usize::from(*portion) % bytes.len().max(1)) {
        *byte ^= 1;
        assert!(!manifest.verifies(0, &other));
    }
}

fn check(manifest: &Manifest) {
    assert_eq!(manifest.piece_count(), piece_count(manifest.size()));
    let last = manifest.piece_count() - 1;
    let (start, length) = manifest.piece_range(last);
    assert_eq!(start + length, manifest.size());
    assert_eq!(manifest.piece_range(last + 1).1, 0);
}
