//! The tests. One place in their names, so that a runner can leave them out where there is no screen to be had.

mod devices;
mod diagnostics;
mod faults;
mod media;
mod outbox;
mod pictures;
mod story;
mod tour;
