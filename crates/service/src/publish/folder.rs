//! Reading a course's folder: what is there, in its order, with every key known. Media are looked at later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{
    error::{ContentProblem, PublishError},
    front_matter::{CourseToml, LessonToml, UnitToml, parse, split},
};

/// A course as it lies in its folder.
pub(super) struct CourseFolder {
    pub(super) root: PathBuf,
    pub(super) key: String,
    pub(super) toml: CourseToml,
    pub(super) units: Vec<UnitFolder>,
}

/// A unit's folder.
pub(super) struct UnitFolder {
    /// Within the root.
    pub(super) folder: PathBuf,
    pub(super) key: String,
    pub(super) toml: UnitToml,
    pub(super) lessons: Vec<LessonFile>,
}

/// A lesson's file.
pub(super) struct LessonFile {
    /// Within the root.
    pub(super) file: PathBuf,
    pub(super) key: String,
    pub(super) toml: LessonToml,
    pub(super) markdown: String,
}

/// Reads the folder.
pub(super) fn read(root: &Path) -> Result<CourseFolder, PublishError> {
    let root =
        std::fs::canonicalize(root).map_err(|source| PublishError::Unreadable { path: root.to_owned(), source })?;
    let toml: CourseToml = read_toml(&root, Path::new("course.toml"))?;
    let folder_name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let key = checked_key(toml.key.as_deref().unwrap_or(&folder_name), Path::new("course.toml"))?;
    let mut units = Vec::new();
    let mut keys = BTreeSet::new();
    for name in entries(&root, Path::new(""))? {
        if root.join(&name).join("unit.toml").is_file() {
            let unit = read_unit(&root, Path::new(&name), &name)?;
            if !keys.insert(unit.key.clone()) {
                return Err(ContentProblem::DuplicateKey(unit.key).within(unit.folder.join("unit.toml")));
            }
            units.push(unit);
        }
    }
    Ok(CourseFolder { root, key, toml, units })
}

fn read_unit(root: &Path, folder: &Path, name: &str) -> Result<UnitFolder, PublishError> {
    let file = folder.join("unit.toml");
    let toml: UnitToml = read_toml(root, &file)?;
    let key = checked_key(toml.key.as_deref().unwrap_or(without_order(name)), &file)?;
    let mut lessons = Vec::new();
    let mut keys = BTreeSet::new();
    for name in entries(root, folder)? {
        if let Some(stem) = name.strip_suffix(".md") {
            let lesson = read_lesson(root, folder.join(&name), stem)?;
            if !keys.insert(lesson.key.clone()) {
                return Err(ContentProblem::DuplicateKey(lesson.key).within(lesson.file));
            }
            lessons.push(lesson);
        }
    }
    Ok(UnitFolder { folder: folder.to_owned(), key, toml, lessons })
}

fn read_lesson(root: &Path, file: PathBuf, stem: &str) -> Result<LessonFile, PublishError> {
    let text = read_text(root, &file)?;
    let (front, markdown) = split(&text).ok_or_else(|| ContentProblem::NoFrontMatter.within(&file))?;
    let toml: LessonToml = parse(front, 1).map_err(|(line, problem)| PublishError::Content {
        file: file.clone(),
        line: Some(line),
        problem,
    })?;
    let key = checked_key(toml.key.as_deref().unwrap_or(without_order(stem)), &file)?;
    Ok(LessonFile { file, key, toml, markdown: markdown.to_owned() })
}

fn read_toml<T: DeserializeOwned>(root: &Path, file: &Path) -> Result<T, PublishError> {
    if !root.join(file).is_file() {
        return Err(ContentProblem::Missing(file.display().to_string()).within(file));
    }
    let text = read_text(root, file)?;
    parse(&text, 0).map_err(|(line, problem)| PublishError::Content {
        file: file.to_owned(),
        line: Some(line),
        problem,
    })
}

/// The text of a file that is no link.
pub(super) fn read_text(root: &Path, file: &Path) -> Result<String, PublishError> {
    let path = root.join(file);
    let unreadable = |source| PublishError::Unreadable { path: path.clone(), source };
    if std::fs::symlink_metadata(&path).map_err(unreadable)?.file_type().is_symlink() {
        return Err(ContentProblem::Link(file.display().to_string()).within(file));
    }
    let bytes = std::fs::read(&path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|_| ContentProblem::NotText.within(file))
}

/// Names in a folder, in order; hidden ones are nobody's course. A link is refused rather than passed over.
fn entries(root: &Path, folder: &Path) -> Result<Vec<String>, PublishError> {
    let path = root.join(folder);
    let unreadable = |source| PublishError::Unreadable { path: path.clone(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type().map_err(unreadable)?.is_symlink() {
            return Err(ContentProblem::Link(name.clone()).within(folder.join(name)));
        }
        names.push(name);
    }
    names.sort();
    Ok(names)
}

/// A leading `NN-` is order, not identity.
fn without_order(name: &str) -> &str {
    match name.split_once('-') {
        Some((digits, rest)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => name,
    }
}

fn checked_key(key: &str, file: &Path) -> Result<String, PublishError> {
    let right = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=64).contains(&key.len()) && key.bytes().all(right) {
        return Ok(key.to_owned());
    }
    Err(ContentProblem::value("key", format!("{key:?} is not 1 to 64 of a-z, 0-9 and -")).within(file))
}
