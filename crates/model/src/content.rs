//! Courses, units, lessons and assets as they travel and as they are kept.

use crate::{AssetId, BlobHash, CourseId, LessonId, TimeMs, UnitId, quiz::Quiz};

/// Units and lessons with an older `schema_version` are dropped on boot and after a pull (requirement C3).
pub const OLDEST_SUPPORTED_UNIT_SCHEMA: u32 = 1;

words! {
    /// What a lesson is.
    pub enum LessonKind {
        /// Something to listen to.
        Audio = "audio",
        /// Something to watch.
        Video = "video",
        /// A page to read (sanitised HTML).
        Page = "page",
        /// A document (PDF).
        Document = "document",
        /// A picture.
        Image = "image",
        /// Questions.
        Quiz = "quiz",
    }
}

impl LessonKind {
    /// What a lesson's `position` counts.
    #[must_use]
    pub const fn position_unit(self) -> PositionUnit {
        match self {
            Self::Audio | Self::Video => PositionUnit::Millisecond,
            Self::Document => PositionUnit::Page,
            Self::Page | Self::Image => PositionUnit::PerMille,
            Self::Quiz => PositionUnit::Question,
        }
    }
}

words! {
    /// The unit of a position, decided by the kind of the lesson.
    pub enum PositionUnit {
        /// Milliseconds from the start.
        Millisecond = "millisecond",
        /// The page shown, from 1.
        Page = "page",
        /// Thousandths of the height that have been scrolled.
        PerMille = "per_mille",
        /// The question shown, from 1.
        Question = "question",
    }
}

words! {
    /// What an asset is.
    pub enum AssetKind {
        /// A recording.
        Audio = "audio",
        /// A film.
        Video = "video",
        /// A picture.
        Image = "image",
        /// A PDF or an HTML page.
        Document = "document",
        /// WebVTT.
        Captions = "captions",
        /// A bundle.
        Package = "package",
    }
}

words! {
    /// How large a rendition a learner wants (480p, 720p, 1080p where the service has them). Ordered.
    pub enum Quality {
        /// Smallest.
        Low = "low",
        /// In between.
        Medium = "medium",
        /// Best.
        High = "high",
    }
}

wire! {
    /// A course.
    #[derive(Eq)]
    pub struct Course {
        /// Identity.
        pub id: CourseId,
        /// Name.
        pub title: String,
        /// One paragraph.
        pub summary: String,
        /// "Geography".
        pub subject: String,
        /// "Year 9".
        pub level: String,
        /// BCP 47.
        pub language: String,
        /// `#rrggbb`, taken from the cover.
        pub accent: String,
        /// The picture on the front.
        pub cover: Option<Asset>,
        /// Visible without an enrolment.
        pub open: bool,
        /// Downloads need the premium role.
        pub premium: bool,
        /// Order in lists.
        pub position: u32,
        /// Last change.
        pub updated_at: TimeMs,
    }

    /// A unit with everything that belongs to it; the grain of synchronisation.
    #[derive(Eq)]
    pub struct Unit {
        /// Identity.
        pub id: UnitId,
        /// The course it belongs to.
        pub course_id: CourseId,
        /// Order within the course.
        pub position: u32,
        /// Name.
        pub title: String,
        /// One paragraph.
        pub summary: String,
        /// BCP 47.
        pub language: String,
        /// The picture on the front.
        pub cover: Option<Asset>,
        /// Shape of the lessons' payloads.
        #[serde(default = "first_schema_version")]
        pub schema_version: u32,
        /// In order.
        pub lessons: Vec<Lesson>,
        /// Every asset that a lesson of this unit refers to.
        pub assets: Vec<Asset>,
        /// Last change of anything within.
        pub updated_at: TimeMs,
    }

    /// A lesson.
    #[derive(Eq)]
    pub struct Lesson {
        /// Identity.
        pub id: LessonId,
        /// The unit it belongs to.
        pub unit_id: UnitId,
        /// Order within the unit.
        pub position: u32,
        /// What it is.
        pub kind: LessonKind,
        /// Name.
        pub title: String,
        /// One line.
        pub summary: String,
        /// How long it plays or, for reading, is estimated to take.
        #[cfg_attr(feature = "ts", ts(type = "number | null"))]
        pub duration_ms: Option<u64>,
        /// The asset that is played or shown; none for a quiz.
        pub primary_asset_id: Option<AssetId>,
        /// What only this kind has.
        pub payload: LessonPayload,
        /// Shape of the payload.
        #[serde(default = "first_schema_version")]
        pub schema_version: u32,
        /// Last change.
        pub updated_at: TimeMs,
    }

    /// What only one kind of lesson has.
    #[derive(Eq, Default)]
    pub struct LessonPayload {
        /// WebVTT assets, in the order they are offered.
        #[serde(default)]
        pub caption_asset_ids: Vec<AssetId>,
        /// Pictures of a page, referred to in its HTML as `asset:<id>`.
        #[serde(default)]
        pub image_asset_ids: Vec<AssetId>,
        /// Named places.
        #[serde(default)]
        pub chapters: Vec<Chapter>,
        /// Sanitised HTML: the description of a recording, film, document or picture.
        #[serde(default)]
        pub description_html: String,
        /// The questions of a quiz.
        #[serde(default)]
        pub quiz: Option<Quiz>,
    }

    /// A named place in a recording.
    #[derive(Eq)]
    pub struct Chapter {
        /// Where it starts.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub at_ms: u64,
        /// Its name.
        pub title: String,
    }

    /// An asset.
    #[derive(Eq)]
    pub struct Asset {
        /// Identity, stable while its bytes change.
        pub id: AssetId,
        /// The lesson it belongs to; none for covers.
        pub lesson_id: Option<LessonId>,
        /// What it is.
        pub kind: AssetKind,
        /// Name ("English captions").
        pub title: String,
        /// BCP 47.
        pub language: Option<String>,
        /// For recordings and films.
        #[cfg_attr(feature = "ts", ts(type = "number | null"))]
        pub duration_ms: Option<u64>,
        /// At least one; by quality ascending.
        pub renditions: Vec<Rendition>,
        /// Last change.
        pub updated_at: TimeMs,
    }

    /// One encoding of an asset.
    #[derive(Eq)]
    pub struct Rendition {
        /// How large.
        pub quality: Quality,
        /// Identity of the bytes.
        pub hash: BlobHash,
        /// Length in bytes.
        #[cfg_attr(feature = "ts", ts(type = "number"))]
        pub size: u64,
        /// Media type.
        pub mime: String,
        /// Pixels across.
        pub width: Option<u32>,
        /// Pixels down.
        pub height: Option<u32>,
        /// Bits per second.
        pub bitrate: Option<u32>,
    }
}

const fn first_schema_version() -> u32 {
    1
}

impl Asset {
    /// The rendition for a wish: the same quality, else the best below it, else the smallest above it (D10).
    #[must_use]
    pub fn rendition_for(&self, wish: Quality) -> Option<&Rendition> {
        let below = self.renditions.iter().filter(|r| r.quality <= wish).max_by_key(|r| r.quality);
        below.or_else(|| self.renditions.iter().min_by_key(|r| r.quality))
    }
}

impl Unit {
    /// The unit as it travels to learners: without the solutions of graded quizzes.
    #[must_use]
    pub fn for_learners(mut self) -> Self {
        for lesson in &mut self.lessons {
            lesson.payload.quiz = lesson.payload.quiz.take().map(Quiz::for_learners);
        }
        self
    }

    /// The blobs a download of this unit needs: one rendition of every asset and the cover, each blob once.
    #[must_use]
    pub fn renditions_for(&self, wish: Quality) -> Vec<(AssetId, &Rendition)> {
        let mut seen = std::collections::BTreeSet::new();
        self.cover
            .iter()
            .chain(&self.assets)
            .filter_map(|asset| Some((asset.id, asset.rendition_for(wish)?)))
            .filter(|(_, rendition)| seen.insert(rendition.hash))
            .collect()
    }
}
