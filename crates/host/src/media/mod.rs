//! Media for a front end: the bytes of an asset, by id, for the learner it belongs to.
//!
//! WebKitGTK plays video and audio from `http://` only, macOS and Android only from a secure or custom scheme. So there
//! is one handler that knows no transport ([`MediaHandler`]), a loopback server that speaks HTTP around it
//! ([`MediaServer`]), and the shell's custom protocol around it elsewhere. Which of them a front end is pointed at is
//! decided in [`Route::base`] and nowhere else.
//!
//! Media requests carry no `Origin` and no credentials, so the address itself is the credential: a random secret for each
//! learner and each run. Content is named by id, never by path.

mod address;
mod file;
mod handler;
mod range;
mod remote;
mod server;

pub use address::{MediaAddresses, Route, SCHEME};
pub use handler::{APP_ORIGINS, MediaBody, MediaContents, MediaHandler};
pub use server::MediaServer;
pub(crate) use server::respond;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod media_tests;
#[cfg(test)]
mod range_tests;
#[cfg(test)]
mod remote_tests;
