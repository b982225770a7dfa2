//! The HTTP host as a browser and its enemies meet it: real sockets, the real engine, the real service.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected has failed")]

mod conditions;
mod desk;
mod door;
mod learning;
mod older_names;
mod program;
