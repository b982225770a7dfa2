//! Bytes over HTTP into a verified file.
//!
//! [`Fetcher::fetch`] takes a [`Manifest`](carrel_model::pieces::Manifest) – size, hash and the value of every MiB – and
//! ends with a complete, verified and durable file, or with one typed [`FetchError`]. The principle: *what verifies is
//! right; what doesn't is fetched again.* Status codes, lengths, ETags and encodings only help to notice sooner; nothing a
//! server says can make a wrong byte count as right.
//!
//! The rooms: `rules` decide without I/O (which range next, what a response means, when to try again), `client` asks
//! servers, `disk` writes pieces and makes them durable before it tells the [`Journal`], and `run` drives them. Courses, SQL and Tauri are unknown here: addresses come from [`Sources`].

mod broker;
mod client;
mod clock;
mod control;
mod disk;
mod error;
mod fetcher;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod journal;
mod many;
mod piece_set;
mod rules;
mod run;
mod sources;

pub use broker::{Broker, MOST_PER_SIGN, Signed, Signer};
pub use client::{ClientError, Http2, HttpClient, HttpOptions, Proxy};
pub use clock::{Clock, SystemClock};
pub use control::{Control, Progress, State, Urgency, WaitCause};
pub use disk::{FileId, FileLayer, FileStat, OpenFile, SystemFiles};
pub use error::{FetchError, Lie};
pub use fetcher::{FetchRequest, Fetched, Fetcher, FetcherConfig};
pub use journal::{Checkpoint, FileJournal, Journal, JournalError, NoJournal};
pub use many::{Job, Many, Places};
pub use piece_set::PieceSet;
pub use sources::{FixedSources, ResolveReason, Source, SourceError, Sources};
