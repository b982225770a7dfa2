//! What is allowed, and what a write amounts to. No I/O, no clock: everything is an argument.

mod access;
mod batch;
mod cursor;

pub use access::Denial;
pub(crate) use access::{EnrolmentFacts, may_open};
pub use batch::IncomingOp;
pub(crate) use batch::{BatchError, KnownToOp, OP_TIME_TOLERANCE_MS, admit, read_batch};
pub(crate) use cursor::{Cursor, course_scope, user_scope};
