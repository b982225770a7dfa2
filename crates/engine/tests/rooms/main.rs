//! The engine against the real service: real sockets, real databases, a relay that can be cut.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets the unexpected has failed")]

mod catalogue;
mod healing;
mod learning;
mod offline;
mod schema;
mod sessions;
mod signing_out;
mod triggers;
mod wal;
mod wal_cuts;
mod world;
