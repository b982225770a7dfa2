//! Courses made up of random parts, with ids that are the same in every store.

use carrel_model::{
    BlobHash, TimeMs,
    content::{Asset, AssetKind, Course, Lesson, LessonKind, LessonPayload, Quality, Rendition, Unit},
    pieces::ManifestBuilder,
};
use carrel_service::store::{BuiltBlob, BuiltCourse, BuiltLesson, BuiltUnit};
use rand::{Rng as _, rngs::StdRng};

use crate::site::id;

/// How many courses there can be, units in each, lessons in each of those.
pub(super) const COURSES: u64 = 3;
pub(super) const UNITS: u64 = 3;
pub(super) const LESSONS: u64 = 3;

/// The number of a lesson; ids and keys follow from it.
pub(super) fn lesson_number(course: u64, unit: u64, lesson: u64) -> u64 {
    0x30_000 + course * 100 + unit * 10 + lesson
}

/// The number of a unit.
pub(super) fn unit_number(course: u64, unit: u64) -> u64 {
    0x20_000 + course * 10 + unit
}

/// The number of a course.
pub(super) fn course_number(course: u64) -> u64 {
    0x10_000 + course
}

/// A course's key. In their order one is before the other by letters and after it by bytes.
pub(super) fn key(course: u64) -> String {
    ["Alps-2", "alps", "Alps_1"][usize::try_from(course % COURSES).unwrap()].to_owned()
}

/// A course with some of its units, lessons and recordings.
pub(super) fn built(course: u64, random: &mut StdRng) -> BuiltCourse {
    let now = TimeMs::default();
    let mut built = BuiltCourse {
        key: key(course),
        course: Course {
            id: id(course_number(course)),
            title: format!("Course {course} “é” {}", random.random_range(0..2)),
            summary: String::new(),
            subject: String::new(),
            level: String::new(),
            language: "en".into(),
            accent: "#336699".into(),
            cover: None,
            open: random.random_bool(0.5),
            premium: random.random_bool(0.2),
            position: u32::try_from(course).unwrap(),
            updated_at: now,
        },
        units: Vec::new(),
        asset_keys: std::collections::BTreeMap::new(),
        blobs: std::collections::BTreeMap::new(),
    };
    if random.random_bool(0.4) {
        let cover = asset(0x50_000 + course, None, &mut built, random);
        built.course.cover = Some(cover);
    }
    for unit in 0..UNITS {
        if random.random_bool(0.9) {
            let unit = built_unit(course, unit, &mut built, random);
            built.units.push(unit);
        }
    }
    built
}

fn built_unit(course: u64, number: u64, built: &mut BuiltCourse, random: &mut StdRng) -> BuiltUnit {
    let now = TimeMs::default();
    let mut unit = Unit {
        id: id(unit_number(course, number)),
        course_id: built.course.id,
        position: u32::try_from(number).unwrap(),
        title: format!("Unit {number} of {}", random.random_range(0..2)),
        summary: String::new(),
        language: "ar".into(),
        cover: None,
        schema_version: 1,
        lessons: Vec::new(),
        assets: Vec::new(),
        updated_at: now,
    };
    let mut lessons = Vec::new();
    for lesson in 0..LESSONS {
        if random.random_bool(0.1) {
            continue;
        }
        let n = lesson_number(course, number, lesson);
        let kind = [LessonKind::Audio, LessonKind::Quiz, LessonKind::Page][usize::try_from(lesson % 3).unwrap()];
        let recording = (lesson == 0).then(|| asset(0x40_000 + n, Some(n), built, random));
        unit.lessons.push(Lesson {
            id: id(n),
            unit_id: unit.id,
            position: u32::try_from(lesson).unwrap(),
            kind,
            title: format!("Lesson {lesson}"),
            summary: String::new(),
            duration_ms: None,
            primary_asset_id: recording.as_ref().map(|asset| asset.id),
            payload: LessonPayload::default(),
            schema_version: 1,
            updated_at: now,
        });
        unit.assets.extend(recording);
        let max_position = random.random_bool(0.5).then_some(50_000);
        lessons.push(BuiltLesson { key: format!("{number}/{lesson}"), id: id(n), kind, max_position });
    }
    BuiltUnit { key: number.to_string(), unit, lessons }
}

fn asset(number: u64, lesson: Option<u64>, built: &mut BuiltCourse, random: &mut StdRng) -> Asset {
    let qualities = [Quality::Low, Quality::Medium, Quality::High];
    let wanted = random.random_range(1..=3);
    let renditions = qualities.into_iter().take(wanted).map(|quality| {
        // Few contents, so that courses share blobs.
        let content = format!("content {}", random.random_range(0..6)).repeat(10);
        let hash = BlobHash::of(content.as_bytes());
        let mut manifest = ManifestBuilder::new();
        manifest.update(content.as_bytes());
        let manifest = manifest.finish();
        let size = manifest.size();
        let mime = ["audio/mpeg", "audio/wav"][random.random_range(0..2)].to_owned();
        built.blobs.insert(hash, BuiltBlob { manifest, mime: mime.clone() });
        Rendition { quality, hash, size, mime, width: None, height: None, bitrate: None }
    });
    let asset = Asset {
        id: id(number),
        lesson_id: lesson.map(id),
        kind: AssetKind::Audio,
        title: "Recording".into(),
        language: None,
        duration_ms: None,
        renditions: renditions.collect(),
        updated_at: TimeMs::default(),
    };
    built.asset_keys.insert(asset.id, format!("{number}.wav"));
    asset
}
