//! Pieces on their way to the disk: written by threads of their own, durable before they are recorded.

pub(crate) mod checkpoint;
pub(crate) mod part_file;
pub(crate) mod writer;
