//! Connections that break, aren't trusted, or speak HTTP/2 and stop (faults 16, 21, 22, 23).

use super::{Fault, Front, half, middle};
use crate::http_origin::{Act, Flaw, Meeting};

/// What is no answer in any protocol.
fn rubbish() -> Meeting {
    Meeting::Says((0..400_u32).map(|at| u8::try_from(at * 7 % 251).unwrap_or_default()).collect())
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::lasting(16, "tls-expired", "the certificate has expired", |_, _| {}).at(Front::Flawed(Flaw::Expired)),
    Fault::lasting(16, "tls-other-host", "the certificate is another host's", |_, _| {})
        .at(Front::Flawed(Flaw::OtherHost)),
    Fault::lasting(16, "tls-self-signed", "the certificate is signed by itself", |_, _| {})
        .at(Front::Flawed(Flaw::SelfSigned)),
    Fault::passing(21, "reset-mid-body", "a TCP reset in the middle of the body, once", |origin, size| {
        origin.script([Act::ResetAfter(middle(size))]);
    }),
    Fault::passing(21, "resets", "a TCP reset each time, after an eighth of the file", |origin, size| {
        origin.always(Act::ResetAfter(size / 8 + 99));
    }),
    Fault::passing(21, "fin-mid-chunk", "the connection ends in the middle of a chunk, once", |origin, size| {
        origin.script([Act::ChunkCutAfter(middle(size))]);
    }),
    Fault::passing(21, "half-close", "the server ends its half and listens on, once", |origin, size| {
        origin.script([Act::HalfCloseAfter(middle(size))]);
    }),
    Fault::passing(21, "closed-without-answer", "the connection ends before the answer, once", |origin, size| {
        origin.script([half(size), Act::Close]);
    }),
    Fault::lasting(21, "closed-for-ever", "every connection ends before the answer", |origin, _| {
        origin.always(Act::Close);
    }),
    Fault::passing(21, "reset-at-once", "the next connection is reset before the request", |origin, size| {
        origin.meet([Meeting::Scripted(vec![half(size)]), Meeting::Reset]);
    }),
    Fault::passing(21, "rubbish-once", "one connection answers in no protocol", |origin, size| {
        origin.meet([Meeting::Scripted(vec![half(size)]), rubbish()]);
    }),
    Fault::lasting(21, "rubbish", "every connection answers in no protocol", |origin, _| {
        origin.meet_always(rubbish());
    }),
    Fault::passing(21, "tls-cut", "TLS closed without notify in the middle of the body, once", |origin, size| {
        origin.script([half(size)]);
    })
    .at(Front::Tls),
    Fault::lasting(21, "tls-plain-answer", "plain HTTP in answer to a TLS greeting", |origin, _| {
        origin.meet_always(Meeting::Says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()));
    })
    .at(Front::Tls),
    Fault::passing(22, "h2", "HTTP/2 as it should be", |_, _| {}).at(Front::Http2),
    Fault::passing(22, "h2-one-stream", "one stream at a time", |_, _| {}).at(Front::OneStream),
    Fault::passing(22, "h2-goaway", "GOAWAY in the middle of each body, which goes on to its end", |origin, size| {
        origin.always(Act::GoAwayAfter(middle(size)));
    })
    .at(Front::Http2),
    Fault::passing(22, "h2-goaway-error", "GOAWAY with an error in the middle of the body, once", |origin, size| {
        origin.script([Act::BreakAfter(middle(size))]);
    })
    .at(Front::Http2),
    Fault::passing(22, "h2-refused-stream", "REFUSED_STREAM, twice", |origin, _| {
        origin.script([Act::RefuseStream, Act::RefuseStream]);
    })
    .at(Front::Http2),
    Fault::lasting(22, "h2-refused-for-ever", "REFUSED_STREAM each time", |origin, _| {
        origin.always(Act::RefuseStream);
    })
    .at(Front::Http2),
    Fault::passing(22, "h2-calm", "ENHANCE_YOUR_CALM, once", |origin, _| {
        origin.script([Act::Calm]);
    })
    .at(Front::Http2),
    Fault::lasting(22, "h2-calm-for-ever", "ENHANCE_YOUR_CALM each time", |origin, _| {
        origin.always(Act::Calm);
    })
    .at(Front::Http2),
    Fault::passing(22, "h2-reset-mid-body", "RST_STREAM in the middle of the body, once", |origin, size| {
        origin.script([Act::ResetAfter(middle(size))]);
    })
    .at(Front::Http2),
    Fault::passing(22, "h2-cut-mid-body", "the connection ends in the middle of the body, once", |origin, size| {
        origin.script([half(size)]);
    })
    .at(Front::Http2),
    Fault::passing(
        22,
        "h2-window-shut",
        "64 KiB, then nothing, as if the window were never opened; once",
        |origin, _| {
            origin.script([Act::StallAfter(65_535)]);
        },
    )
    .at(Front::Http2),
    Fault::passing(23, "second-connection-reset", "every connection but the first is reset", |origin, _| {
        origin.throttle(4 << 20);
        origin.meet([Meeting::Welcome]);
        origin.meet_always(Meeting::Reset);
    }),
    Fault::passing(23, "second-connection-mute", "every connection but the first is never answered", |origin, _| {
        origin.throttle(4 << 20);
        origin.meet([Meeting::Welcome]);
        origin.meet_always(Meeting::Mute);
    }),
];
