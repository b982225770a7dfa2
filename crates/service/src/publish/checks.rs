//! Checks of single values of a course's TOML.

use std::path::Path;

use carrel_model::content::Chapter;

use super::{
    error::{ContentProblem, PublishError},
    front_matter::ChapterToml,
};

/// Chapters rise and begin before the end.
pub(super) fn chapters(
    toml: Vec<ChapterToml>,
    duration_ms: Option<u64>,
    file: &Path,
) -> Result<Vec<Chapter>, PublishError> {
    let rising = toml.is_sorted_by(|a, b| a.at_ms < b.at_ms);
    let within = toml.iter().all(|chapter| duration_ms.is_none_or(|end| chapter.at_ms < end));
    if !rising || !within {
        return Err(ContentProblem::value("chapters", "in order, before the end").within(file));
    }
    Ok(toml.into_iter().map(|chapter| Chapter { at_ms: chapter.at_ms, title: chapter.title }).collect())
}

/// A key that only some kinds of lessons have.
pub(super) fn only_for(present: bool, key: &str, allowed: bool, file: &Path) -> Result<(), PublishError> {
    if present && !allowed {
        return Err(ContentProblem::value(key, "not for this kind of lesson").within(file));
    }
    Ok(())
}

/// Text that a person has to see.
pub(super) fn not_empty(key: &str, text: &str, file: &Path) -> Result<(), PublishError> {
    if text.trim().is_empty() {
        return Err(ContentProblem::value(key, "must not be empty").within(file));
    }
    Ok(())
}

/// A language tag (BCP 47), by its shape.
pub(super) fn language(key: &str, tag: &str, file: &Path) -> Result<(), PublishError> {
    let right = (2..=35).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if right { Ok(()) } else { Err(ContentProblem::value(key, format!("{tag:?} is not a BCP 47 tag")).within(file)) }
}

/// A colour.
pub(super) fn accent(colour: &str, file: &Path) -> Result<(), PublishError> {
    let digits = colour.strip_prefix('#').filter(|digits| digits.len() == 6);
    if digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Ok(());
    }
    Err(ContentProblem::value("accent", format!("{colour:?} is not #rrggbb")).within(file))
}
