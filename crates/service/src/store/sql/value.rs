//! What is bound to a statement's parameters.

use carrel_model::{
    AssetId, BlobHash, BookmarkId, CourseId, DeviceId, DownloadId, LearnerId, LessonId, SessionId, TimeMs, UnitId,
};

/// A value for a parameter, or for a column of a row to be inserted.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A number, a moment in milliseconds, or null.
    Int(Option<i64>),
    /// A text without NUL – an id, a hash, a word, JSON – or null.
    Text(Option<String>),
    /// What a person typed, NUL included. PostgreSQL keeps it as bytes, since its texts can't hold one.
    Free(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Yes or no.
    Flag(bool),
    /// A set of texts, to look among.
    Texts(Vec<String>),
    /// A set of numbers, to look among.
    Ints(Vec<i64>),
}

/// A list of [`Value`]s out of whatever can become one.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::sql::Value::from($value)),*] };
}
pub(crate) use values;

/// An unsigned number as the databases keep it. What the wire carries is below 2^53, so nothing is cut off.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Value {
    /// A set of texts.
    pub(crate) fn among<T: ToString>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Texts(items.into_iter().map(|item| item.to_string()).collect())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(Some(signed(value)))
    }
}

impl From<Option<u64>> for Value {
    fn from(value: Option<u64>) -> Self {
        Self::Int(value.map(signed))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<u8> for Value {
    fn from(value: u8) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<TimeMs> for Value {
    fn from(value: TimeMs) -> Self {
        Self::Int(Some(value.as_ms()))
    }
}

impl From<Option<TimeMs>> for Value {
    fn from(value: Option<TimeMs>) -> Self {
        Self::Int(value.map(TimeMs::as_ms))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl From<[u8; 32]> for Value {
    fn from(value: [u8; 32]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

macro_rules! kept_as_text {
    ($($id:ty),+) => {
        $(
            impl From<$id> for Value {
                fn from(value: $id) -> Self {
                    Self::Text(Some(value.to_string()))
                }
            }
            impl From<Option<$id>> for Value {
                fn from(value: Option<$id>) -> Self {
                    Self::Text(value.map(|value| value.to_string()))
                }
            }
        )+
    };
}

kept_as_text!(AssetId, BlobHash, BookmarkId, CourseId, DeviceId, DownloadId, LearnerId, LessonId, SessionId, UnitId);
