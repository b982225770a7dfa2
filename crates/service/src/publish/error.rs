//! What is wrong with a folder: which file, where in it, and what.

use std::fmt;
use std::path::PathBuf;

use crate::{objects::ObjectError, store::StoreError};

/// Why a folder can't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Something in the folder is wrong.
    #[error("{file}{place}: {problem}", file = file.display(), place = Place(*line))]
    Content {
        /// The file, within the folder.
        file: PathBuf,
        /// The line, where one can be named.
        line: Option<usize>,
        /// What is wrong.
        problem: ContentProblem,
    },
    /// A file can't be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object store failed.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// No random numbers for new ids.
    #[error("no random numbers: {0}")]
    Random(std::io::Error),
    /// The work was stopped from outside.
    #[error("publishing was stopped: {0}")]
    Stopped(String),
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentProblem {
    /// A file or folder that must be there isn't.
    #[error("{0} is missing")]
    Missing(String),
    /// TOML that can't be read, or a key of the wrong type or name.
    #[error("{0}")]
    Toml(String),
    /// Not UTF-8.
    #[error("is not UTF-8 text")]
    NotText,
    /// A lesson without front matter.
    #[error("a lesson begins with front matter between two lines of +++")]
    NoFrontMatter,
    /// A value outside what is allowed.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// What would be right.
        reason: String,
    },
    /// Two things of one key.
    #[error("the key {0:?} is used twice")]
    DuplicateKey(String),
    /// A path that leaves the folder.
    #[error("{0:?}: paths are relative and stay within the folder of the course")]
    PathOutside(String),
    /// A link.
    #[error("{0:?} is a link, and links are not followed")]
    Link(String),
    /// A file of the wrong kind.
    #[error("{path:?} is {found}, which can't be used as {wanted}")]
    WrongMedia {
        /// The path.
        path: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// A question that can't be answered rightly.
    #[error("question {id:?}: {reason}")]
    Question {
        /// Its id.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

impl ContentProblem {
    /// In a file.
    pub(super) fn within(self, file: impl Into<PathBuf>) -> PublishError {
        PublishError::Content { file: file.into(), line: None, problem: self }
    }

    pub(super) fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { key: key.into(), reason: reason.into() }
    }
}
