//! Checksums of sets that rows come to and go from.
//!
//! The sum of the hashes of all rows, modulo 2^128: whoever changes one row takes its old hash off and adds the new one, so
//! that the service knows the checksum of a learner with a million answers without reading them. Equal sets give equal
//! sums in whatever order they came about. It tells what was lost or altered by accident; it is no signature.

/// A running checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetSum(u128);

impl SetSum {
    /// A row comes to the set. No row may be in it twice.
    pub fn add(&mut self, id: &str, version: i64) {
        self.0 = self.0.wrapping_add(hash(id, version));
    }

    /// A row goes.
    pub fn remove(&mut self, id: &str, version: i64) {
        self.0 = self.0.wrapping_sub(hash(id, version));
    }

    /// The sum as it was kept.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let well_formed = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| well_formed).map(Self)
    }
}

/// 32 hex digits.
impl std::fmt::Display for SetSum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn hash(id: &str, version: i64) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(id.as_bytes()).update(b"\0").update(&version.to_le_bytes());
    let mut first = [0; 16];
    hasher.finalize_xof().fill(&mut first);
    u128::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_that_came_and_went_leave_the_sum_of_those_that_stayed(
            stay in proptest::collection::btree_map("[a-z]{1,4}", any::<i64>(), 0..20),
            go in proptest::collection::btree_map("[A-Z]{1,4}", any::<i64>(), 0..20),
        ) {
            let mut sum = SetSum::default();
            let all = stay.iter().chain(&go);
            all.for_each(|(id, version)| sum.add(id, *version));
            go.iter().rev().for_each(|(id, version)| sum.remove(id, *version));
            let mut fresh = SetSum::default();
            stay.iter().rev().for_each(|(id, version)| fresh.add(id, *version));
            prop_assert_eq!(sum, fresh);
            prop_assert_eq!(SetSum::from_text(&sum.to_string()), Some(sum));
        }
    }

    #[test]
    fn another_version_or_another_place_of_the_end_of_an_id_is_another_sum() {
        let of = |rows: &[(&str, i64)]| {
            let mut sum = SetSum::default();
            rows.iter().for_each(|(id, version)| sum.add(id, *version));
            sum
        };
        assert_ne!(of(&[("a", 1)]), of(&[("a", 2)]));
        assert_ne!(of(&[("a", 1), ("b", 2)]), of(&[("a", 2), ("b", 1)]), "versions swapped");
        assert_eq!(SetSum::from_text("00"), None);
        assert_eq!(SetSum::from_text(&"g".repeat(32)), None);
    }
}
