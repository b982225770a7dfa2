//! The bitmap keeps what was put in, and refuses bytes that are not its own.

use proptest::prelude::*;

use super::PieceSet;

proptest! {
    #[test]
    fn bytes_give_back_the_same_set(pieces in 1_u64..200, chosen in prop::collection::vec(0_u64..220, 0..60)) {
        let mut set = PieceSet::new(pieces);
        for piece in &chosen {
            set.insert(*piece);
        }
        let expected: std::collections::BTreeSet<u64> = chosen.into_iter().filter(|piece| *piece < pieces).collect();
        prop_assert_eq!(set.len(), expected.len() as u64);
        let back = PieceSet::from_bytes(pieces, &set.to_bytes()).unwrap();
        prop_assert_eq!(&back, &set);
        prop_assert!(back.iter().eq(expected));
    }
}

#[test]
fn refuses_bytes_of_another_length_or_with_pieces_beyond_the_end() {
    assert!(PieceSet::from_bytes(9, &[0]).is_none());
    assert!(PieceSet::from_bytes(9, &[0, 0, 0]).is_none());
    assert!(PieceSet::from_bytes(9, &[0xff, 0b10]).is_none());
    assert!(PieceSet::from_bytes(9, &[0xff, 1]).unwrap().is_full());
    assert!(PieceSet::from_bytes(u64::MAX, &[0]).is_none());
}

#[test]
fn removing_makes_a_piece_missing_again() {
    let mut set = PieceSet::from_bytes(10, &[0xff, 0b11]).unwrap();
    assert!(set.remove(4));
    assert!(!set.remove(4));
    assert_eq!(set.next_missing(0), Some(4));
    assert_eq!(set.next_held(4), 5);
    assert_eq!(set.next_missing(5), None);
}
