//! Bodies that are too short, too long, another file's, or packed (faults 1, 2, 6, 7, 9, 10, 12).

use super::{Blob, Fault, Front, half, middle};
use crate::http_origin::Act;

pub(super) const FAULTS: &[Fault] = &[
    Fault::passing(1, "body-cut-once", "the body ends early, once", |origin, size| {
        origin.script([half(size)]);
    }),
    Fault::passing(1, "body-cut-always", "every body ends early, after an eighth of the file", |origin, size| {
        origin.always(Act::CutAfter(size / 8 + 99));
    }),
    Fault::lasting(1, "body-cut-at-once", "every body ends before its first byte", |origin, _| {
        origin.always(Act::CutAfter(0));
    }),
    Fault::passing(2, "extra-bytes", "5,000 bytes follow the announced length", |origin, _| {
        origin.always(Act::Extra(5000));
    }),
    Fault::passing(2, "extra-bytes-mid-file", "the same in answer to the rest of a file", |origin, size| {
        origin.script([half(size)]);
        origin.always(Act::Extra(5000));
    }),
    Fault::lasting(
        6,
        "swapped-new-etag",
        "mid-file another file of the same length, with another ETag",
        |origin, size| {
            origin.script([half(size).with("ETag", "\"one\"")]);
            origin.always(Act::Swapped.with("ETag", "\"two\""));
        },
    ),
    Fault::lasting(
        6,
        "swapped-same-etag",
        "mid-file another file of the same length, with the same ETag",
        |origin, size| {
            origin.script([half(size).with("ETag", "\"one\"")]);
            origin.always(Act::Swapped.with("ETag", "\"one\""));
        },
    ),
    Fault::passing(
        6,
        "one-wrong-answer",
        "mid-file one answer with another file's bytes, then the right ones",
        |origin, size| {
            origin.script([half(size).with("ETag", "\"one\""), Act::Swapped.with("ETag", "\"one\"")]);
        },
    ),
    Fault::passing(6, "one-wrong-byte", "one answer with one wrong byte", |origin, size| {
        origin.script([Act::Changed(vec![middle(size)])]);
    }),
    Fault::lasting(6, "wrong-byte-always", "every answer with the same wrong byte", |origin, size| {
        origin.always(Act::Changed(vec![middle(size)]));
    }),
    Fault::passing(
        7,
        "etags-differ",
        "each node gives another ETag and cuts; the bytes are the same",
        |origin, size| {
            let cut = Act::CutAfter(size / 5);
            origin.script([cut.clone().with("ETag", "\"a\""), cut.with("ETag", "W/\"b\"")]);
            origin.always(Act::Serve.with("ETag", "\"c\"").with("Last-Modified", "Thu, 30 Apr 2026 00:00:00 GMT"));
        },
    ),
    Fault::passing(9, "gzip-claimed-once", "one answer says it is gzip", |origin, _| {
        origin.script([Act::Gzip]);
    }),
    Fault::lasting(9, "gzip-claimed", "every answer says it is gzip", |origin, _| {
        origin.always(Act::Gzip);
    }),
    Fault::passing(9, "gzip-forced-once", "one answer is gzip indeed", |origin, _| {
        origin.script([origin.gzipped()]);
    }),
    Fault::lasting(9, "gzip-forced", "every answer is gzip indeed", |origin, _| {
        origin.always(origin.gzipped());
    }),
    Fault::passing(10, "chunked", "no length, in chunks", |origin, _| {
        origin.always(Act::Chunked(None));
    }),
    Fault::passing(10, "chunked-cut", "in chunks, without the last one", |origin, size| {
        origin.script([Act::Chunked(Some(middle(size)))]);
    }),
    Fault::passing(10, "chunked-and-length", "in chunks, and a Content-Length of 5", |origin, _| {
        origin.always(Act::Chunked(None).with("Content-Length", "5"));
    }),
    Fault::passing(10, "until-close", "no length, the end of the connection is the end", |origin, _| {
        origin.always(Act::UntilClose(None));
    }),
    Fault::passing(10, "until-close-cut", "no length, and the connection ends early", |origin, size| {
        origin.script([Act::UntilClose(Some(middle(size)))]);
    }),
    Fault::passing(10, "until-close-cut-tls", "the same over TLS, closed without notify", |origin, size| {
        origin.script([Act::UntilClose(Some(middle(size)))]);
    })
    .at(Front::Tls),
    Fault::passing(12, "empty", "a file of no bytes", |_, _| {}).of(Blob::Empty),
];
