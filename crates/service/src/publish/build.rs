//! Building a course: every id given, every file looked into, every wire type complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use carrel_model::{
    AssetId, BlobHash, CourseId, LessonId, TimeMs, UnitId,
    content::{Asset, AssetKind, Course, Lesson, LessonKind, LessonPayload, Quality, Rendition, Unit},
    pieces::ManifestBuilder,
};

use super::{
    checks::{accent, chapters, language, not_empty, only_for},
    error::{ContentProblem, PublishError},
    folder::{CourseFolder, LessonFile, UnitFolder, read_text},
    front_matter::MediaToml,
    media::{self, Media},
    page::{self, Picture},
    paths,
    quiz::quiz,
};
use crate::{
    secrets::random,
    store::{BuiltBlob, BuiltCourse, BuiltLesson, BuiltUnit, KnownIds},
};

/// How fast a page is read.
const WORDS_PER_MINUTE: u64 = 180;
/// The end of a picture or page: thousandths of its height.
const WHOLE_PER_MILLE: u64 = 1000;

/// A course and the objects it needs.
pub(super) struct Built {
    pub(super) course: BuiltCourse,
    pub(super) uploads: Vec<Upload>,
}

/// An object to be written.
pub(super) struct Upload {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    pub(super) source: Source,
}

/// Where its bytes are.
pub(super) enum Source {
    File(PathBuf),
    Memory(Vec<u8>),
}

/// Builds a course from its folder; what was published before keeps its ids.
pub(super) fn build(folder: CourseFolder, known: KnownIds, now: TimeMs) -> Result<Built, PublishError> {
    let CourseFolder { root, key, toml, units } = folder;
    let file = Path::new("course.toml");
    let id = match known.course {
        Some(id) => id,
        None => CourseId::from_parts(now, fresh()?),
    };
    let position = toml.position.unwrap_or(known.position);
    let mut work = Builder {
        root,
        known,
        now,
        asset_keys: BTreeMap::new(),
        blobs: BTreeMap::new(),
        uploads: Vec::new(),
        looked_into: BTreeMap::new(),
    };
    not_empty("title", &toml.title, file)?;
    language("language", &toml.language, file)?;
    accent(&toml.accent, file)?;
    let cover = work.cover(toml.cover.as_deref(), "cover", Path::new(""), file, &toml.title)?;
    let course = Course {
        id,
        title: toml.title,
        summary: toml.summary,
        subject: toml.subject,
        level: toml.level,
        language: toml.language.clone(),
        accent: toml.accent.to_lowercase(),
        cover,
        open: toml.open,
        premium: toml.premium,
        position,
        updated_at: TimeMs::default(),
    };
    let mut built_units = Vec::with_capacity(units.len());
    for (unit, position) in units.into_iter().zip(0..) {
        built_units.push(work.unit(id, unit, position, &toml.language)?);
    }
    let course = BuiltCourse { key, course, units: built_units, asset_keys: work.asset_keys, blobs: work.blobs };
    Ok(Built { course, uploads: work.uploads })
}

struct Builder {
    root: PathBuf,
    known: KnownIds,
    now: TimeMs,
    asset_keys: BTreeMap<AssetId, String>,
    blobs: BTreeMap<BlobHash, BuiltBlob>,
    uploads: Vec<Upload>,
    looked_into: BTreeMap<(PathBuf, AssetKind), Media>,
}

/// A lesson being built: what its assets have in common.
struct Place<'a> {
    lesson: Option<LessonId>,
    /// The key of the lesson, unit or course.
    key: &'a str,
    /// The folder its paths are seen from.
    base: &'a Path,
    /// The file that names them.
    file: &'a Path,
}

impl Builder {
    fn unit(
        &mut self,
        course: CourseId,
        folder: UnitFolder,
        position: u32,
        course_language: &str,
    ) -> Result<BuiltUnit, PublishError> {
        let file = folder.folder.join("unit.toml");
        let toml = folder.toml;
        not_empty("title", &toml.title, &file)?;
        let spoken = toml.language.unwrap_or_else(|| course_language.to_owned());
        language("language", &spoken, &file)?;
        let id = match self.known.units.get(&folder.key) {
            Some(id) => *id,
            None => UnitId::from_parts(self.now, fresh()?),
        };
        let cover_key = format!("{}/cover", folder.key);
        let cover = self.cover(toml.cover.as_deref(), &cover_key, &folder.folder, &file, &toml.title)?;
        let mut unit = Unit {
            id,
            course_id: course,
            position,
            title: toml.title,
            summary: toml.summary,
            language: spoken,
            cover,
            schema_version: toml.schema_version,
            lessons: Vec::new(),
            assets: Vec::new(),
            updated_at: TimeMs::default(),
        };
        let mut lessons = Vec::new();
        for (lesson, position) in folder.lessons.into_iter().zip(0..) {
            let key = format!("{}/{}", folder.key, lesson.key);
            let lesson = self.lesson(&mut unit, &folder.folder, lesson, &key, position)?;
            let max_position = match lesson.kind {
                LessonKind::Audio | LessonKind::Video => lesson.duration_ms,
                LessonKind::Page | LessonKind::Image => Some(WHOLE_PER_MILLE),
                LessonKind::Quiz => lesson.payload.quiz.as_ref().map(|quiz| quiz.questions.len() as u64),
                LessonKind::Document => None,
            };
            lessons.push(BuiltLesson { key, id: lesson.id, kind: lesson.kind, max_position });
            unit.lessons.push(lesson);
        }
        Ok(BuiltUnit { key: folder.key, unit, lessons })
    }

    fn lesson(
        &mut self,
        unit: &mut Unit,
        base: &Path,
        source: LessonFile,
        key: &str,
        position: u32,
    ) -> Result<Lesson, PublishError> {
        let LessonFile { file, mut toml, markdown, .. } = source;
        let id = match self.known.lessons.get(key) {
            Some(id) => *id,
            None => LessonId::from_parts(self.now, fresh()?),
        };
        let place = Place { lesson: Some(id), key, base, file: &file };
        not_empty("title", &toml.title, &file)?;
        only_for(!toml.captions.is_empty(), "captions", plays(toml.kind), &file)?;
        only_for(!toml.chapters.is_empty(), "chapters", plays(toml.kind), &file)?;
        only_for(!toml.questions.is_empty(), "questions", toml.kind == LessonKind::Quiz, &file)?;

        let mut payload = LessonPayload::default();
        let mut duration_ms = None;
        let mut primary = None;
        let media = toml.media.take();
        match asset_kind(toml.kind) {
            Some(kind) => {
                let missing = || ContentProblem::Missing("media".to_owned()).within(&file);
                let asset = self.media(&place, kind, media.ok_or_else(missing)?, &toml.title)?;
                duration_ms = asset.duration_ms;
                primary = Some(asset.id);
                unit.assets.push(asset);
            }
            None => only_for(media.is_some(), "media", false, &file)?,
        }
        if toml.kind == LessonKind::Page {
            let asset = self.page(unit, &place, &markdown, &toml.title, &mut payload)?;
            duration_ms = Some(page::words(&markdown) as u64 * 60_000 / WORDS_PER_MINUTE);
            primary = Some(asset.id);
            unit.assets.push(asset);
        } else {
            if let Some(picture) = page::pictures(&markdown).first() {
                return Err(
                    ContentProblem::value(&picture.path, "only pages have pictures in their text").within(&file)
                );
            }
            payload.description_html = page::html(&markdown, &BTreeMap::new());
        }
        let mut languages = BTreeSet::new();
        for captions in std::mem::take(&mut toml.captions) {
            language("captions.language", &captions.language, &file)?;
            if !languages.insert(captions.language.clone()) {
                return Err(ContentProblem::DuplicateKey(captions.language).within(&file));
            }
            let asset = self.captions(&place, &captions.file, captions.language, captions.title)?;
            payload.caption_asset_ids.push(asset.id);
            unit.assets.push(asset);
        }
        payload.chapters = chapters(std::mem::take(&mut toml.chapters), duration_ms, &file)?;
        let (kind, title, summary) = (toml.kind, toml.title.clone(), toml.summary.clone());
        if kind == LessonKind::Quiz {
            payload.quiz = Some(quiz(toml).map_err(|problem| problem.within(&file))?);
        }
        Ok(Lesson {
            id,
            unit_id: unit.id,
            position,
            kind,
            title,
            summary,
            duration_ms,
            primary_asset_id: primary,
            payload,
            schema_version: unit.schema_version,
            updated_at: TimeMs::default(),
        })
    }

    fn cover(
        &mut self,
        path: Option<&str>,
        key: &str,
        base: &Path,
        file: &Path,
        title: &str,
    ) -> Result<Option<Asset>, PublishError> {
        let Some(path) = path else { return Ok(None) };
        let place = Place { lesson: None, key: "", base, file };
        let rendition = self.rendition(&place, AssetKind::Image, Quality::Medium, path)?;
        let id = self.asset_id(key.to_owned())?;
        Ok(Some(asset(id, None, AssetKind::Image, title, None, None, vec![rendition.0])))
    }

    fn media(
        &mut self,
        place: &Place<'_>,
        kind: AssetKind,
        toml: MediaToml,
        title: &str,
    ) -> Result<Asset, PublishError> {
        let paths = match toml {
            MediaToml::One(path) => BTreeMap::from([(Quality::Medium, path)]),
            MediaToml::Several(paths) => paths,
        };
        if paths.is_empty() {
            return Err(ContentProblem::value("media", "at least one rendition").within(place.file));
        }
        let mut renditions = Vec::new();
        let mut duration_ms = None;
        for (quality, path) in paths {
            let (rendition, duration) = self.rendition(place, kind, quality, &path)?;
            renditions.push(rendition);
            // Encodings of one recording differ by a frame or two; a position may be anywhere in the longest.
            duration_ms = duration_ms.max(duration);
        }
        let id = self.asset_id(format!("{}/media", place.key))?;
        Ok(asset(id, place.lesson, kind, title, None, duration_ms, renditions))
    }

    fn page(
        &mut self,
        unit: &mut Unit,
        place: &Place<'_>,
        markdown: &str,
        title: &str,
        payload: &mut LessonPayload,
    ) -> Result<Asset, PublishError> {
        let mut ids = BTreeMap::new();
        for Picture { path, alt } in page::pictures(markdown) {
            let (rendition, _) = self.rendition(place, AssetKind::Image, Quality::Medium, &path)?;
            let id = self.asset_id(format!("{}/image/{path}", place.key))?;
            // A picture that only decorates is called like its page.
            let called = if alt.is_empty() { title } else { &alt };
            unit.assets.push(asset(id, place.lesson, AssetKind::Image, called, None, None, vec![rendition]));
            payload.image_asset_ids.push(id);
            ids.insert(path, id.to_string());
        }
        let html = page::html(markdown, &ids).into_bytes();
        let rendition = self.text(html, "text/html; charset=utf-8");
        let id = self.asset_id(format!("{}/page", place.key))?;
        let language = Some(unit.language.clone());
        Ok(asset(id, place.lesson, AssetKind::Document, title, language, None, vec![rendition]))
    }

    fn captions(
        &mut self,
        place: &Place<'_>,
        path: &str,
        language: String,
        title: String,
    ) -> Result<Asset, PublishError> {
        let within = paths::resolve(&self.root, place.base, path).map_err(|problem| problem.within(place.file))?;
        let text = read_text(&self.root, &within)?;
        media::check_captions(&text, path).map_err(|problem| problem.within(place.file))?;
        let rendition = self.text(text.into_bytes(), "text/vtt; charset=utf-8");
        let id = self.asset_id(format!("{}/captions/{language}", place.key))?;
        Ok(asset(id, place.lesson, AssetKind::Captions, &title, Some(language), None, vec![rendition]))
    }

    fn text(&mut self, content: Vec<u8>, mime: &str) -> Rendition {
        let mut builder = ManifestBuilder::new();
        builder.update(&content);
        let manifest = builder.finish();
        let (hash, size) = (manifest.hash(), manifest.size());
        self.blobs.insert(hash, BuiltBlob { manifest, mime: mime.to_owned() });
        self.uploads.push(Upload { hash, size, source: Source::Memory(content) });
        let (width, height, bitrate) = (None, None, None);
        Rendition { quality: Quality::Medium, hash, size, mime: mime.to_owned(), width, height, bitrate }
    }

    fn rendition(
        &mut self,
        place: &Place<'_>,
        kind: AssetKind,
        quality: Quality,
        path: &str,
    ) -> Result<(Rendition, Option<u64>), PublishError> {
        let within = paths::resolve(&self.root, place.base, path).map_err(|problem| problem.within(place.file))?;
        let media = self.look_into(within, kind, path, place.file)?;
        let (hash, size) = (media.manifest.hash(), media.manifest.size());
        let bits = media.duration_ms.and_then(|ms| u128::from(size).saturating_mul(8000).checked_div(u128::from(ms)));
        let rendition = Rendition {
            quality,
            hash,
            size,
            mime: media.mime.to_owned(),
            width: media.pixels.map(|(width, _)| width),
            height: media.pixels.map(|(_, height)| height),
            bitrate: bits.and_then(|bits| u32::try_from(bits).ok()),
        };
        Ok((rendition, media.duration_ms))
    }

    fn look_into(&mut self, within: PathBuf, kind: AssetKind, path: &str, file: &Path) -> Result<Media, PublishError> {
        if let Some(media) = self.looked_into.get(&(within.clone(), kind)) {
            return Ok(media.clone());
        }
        let full = self.root.join(&within);
        let looked =
            media::inspect(&full, kind).map_err(|source| PublishError::Unreadable { path: full.clone(), source })?;
        let media = looked.map_err(|found| {
            ContentProblem::WrongMedia { path: path.to_owned(), found, wanted: kind.to_string() }.within(file)
        })?;
        let hash = media.manifest.hash();
        self.blobs.insert(hash, BuiltBlob { manifest: media.manifest.clone(), mime: media.mime.to_owned() });
        self.uploads.push(Upload { hash, size: media.manifest.size(), source: Source::File(full) });
        self.looked_into.insert((within, kind), media.clone());
        Ok(media)
    }

    fn asset_id(&mut self, key: String) -> Result<AssetId, PublishError> {
        let id = match self.known.assets.get(&key) {
            Some(id) => *id,
            None => AssetId::from_parts(self.now, fresh()?),
        };
        self.asset_keys.insert(id, key);
        Ok(id)
    }
}

fn asset(
    id: AssetId,
    lesson_id: Option<LessonId>,
    kind: AssetKind,
    title: &str,
    language: Option<String>,
    duration_ms: Option<u64>,
    renditions: Vec<Rendition>,
) -> Asset {
    let updated_at = TimeMs::default();
    Asset { id, lesson_id, kind, title: title.to_owned(), language, duration_ms, renditions, updated_at }
}

fn fresh() -> Result<[u8; 10], PublishError> {
    random().map_err(PublishError::Random)
}

const fn plays(kind: LessonKind) -> bool {
    matches!(kind, LessonKind::Audio | LessonKind::Video)
}

const fn asset_kind(kind: LessonKind) -> Option<AssetKind> {
    match kind {
        LessonKind::Audio => Some(AssetKind::Audio),
        LessonKind::Video => Some(AssetKind::Video),
        LessonKind::Document => Some(AssetKind::Document),
        LessonKind::Image => Some(AssetKind::Image),
        LessonKind::Page | LessonKind::Quiz => None,
    }
}
