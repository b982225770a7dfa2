//! The cursor: how far a reader has come in each scope of one incarnation of the database (protocol.md, Cursor).

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use carrel_model::{CourseId, LearnerId};
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// Longer texts are not cursors of ours.
const MAX_CURSOR_BYTES: usize = 64 * 1024;

/// How far a reader has come. Opaque on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    #[serde(rename = "e")]
    /// The incarnation.
    pub epoch: String,
    #[serde(rename = "s")]
    /// The counter reached, by scope.
    pub scopes: BTreeMap<String, i64>,
}

/// The scope of what belongs to one course.
pub(crate) fn course_scope(course: CourseId) -> String {
    format!("course:{course}")
}

/// The scope of what belongs to one learner.
#[must_use]
pub fn user_scope(learner: LearnerId) -> String {
    format!("user:{learner}")
}

impl Cursor {
    /// Before everything.
    #[must_use]
    pub fn start(epoch: &str) -> Self {
        Self { epoch: epoch.to_owned(), scopes: BTreeMap::new() }
    }

    /// As it travels.
    pub fn encode(&self) -> Result<String, StoreError> {
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).map_err(|_| StoreError::MalformedCursor)?))
    }

    /// Reads a cursor given to this learner in this epoch.
    pub fn decode(text: &str, epoch: &str, learner: LearnerId) -> Result<Self, StoreError> {
        let cursor = Self::read(text, learner)?;
        if cursor.epoch == epoch { Ok(cursor) } else { Err(StoreError::CursorExpired) }
    }

    /// Reads a cursor given to this learner in whatever epoch.
    pub fn read(text: &str, learner: LearnerId) -> Result<Self, StoreError> {
        if text.len() > MAX_CURSOR_BYTES {
            return Err(StoreError::MalformedCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::MalformedCursor)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| StoreError::MalformedCursor)?;
        let own = user_scope(learner);
        for (scope, seq) in &cursor.scopes {
            if *seq < 0 {
                return Err(StoreError::MalformedCursor);
            }
            match scope.split_once(':') {
                Some(("course", id)) if id.parse::<CourseId>().is_ok_and(|id| course_scope(id) == *scope) => {}
                Some(("user", _)) if *scope == own => {}
                // A device that changed hands: what the other learner had says nothing about this one.
                Some(("user", _)) => return Err(StoreError::CursorExpired),
                _ => return Err(StoreError::MalformedCursor),
            }
        }
        Ok(cursor)
    }

    /// The courses whose content the reader has, wholly or in part.
    pub(crate) fn courses(&self) -> impl Iterator<Item = CourseId> {
        self.scopes.keys().filter_map(|scope| scope.strip_prefix("course:")?.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_and_strange_cursors_are_told_apart() {
        let me: LearnerId = "01900000-0000-7000-8000-000000000001".parse().unwrap();
        let other: LearnerId = "01900000-0000-7000-8000-000000000002".parse().unwrap();
        let mut cursor = Cursor::start("e1");
        cursor.scopes.insert(user_scope(me), 7);
        let text = cursor.encode().unwrap();
        assert_eq!(Cursor::decode(&text, "e1", me).unwrap(), cursor, "one's own is read back");
        assert!(matches!(Cursor::decode(&text, "e2", me), Err(StoreError::CursorExpired)), "another incarnation");
        assert!(matches!(Cursor::decode(&text, "e1", other), Err(StoreError::CursorExpired)), "another learner");
        for rubbish in ["", "AAAA", "%%%", &URL_SAFE_NO_PAD.encode(r#"{"e":"e1","s":{"course:x":1}}"#)] {
            assert!(matches!(Cursor::decode(rubbish, "e1", me), Err(StoreError::MalformedCursor)), "{rubbish:?}");
        }
    }
}
