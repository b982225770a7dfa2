//! What the client reads from servers, as functions of plain bytes; see [`crate::fuzzing`].

pub(crate) use super::{h1::fuzzing::answer, request::fuzzing::redirect};
