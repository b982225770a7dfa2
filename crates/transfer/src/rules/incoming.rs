//! The piece being received: where the next bytes belong. Pure.
//!
//! What has arrived outlives a broken connection, so that a source that is always cut after a few KiB still gets a piece
//! through. It remembers who sent it: when bytes of two servers make a wrong piece, nobody knows which of them lied.

use url::Origin;

/// The beginning of a piece, kept between two connections. Not in a buffer of the pool, which others need meanwhile.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: Senders,
}

/// Which servers sent the bytes of a piece.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Senders {
    first: Option<Origin>,
    mixed: bool,
    /// A part of them comes from an earlier run.
    unknown: bool,
}

impl Senders {
    /// Those who sent what an earlier run kept: nobody knows.
    pub(crate) const fn unknown() -> Self {
        Self { first: None, mixed: false, unknown: true }
    }

    /// Whether bytes of an earlier run are among them, so that whoever sent the others needn't have sent a wrong one.
    pub(crate) const fn are_unknown(&self) -> bool {
        self.unknown
    }

    /// Bytes came from this one.
    pub(crate) fn add(&mut self, origin: &Origin) {
        match &self.first {
            None => self.first = Some(origin.clone()),
            Some(first) => self.mixed |= first != origin,
        }
    }

    /// The one that sent all of them, if it was one.
    pub(crate) const fn only(&self) -> Option<&Origin> {
        if self.mixed || self.unknown { None } else { self.first.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blames_one_sender_and_not_two() {
        let origin = |port| Origin::Tuple("http".to_owned(), url::Host::Domain("a".to_owned()), port);
        let mut senders = Senders::default();
        assert_eq!(senders.only(), None);
        senders.add(&origin(1));
        senders.add(&origin(1));
        assert_eq!(senders.only(), Some(&origin(1)));
        senders.add(&origin(2));
        assert_eq!(senders.only(), None);
        let mut senders = Senders::unknown();
        senders.add(&origin(1));
        assert!(senders.only().is_none() && senders.are_unknown());
    }
}
