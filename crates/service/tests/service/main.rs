//! The service as its callers meet it: real SQLite, a real PostgreSQL, real files, its own router, a clock that the test sets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected has failed"
)]

mod accounts;
mod checksums;
mod commands;
mod content;
mod databases;
mod downloads;
mod full_disk;
mod grading;
mod hostile;
mod jobs;
mod openapi;
mod postgres;
mod publishing;
mod races;
mod restore;
mod samples;
mod serving;
mod site;
mod sync;
mod twins;
