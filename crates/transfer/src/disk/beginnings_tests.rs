//! A sealed beginning is found again, and nothing else is taken for one.

use carrel_model::pieces::ManifestBuilder;

use super::*;

const MIB: usize = 1 << 20;

fn piece() -> (Manifest, Vec<u8>) {
    let content: Vec<u8> = (0..2 * MIB).map(|at| u8::try_from((at * 131 + at / 4093) % 251).unwrap()).collect();
    let mut builder = ManifestBuilder::new();
    builder.update(&content);
    (builder.finish(), content[MIB..].to_vec())
}

/// The file after these many bytes of piece 1 had come, each time.
fn file(manifest: &Manifest, content: &[u8], arrived: &[usize]) -> Vec<u8> {
    let mut file = vec![0; MIB];
    let mut beginning = Beginning::new(manifest, 1);
    for arrived in arrived {
        if let Some(Step { piece: 1, offset, bytes }) = beginning.step(&content[..*arrived], MIB) {
            file[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
    }
    file
}

#[test]
fn what_was_kept_last_is_found() {
    let (manifest, content) = piece();
    for (arrived, expected) in [
        (vec![1000], 0),
        (vec![STEP_BYTES], STEP_BYTES),
        (vec![STEP_BYTES + 5, 3 * STEP_BYTES + 7], 3 * STEP_BYTES),
        ((0..=8).map(|step| step * STEP_BYTES).collect(), 7 * STEP_BYTES),
        (vec![MIB], 7 * STEP_BYTES),
    ] {
        let file = file(&manifest, &content, &arrived);
        assert_eq!(found(&manifest, 1, &file), expected, "{arrived:?}");
        assert!(file[..expected] == content[..expected]);
        assert_eq!(found(&manifest, 0, &file), 0, "it is of one piece only");
    }
}

#[test]
fn what_is_torn_or_damaged_or_complete_is_no_beginning() {
    let (manifest, content) = piece();
    assert_eq!(found(&manifest, 1, &content), 0);
    assert_eq!(found(&manifest, 1, &vec![0; MIB]), 0);
    let whole = file(&manifest, &content, &[3 * STEP_BYTES]);
    for at in [0, STEP_BYTES, 3 * STEP_BYTES - 1, 3 * STEP_BYTES, 3 * STEP_BYTES + 31] {
        let mut torn = whole.clone();
        torn[at] ^= 1;
        assert_eq!(found(&manifest, 1, &torn), 0, "byte {at}");
    }
    let mut half = content.clone();
    half[MIB / 2..].fill(0);
    assert_eq!(found(&manifest, 1, &half), 0, "a damaged piece");
}

#[test]
fn a_short_piece_has_room_for_the_seal_or_none_is_kept() {
    let (manifest, content) = piece();
    for (length, expected) in [(STEP_BYTES, false), (STEP_BYTES + 31, false), (STEP_BYTES + 32, true)] {
        let mut beginning = Beginning::new(&manifest, 1);
        assert_eq!(beginning.step(&content[..STEP_BYTES], length).is_some(), expected, "{length}");
    }
}

#[tokio::test]
async fn a_file_is_not_opened_while_somebody_writes_into_it() {
    let pending = Arc::new(Pending::default());
    let (one, two) = (pending.begin(Path::new("a")), pending.begin(Path::new("a")));
    pending.none(Path::new("b")).await;
    let mut waits = Box::pin(pending.none(Path::new("a")));
    for left in [one, two] {
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
        drop(left);
    }
    waits.await;
}
