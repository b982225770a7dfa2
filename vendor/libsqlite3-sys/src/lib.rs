//! The bindings of a current SQLite under the name and version that sqlx 0.8.6 asks for.
//!
//! sqlx 0.8.6 pins `libsqlite3-sys` 0.30, which bundles SQLite 3.46; releases before 3.51.3 can corrupt a database
//! when a WAL is reset while it is being read. The C interface is stable, so re-exporting newer bindings is enough.
#![no_std]
pub use current::*;
