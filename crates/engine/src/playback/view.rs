//! What a player needs.

use carrel_model::{
    AssetId, ErrorCode, LessonId,
    content::{AssetKind, Quality},
};

view! {
    /// Where a lesson plays from.
    #[serde(tag = "kind", rename_all = "snake_case")]
    pub enum PlaybackSource {
        /// From the disk: verified.
        Local,
        /// From the service: needs the network.
        Remote,
        /// Not now, with the reason.
        Unavailable {
            /// Why.
            reason: ErrorCode,
        },
    }

    /// Everything a lesson's player needs.
    pub struct PlaybackView {
        /// The lesson.
        pub lesson_id: LessonId,
        /// Where it plays from.
        pub source: PlaybackSource,
        /// What plays; none for a quiz.
        pub main: Option<MediaRef>,
        /// WebVTT, in the order offered.
        pub captions: Vec<MediaRef>,
        /// Pictures of a page.
        pub images: Vec<MediaRef>,
        /// Where to go on, in the lesson's own unit.
        #[ts(type = "number")]
        pub resume_position: u64,
    }

    /// One rendition of an asset, with its address. The host fills in `url`; the engine doesn't know addresses.
    pub struct MediaRef {
        /// The asset.
        pub asset_id: AssetId,
        /// What it is.
        pub kind: AssetKind,
        /// The rendition.
        pub quality: Quality,
        /// Media type.
        pub mime: String,
        /// Length in bytes.
        #[ts(type = "number")]
        pub size: u64,
        /// Name ("English captions").
        pub title: String,
        /// BCP 47.
        pub language: Option<String>,
        /// Whether it is verified on disk.
        pub local: bool,
        /// Where a front end gets it.
        pub url: String,
    }
}
