//! What is decided without I/O: which range next, what a response means, when to try again and from where, how fast and
//! over how many connections.

pub(crate) mod answer;
pub(crate) mod hosts;
pub(crate) mod incoming;
pub(crate) mod lanes;
pub(crate) mod patience;
pub(crate) mod plan;
pub(crate) mod rate;
pub(crate) mod speed;
pub(crate) mod stall;
pub(crate) mod supply;
