//! What a manifest file asks for: one blob, or many with a path each.
//!
//! Paths come from elsewhere and become names on this disk, so they are checked before anything is made: nothing outside
//! the folder, nothing twice, no name that means something else on another system.

use std::{collections::HashSet, io};

use carrel_model::pieces::Manifest;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The folder of journals within OUT; no file may be put there.
pub(crate) const JOURNALS: &str = ".carrel-journal";

pub(crate) enum Work {
    One(Manifest),
    Many(Vec<Entry>),
}

/// One file of many.
pub(crate) struct Entry {
    /// Segments joined by slashes, checked.
    pub(crate) path: String,
    pub(crate) manifest: Manifest,
}

/// Why a manifest isn't one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error("it can't be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("the manifest is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("the manifest is damaged: nothing is in it")]
    Empty,
    #[error("the path {0:?} is not allowed: {1}")]
    Path(String, PathFault),
}

/// Why a path is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathFault {
    #[error("it is absolute")]
    Absolute,
    #[error("it leads out of the folder")]
    Outside,
    #[error("a part of it is empty")]
    EmptyPart,
    #[error("it names a drive")]
    Drive,
    #[error("it has a control character or a backslash in it")]
    Letter,
    #[error("it is the journal's place")]
    Reserved,
    #[error("the name means a device here, or can't be one")]
    Device,
    #[error("it is there twice")]
    Twice,
    #[error("another file would have to be its folder")]
    Beneath,
}

#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    files: Option<Vec<&'a RawValue>>,
    path: Option<String>,
}

/// Reads a manifest: an object, an array, or objects one after the other.
pub(crate) fn read(text: &[u8]) -> Result<Work, WorkError> {
    let mut entries = Vec::new();
    let mut many = false;
    for value in serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>() {
        let value = value?.get();
        if value.starts_with('[') {
            many = true;
            for entry in serde_json::from_str::<Vec<&RawValue>>(value)? {
                entries.push(self::entry(entry.get())?);
            }
            continue;
        }
        let shape: Shape<'_> = serde_json::from_str(value)?;
        match (shape.files, shape.path) {
            (Some(files), _) => {
                many = true;
                for entry in files {
                    entries.push(self::entry(entry.get())?);
                }
            }
            (None, Some(_)) => {
                many = true;
                entries.push(entry(value)?);
            }
            (None, None) if !many => return Ok(Work::One(serde_json::from_slice(text)?)),
            // Without a path among others: says what is missing.
            (None, None) => entries.push(entry(value)?),
        }
    }
    if !many {
        return Err(WorkError::Empty);
    }
    check_all(&entries)?;
    Ok(Work::Many(entries))
}

fn entry(value: &str) -> Result<Entry, WorkError> {
    #[derive(Deserialize)]
    struct Place {
        path: String,
    }
    let Place { path } = serde_json::from_str(value)?;
    if let Some(fault) = fault(&path) {
        return Err(WorkError::Path(path, fault));
    }
    Ok(Entry { path, manifest: serde_json::from_str(value)? })
}

fn fault(path: &str) -> Option<PathFault> {
    let mut letters = path.chars();
    if path.starts_with(['/', '\\']) {
        return Some(PathFault::Absolute);
    }
    if letters.next().is_some_and(|letter| letter.is_ascii_alphabetic()) && letters.next() == Some(':') {
        return Some(PathFault::Drive);
    }
    if path.contains(|letter: char| letter.is_control() || letter == '\\') {
        return Some(PathFault::Letter);
    }
    if path.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(JOURNALS)) {
        return Some(PathFault::Reserved);
    }
    path.split('/').find_map(|part| match part {
        "" => Some(PathFault::EmptyPart),
        "." | ".." => Some(PathFault::Outside),
        _ if cfg!(windows) && is_device(part) => Some(PathFault::Device),
        _ => None,
    })
}

fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered = |name| stem.strip_prefix(name).is_some_and(|digit: &str| digit.len() == 1 && digit != "0");
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || numbered("COM")
        || numbered("LPT")
        || part.ends_with(['.', ' '])
        || part.contains(['<', '>', ':', '"', '|', '?', '*'])
}

/// No file twice, and none where another needs a folder.
fn check_all(entries: &[Entry]) -> Result<(), WorkError> {
    let mut seen = HashSet::new();
    for entry in entries {
        if !seen.insert(as_on_disk(&entry.path)) {
            return Err(WorkError::Path(entry.path.clone(), PathFault::Twice));
        }
    }
    for entry in entries {
        let path = as_on_disk(&entry.path);
        if path.match_indices('/').any(|(end, _)| path.get(..end).is_some_and(|folder| seen.contains(folder))) {
            return Err(WorkError::Path(entry.path.clone(), PathFault::Beneath));
        }
    }
    Ok(())
}

/// Where names differ by more than their case.
fn as_on_disk(path: &str) -> String {
    if cfg!(any(windows, target_os = "macos")) { path.to_lowercase() } else { path.to_owned() }
}
