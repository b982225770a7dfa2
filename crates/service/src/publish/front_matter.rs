//! The TOML of a course: `course.toml`, `unit.toml`, and the front matter of lessons.

use std::collections::BTreeMap;

use carrel_model::content::{LessonKind, Quality};
use serde::{Deserialize, de::DeserializeOwned};

use super::error::ContentProblem;

/// `course.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CourseToml {
    pub(super) key: Option<String>,
    pub(super) title: String,
    #[serde(default)]
    pub(super) summary: String,
    #[serde(default)]
    pub(super) subject: String,
    #[serde(default)]
    pub(super) level: String,
    #[serde(default = "english")]
    pub(super) language: String,
    #[serde(default = "river_green")]
    pub(super) accent: String,
    pub(super) cover: Option<String>,
    #[serde(default)]
    pub(super) open: bool,
    #[serde(default)]
    pub(super) premium: bool,
    pub(super) position: Option<u32>,
}

/// `unit.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitToml {
    pub(super) key: Option<String>,
    pub(super) title: String,
    #[serde(default)]
    pub(super) summary: String,
    pub(super) language: Option<String>,
    pub(super) cover: Option<String>,
    #[serde(default = "first_schema")]
    pub(super) schema_version: u32,
}

/// The front matter of a lesson.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LessonToml {
    pub(super) kind: LessonKind,
    pub(super) key: Option<String>,
    pub(super) title: String,
    #[serde(default)]
    pub(super) summary: String,
    pub(super) media: Option<MediaToml>,
    #[serde(default)]
    pub(super) captions: Vec<CaptionsToml>,
    #[serde(default)]
    pub(super) chapters: Vec<ChapterToml>,
    #[serde(default = "sixty")]
    pub(super) passing_percent: u8,
    #[serde(default = "yes")]
    pub(super) practice: bool,
    #[serde(default)]
    pub(super) questions: Vec<super::quiz::QuestionToml>,
}

/// One path, or one for each quality.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum MediaToml {
    One(String),
    Several(BTreeMap<Quality, String>),
}

/// Captions in one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaptionsToml {
    pub(super) language: String,
    pub(super) title: String,
    pub(super) file: String,
}

/// A named place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChapterToml {
    pub(super) at_ms: u64,
    pub(super) title: String,
}

fn english() -> String {
    "en".to_owned()
}

fn river_green() -> String {
    "#1f5f5b".to_owned()
}

const fn first_schema() -> u32 {
    1
}

const fn sixty() -> u8 {
    60
}

const fn yes() -> bool {
    true
}

/// Reads TOML that begins on the line after `lines_before`; the error has its line in the file.
pub(super) fn parse<T: DeserializeOwned>(text: &str, lines_before: usize) -> Result<T, (usize, ContentProblem)> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        (lines_before + line, ContentProblem::Toml(error.message().to_owned()))
    })
}

/// Splits a lesson file into front matter and Markdown.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = rest.strip_prefix("+++")?.trim_start_matches([' ', '\t', '\r']).strip_prefix('\n')?;
    let mut offset = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "+++" {
            return Some((rest.get(..offset)?, rest.get(offset + line.len()..)?));
        }
        offset += line.len();
    }
    None
}
