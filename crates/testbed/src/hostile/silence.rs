//! Nothing comes, or hardly anything, or too much of nothing (fault 20).

use super::{Fault, half, middle};
use crate::http_origin::Act;

pub(super) const FAULTS: &[Fault] = &[
    Fault::passing(20, "stall-once", "the body stops in the middle without an end, once", |origin, size| {
        origin.script([Act::StallAfter(middle(size))]);
    }),
    Fault::lasting(20, "stall-for-ever", "every body stops at its start", |origin, _| {
        origin.always(Act::StallAfter(0));
    }),
    Fault::passing(20, "silent-once", "no answer at all, once", |origin, size| {
        origin.script([half(size), Act::Silent]);
    }),
    Fault::lasting(20, "silent-for-ever", "no answer at all", |origin, _| {
        origin.always(Act::Silent);
    }),
    Fault::passing(20, "trickle-once", "one byte per second, once", |origin, _| {
        origin.script([Act::Trickle(1000)]);
    }),
    Fault::lasting(20, "trickle-for-ever", "one byte per second", |origin, _| {
        origin.always(Act::Trickle(1000));
    }),
    Fault::passing(20, "slow-head-once", "a head of one byte per second, once", |origin, size| {
        origin.script([half(size), Act::SlowHead(1000)]);
    }),
    Fault::passing(20, "long-head-once", "1 MB of headers, once", |origin, size| {
        origin.script([half(size), Act::Headers(1 << 20)]);
    }),
    Fault::lasting(20, "long-head", "1 MB of headers each time", |origin, _| {
        origin.always(Act::Headers(1 << 20));
    }),
    Fault::passing(20, "endless-1xx-once", "100 Continue without end, once", |origin, size| {
        origin.script([half(size), Act::Endless1xx]);
    }),
    Fault::lasting(20, "endless-1xx", "100 Continue without end", |origin, _| {
        origin.always(Act::Endless1xx);
    }),
];
