use super::*;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
}

const MIB: usize = 1 << 20;

#[test]
fn pieces_of_every_shape_fold_into_the_hash_of_the_whole() {
    for len in [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB + 7, 5 * MIB, 8 * MIB, 9 * MIB + 1024] {
        let content = bytes(len);
        let mut builder = ManifestBuilder::new();
        for part in content.chunks(300_007) {
            builder.update(part);
        }
        let manifest = builder.finish();
        assert_eq!(manifest.hash(), BlobHash::of(&content), "{len} bytes fold into their own hash");
        assert_eq!(manifest.size(), len as u64, "the size is counted");
        let again = Manifest::from_binary(manifest.hash(), manifest.size(), &manifest.to_binary());
        assert_eq!(again.as_ref(), Ok(&manifest), "the binary form is checked and read back");
        for index in 0..manifest.piece_count() {
            let (start, length) = manifest.piece_range(index);
            let start = usize::try_from(start).unwrap();
            let mut piece = content[start..start + usize::try_from(length).unwrap()].to_vec();
            assert!(manifest.verifies(index, &piece), "piece {index} of {len} bytes is right");
            assert!(piece.is_empty() || !manifest.verifies(index + 1, &piece), "and no other piece");
            if let Some(first) = piece.first_mut() {
                *first ^= 1;
                assert!(!manifest.verifies(index, &piece), "one bit off is wrong");
            }
        }
    }
}

#[test]
fn a_list_that_does_not_belong_to_the_blob_is_refused() {
    let content = bytes(3 * MIB);
    let mut builder = ManifestBuilder::new();
    builder.update(&content);
    let manifest = builder.finish();
    let binary = manifest.to_binary();
    let mut swapped = binary.clone();
    swapped.rotate_left(32);
    for (size, binary, why) in [
        (manifest.size(), swapped, "wrong order"),
        (manifest.size() + MIB as u64, binary.clone(), "wrong count"),
        (u64::MAX, binary.clone(), "absurd size"),
        (manifest.size(), binary[..95].to_vec(), "torn"),
    ] {
        assert!(Manifest::from_binary(manifest.hash(), size, &binary).is_err(), "{why}");
    }
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest, "JSON is read back");
    let lie = json.replace(&manifest.size().to_string(), "5");
    assert!(serde_json::from_str::<Manifest>(&lie).is_err(), "JSON is checked as well");
}
