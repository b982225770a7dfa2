//! Which source plays, and its bytes.

pub mod view;

use std::path::PathBuf;

use carrel_model::{AssetId, BlobHash, LessonId, ProfileId, content::Quality};

use crate::EngineError;
use view::PlaybackView;

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Playback {}

/// Where the bytes of an asset are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaContent {
    /// Verified on disk.
    File {
        /// Where.
        path: PathBuf,
        /// Which bytes; the strong ETag.
        hash: BlobHash,
        /// Length.
        size: u64,
        /// Media type.
        mime: String,
    },
    /// At the service: to be passed through with the caller's range.
    Remote {
        /// A signed URL.
        url: url::Url,
        /// Which bytes.
        hash: BlobHash,
        /// Length.
        size: u64,
        /// Media type.
        mime: String,
    },
}

impl Playback {
    /// What a lesson's player needs. Offline it never touches the network.
    pub async fn open(&self, _profile: ProfileId, _lesson: LessonId) -> Result<PlaybackView, EngineError> {
        todo!()
    }

    /// The bytes of an asset for its owner: on disk, else (online) small assets are fetched, verified and kept, and large
    /// ones pass through.
    pub async fn content(
        &self,
        _profile: ProfileId,
        _asset: AssetId,
        _quality: Option<Quality>,
    ) -> Result<MediaContent, EngineError> {
        todo!()
    }
}
