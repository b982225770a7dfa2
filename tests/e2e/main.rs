//! The app as a learner meets it: the real window, the real service, real processes, nothing in between but a relay.
//!
//! WebKit's own WebDriver presses the buttons of the built app on a virtual screen; the built service answers behind a
//! relay that can slow down, cut and switch off the network. Whatever is claimed – a position, an answer, bytes that were
//! not fetched twice – is read where it ends up: in the window, on the wire, in the service's database.
//!
//! `cargo xtask test --only window` builds what is needed and runs this. Linux only: elsewhere there is no such WebDriver.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test a panic with a message is the report"
)]

mod content_service;
mod desk;
mod real_window;
mod screens;
mod virtual_screen;
mod window;
