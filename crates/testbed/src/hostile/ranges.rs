//! Ranges that are not what was asked for, and lengths that can't be (faults 3, 4, 5, 8, 11).

use super::{Blob, Fault, half};
use crate::http_origin::Act;

const fn beside(shift: i64, honest: bool) -> Act {
    Act::Beside { shift, honest }
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::passing(
        3,
        "range-ignored",
        "200 and the whole file in answer to a range, from the start on",
        |origin, _| {
            origin.always(Act::Whole);
        },
    ),
    Fault::passing(
        3,
        "range-ignored-mid-file",
        "200 and the whole file in answer to the rest of it",
        |origin, size| {
            origin.script([half(size)]);
            origin.always(Act::Whole);
        },
    ),
    Fault::passing(4, "wrong-offset-once", "one range from another place, which its head says", |origin, size| {
        origin.script([half(size), beside(4096, true)]);
    }),
    Fault::passing(
        4,
        "wrong-offset-lying-once",
        "one range from another place, which its head denies",
        |origin, size| {
            origin.script([half(size), beside(4096, false)]);
        },
    ),
    Fault::lasting(4, "wrong-offset", "every range from another place, which its head says", |origin, size| {
        origin.script([half(size)]);
        origin.always(beside(4096, true));
    }),
    Fault::lasting(4, "wrong-offset-lying", "every range from another place, which its head denies", |origin, size| {
        origin.script([half(size)]);
        origin.always(beside(4096, false));
    }),
    Fault::passing(4, "no-content-range", "206 without Content-Range", |origin, size| {
        origin.script([half(size)]);
        origin.always(Act::NoContentRange);
    }),
    Fault::passing(4, "shorter-ranges", "206 with a quarter of the file at most", |origin, size| {
        origin.always(Act::Shorter(size / 4 + 1));
    }),
    Fault::passing(5, "begins-before", "one range that begins 4 KiB earlier, which its head says", |origin, size| {
        origin.script([half(size), beside(-4096, true)]);
    }),
    Fault::passing(
        5,
        "begins-before-lying",
        "one range that begins 4 KiB earlier, which its head denies",
        |origin, size| {
            origin.script([half(size), beside(-4096, false)]);
        },
    ),
    Fault::passing(8, "416-when-complete", "the file is whole already, and the server answers 416", |origin, _| {
        origin.always(Act::status(416));
    })
    .of(Blob::There),
    Fault::passing(8, "416-once", "416 in answer to the rest of the file, once", |origin, size| {
        origin.script([half(size), Act::status(416)]);
    }),
    Fault::lasting(8, "416", "416 in answer to the rest of the file", |origin, size| {
        origin.script([half(size)]);
        origin.always(Act::status(416));
    }),
    Fault::lasting(11, "length-negative", "Content-Length: -1", |origin, _| {
        origin.always(Act::Length("-1".to_owned()));
    }),
    Fault::lasting(11, "length-overflow", "Content-Length beyond 64 bits", |origin, _| {
        origin.always(Act::Length("99999999999999999999999".to_owned()));
    }),
    Fault::lasting(11, "length-rubbish", "Content-Length: abc", |origin, _| {
        origin.always(Act::Length("abc".to_owned()));
    }),
    Fault::lasting(11, "length-other", "one byte more announced than the file has", |origin, size| {
        origin.always(Act::Length((size + 1).to_string()));
    }),
    Fault::lasting(11, "length-5-gb", "5,000,000,000 bytes announced", |origin, _| {
        origin.always(Act::Length("5000000000".to_owned()));
    }),
    Fault::lasting(11, "length-2-53", "2^53 bytes announced", |origin, _| {
        origin.always(Act::Length((1_u64 << 53).to_string()));
    }),
];
