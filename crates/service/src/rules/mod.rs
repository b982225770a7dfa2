//! What is allowed, and what a write amounts to. No I/O, no clock: everything is an argument.
//! Public, so that the simulation of sync plays these very rules.

mod access;
mod batch;
mod cursor;
mod judging;

pub use access::Denial;
pub(crate) use access::{EnrolmentFacts, Period, last_day, may_open};
pub use batch::{BatchError, IncomingOp, KnownToOp, OP_TIME_TOLERANCE_MS, admit, read_batch};
pub(crate) use cursor::course_scope;
pub use cursor::{Cursor, user_scope};
pub use judging::{Entry, Known, Logged, Mentioned, Regressed, Taken, judge, regressed};
