//! What is decided without I/O: which range next, what a response means, when to try again and from where.

pub(crate) mod answer;
pub(crate) mod incoming;
pub(crate) mod patience;
pub(crate) mod plan;
pub(crate) mod speed;
pub(crate) mod supply;
