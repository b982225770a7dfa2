//! The faults a download must survive, by name: what a server does, and whether the right bytes can still be had.
//!
//! One catalogue for both who plays it: the fault matrix of the transfer crate (with the exact outcome of each) and
//! `cargo xtask hostile` (beside other programs). Numbers are those of the list of faults; what needs more than a server –
//! addresses that expire, clocks, disks, kills – is tested where it belongs.

mod answers;
mod bodies;
mod connections;
mod ranges;
mod silence;

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::http_origin::{Act, Content, Flaw, Identity, Origin, Setup};

/// What the server is like before it plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// HTTP/1.1 on a plain connection.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// TLS with HTTP/2 on offer.
    Http2,
    /// As [`Http2`](Self::Http2), one stream at a time.
    OneStream,
    /// TLS with a certificate that nobody may trust.
    Flawed(Flaw),
}

/// What there is to fetch, and what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blob {
    /// A blob of which nothing is there.
    Usual,
    /// A blob without a byte.
    Empty,
    /// A blob whose file is whole before the first request.
    There,
}

/// One fault.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Its number in the list of faults.
    pub number: u32,
    /// Its name, the same for ever.
    pub name: &'static str,
    /// What happens, in words.
    pub text: &'static str,
    /// The server.
    pub front: Front,
    /// The blob.
    pub blob: Blob,
    /// Whether the right bytes can be had by going on, asking again, or from the same address later. If not, all that
    /// can be hoped for is an error that says so.
    pub passes: bool,
    /// Sets the origin up to do it, for a blob of this size.
    play: fn(&Origin, u64),
}

impl Fault {
    /// On a plain connection, with the right bytes to be had in the end.
    const fn passing(number: u32, name: &'static str, text: &'static str, play: fn(&Origin, u64)) -> Self {
        Self { number, name, text, front: Front::Plain, blob: Blob::Usual, passes: true, play }
    }

    /// On a plain connection, without an end.
    const fn lasting(number: u32, name: &'static str, text: &'static str, play: fn(&Origin, u64)) -> Self {
        Self { passes: false, ..Self::passing(number, name, text, play) }
    }

    const fn at(self, front: Front) -> Self {
        Self { front, ..self }
    }

    const fn of(self, blob: Blob) -> Self {
        Self { blob, ..self }
    }

    /// A fresh origin, well yet; with the authority to trust if it speaks TLS.
    pub async fn origin(&self, content: Bytes) -> io::Result<(Origin, Option<String>)> {
        let content = if self.blob == Blob::Empty { Bytes::new() } else { content };
        let setup = Setup::new(Content::Memory(content));
        let flaw = match self.front {
            Front::Plain => return Ok((setup.start().await?, None)),
            Front::Flawed(flaw) => flaw,
            _ => Flaw::None,
        };
        let identity = Arc::new(Identity::new(flaw)?);
        let authority = identity.authority_pem().to_owned();
        let setup = match self.front {
            Front::Http2 => setup,
            Front::OneStream => setup.streams(1),
            _ => setup.http2(false),
        };
        Ok((setup.tls(identity).start().await?, Some(authority)))
    }

    /// Makes the origin play it, for a blob of this size.
    pub fn play(&self, origin: &Origin, size: u64) {
        (self.play)(origin, size);
    }
}

/// All faults, in the order of their numbers.
#[must_use]
pub fn faults() -> Vec<Fault> {
    let rooms = [bodies::FAULTS, ranges::FAULTS, answers::FAULTS, silence::FAULTS, connections::FAULTS];
    let mut all = rooms.concat();
    all.sort_by_key(|fault| fault.number);
    all
}

/// The middle of a blob, and of no piece.
const fn middle(size: u64) -> u64 {
    size / 5 * 2 + 77
}

/// Cut in the middle: what follows happens to whoever comes back for the rest.
const fn half(size: u64) -> Act {
    Act::CutAfter(middle(size))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::faults;

    #[test]
    fn each_fault_has_a_name_of_its_own_and_each_number_of_the_server_is_there() {
        let all = faults();
        let names: BTreeSet<_> = all.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), all.len());
        let numbers: BTreeSet<_> = all.iter().map(|fault| fault.number).collect();
        // 14 needs a clock and 25 a manifest; neither is a matter of the server.
        let server: BTreeSet<_> = (1..=24).filter(|number| *number != 14).collect();
        assert_eq!(numbers, server);
    }
}
