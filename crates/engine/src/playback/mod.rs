//! Which source plays, and its bytes.
//!
//! The order is always the same (P1, C4): what is verified on disk and may be opened; else, when the service can be
//! reached, what it gives; else a reason. Offline nothing here touches the network. A file that turns out to be missing or
//! altered is never served: its blob goes back into the making, and the service is asked instead.

mod cache;
mod local;
pub(crate) mod policy;
pub mod view;

use std::{path::PathBuf, sync::Arc};

use carrel_model::{
    AssetId, BlobHash, DownloadId, ErrorCode, LessonId, ProfileId,
    content::{Asset, AssetKind, Lesson, LessonKind, Quality, Unit},
    wire::content::{SignedUrl, UrlWanted},
};

use crate::{
    EngineError,
    blobs::Blobs,
    downloads::{
        Downloads,
        rooms::{OwnedAsset, Rooms},
        rows,
    },
    library::Library,
    ports::{Clock, Http},
    sync::view::NetworkState,
};
use local::LocalCopy;
use view::{MediaRef, PlaybackSource, PlaybackView};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Playback {
    parts: Arc<PlaybackParts>,
}

/// What the room is made of.
#[derive(Debug)]
pub(crate) struct PlaybackParts {
    pub(crate) library: Library,
    pub(crate) blobs: Blobs,
    pub(crate) rooms: Arc<dyn Rooms>,
    pub(crate) downloads: Downloads,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) http: Http,
}

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
    pub(crate) fn new(parts: PlaybackParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// What a lesson's player needs. Offline it never touches the network.
    pub async fn open(&self, profile: ProfileId, lesson: LessonId) -> Result<PlaybackView, EngineError> {
        let (course, unit) = self.parts.rooms.lesson(profile, lesson).await?.ok_or(EngineError::NotFound("lesson"))?;
        let lesson = unit.lessons.iter().find(|l| l.id == lesson).ok_or(EngineError::NotFound("lesson"))?;
        let wish = self.parts.rooms.settings(profile).await?.default_quality;
        let mut main = None;
        let mut refused = None;
        if let Some(asset) = lesson.primary_asset_id.and_then(|id| asset_of(&unit, id)) {
            let copy = self.local(profile, asset, None).await?;
            if let Some(copy) = &copy {
                let permitted = self.parts.rooms.permits(profile, course.id, course.open, copy.expires_at).await;
                refused = permitted.err().map(|error| error.code());
            }
            main = media_ref(asset, copy.as_ref(), wish);
        }
        let source = self.source(lesson, main.as_ref(), refused);
        let view = PlaybackView {
            lesson_id: lesson.id,
            source,
            main,
            captions: self.refs(profile, &unit, &lesson.payload.caption_asset_ids, wish).await?,
            images: self.refs(profile, &unit, &lesson.payload.image_asset_ids, wish).await?,
            resume_position: self.parts.rooms.resume_position(profile, lesson.id).await?,
        };
        local::note_opened(&self.parts, profile, unit.id).await?;
        Ok(view)
    }

    /// The bytes of an asset for its owner: on disk, else (online) small assets are fetched, verified and kept, and large
    /// ones pass through.
    pub async fn content(
        &self,
        profile: ProfileId,
        asset: AssetId,
        quality: Option<Quality>,
    ) -> Result<MediaContent, EngineError> {
        // Who may not see the asset learns nothing of it, not even that it exists.
        let owned = self.parts.rooms.asset(profile, asset).await?.ok_or(EngineError::NotFound("asset"))?;
        let mut refusal = None;
        if let Some(copy) = self.local(profile, &owned.asset, quality).await? {
            match self.permitted(profile, &owned, &copy).await {
                Ok(()) => {
                    local::note_used(&self.parts, profile, asset, &copy).await?;
                    let LocalCopy { path, hash, size, mime, .. } = copy;
                    return Ok(MediaContent::File { path, hash, size, mime });
                }
                Err(error) => refusal = Some(error),
            }
        }
        // If it is on its way already, it comes first from now on.
        self.parts.downloads.plays(owned.asset.renditions.iter().map(|rendition| rendition.hash));
        // What may not be opened from the disk the service may still grant; offline the refusal is the reason.
        match (self.unreachable(), refusal) {
            (Some(_), Some(refusal)) => return Err(refusal),
            (Some(reason), None) => return Err(EngineError::Refused(reason)),
            (None, _) => {}
        }
        let wish = match quality {
            Some(quality) => quality,
            None => self.parts.rooms.settings(profile).await?.default_quality,
        };
        let signed = self.signed(profile, &owned.asset, wish).await?;
        cache::fetch(self, profile, &owned, signed).await
    }

    /// What plays of a completed download, from the disk alone (P3): of a unit the lesson that was named, else its first
    /// film or recording, else its first lesson with a file.
    ///
    /// Refused: [`EngineError::NotFound`] for whatever isn't the learner's, `wrong_state` while it isn't complete, `damaged`
    /// where the file is missing, and whatever the lease says.
    pub async fn of_download(
        &self,
        profile: ProfileId,
        download: DownloadId,
        lesson: Option<LessonId>,
    ) -> Result<MediaContent, EngineError> {
        let row = rows::get(self.parts.library.readers(), profile, download).await?;
        if row.usable_generation == 0 {
            return Err(EngineError::Refused(ErrorCode::WrongState));
        }
        let unit = self.parts.rooms.unit(profile, row.unit_id).await?;
        let (course, unit) = unit.ok_or(EngineError::NotFound("unit"))?;
        let wanted = lesson.or(row.lesson_id);
        let lessons = unit.lessons.iter().filter(|lesson| wanted.is_none_or(|wanted| wanted == lesson.id));
        let assets: Vec<&Asset> = lessons.filter_map(|lesson| asset_of(&unit, lesson.primary_asset_id?)).collect();
        let plays = |asset: &&&Asset| matches!(asset.kind, AssetKind::Video | AssetKind::Audio);
        let asset = assets.iter().find(plays).or(assets.first()).ok_or(EngineError::NotFound("asset"))?;
        self.parts.rooms.permits(profile, course.id, course.open, row.expires_at).await?;
        let copy = self.local(profile, asset, Some(row.quality)).await?;
        let LocalCopy { path, hash, size, mime, .. } = copy.ok_or(EngineError::Refused(ErrorCode::Damaged))?;
        Ok(MediaContent::File { path, hash, size, mime })
    }

    async fn signed(&self, profile: ProfileId, asset: &Asset, wish: Quality) -> Result<SignedUrl, EngineError> {
        let rendition = asset.rendition_for(wish).ok_or(EngineError::NotFound("asset"))?;
        let wanted = UrlWanted { asset_id: asset.id, quality: rendition.quality };
        let answer = self.parts.rooms.urls(profile, vec![wanted]).await?;
        answer.urls.into_iter().find(|url| url.asset_id == asset.id).ok_or(EngineError::Refused(ErrorCode::Gone))
    }

    /// Covers are what a library looks like, and open always; content opens by lease, enrolment and the download's last day.
    async fn permitted(&self, profile: ProfileId, owned: &OwnedAsset, copy: &LocalCopy) -> Result<(), EngineError> {
        if owned.asset.lesson_id.is_none() {
            return Ok(());
        }
        self.parts.rooms.permits(profile, owned.course_id, owned.course_is_open, copy.expires_at).await
    }

    /// The verified file of an asset; a damaged one is reported to the queue and is none.
    async fn local(
        &self,
        profile: ProfileId,
        asset: &Asset,
        quality: Option<Quality>,
    ) -> Result<Option<LocalCopy>, EngineError> {
        let (copy, damaged) = local::find(&self.parts, profile, asset, quality).await?;
        self.parts.downloads.fall_back(&damaged).await?;
        Ok(copy)
    }

    async fn refs(
        &self,
        profile: ProfileId,
        unit: &Unit,
        ids: &[AssetId],
        wish: Quality,
    ) -> Result<Vec<MediaRef>, EngineError> {
        let mut refs = Vec::new();
        for asset in ids.iter().filter_map(|id| asset_of(unit, *id)) {
            let copy = self.local(profile, asset, None).await?;
            refs.extend(media_ref(asset, copy.as_ref(), wish));
        }
        Ok(refs)
    }

    fn source(&self, lesson: &Lesson, main: Option<&MediaRef>, refused: Option<ErrorCode>) -> PlaybackSource {
        let Some(main) = main else {
            // A quiz is in the catalogue itself. Anything else without an asset was published without its content.
            return match lesson.kind {
                LessonKind::Quiz => PlaybackSource::Local,
                _ if lesson.primary_asset_id.is_none() => PlaybackSource::Local,
                _ => PlaybackSource::Unavailable { reason: ErrorCode::Gone },
            };
        };
        if main.local && refused.is_none() {
            return PlaybackSource::Local;
        }
        match self.unreachable() {
            None => PlaybackSource::Remote,
            Some(reason) => PlaybackSource::Unavailable { reason: refused.unwrap_or(reason) },
        }
    }

    /// Why the service can't be asked; none: it can, or trying will tell.
    fn unreachable(&self) -> Option<ErrorCode> {
        let (network, _) = *self.parts.rooms.network().borrow();
        match network {
            NetworkState::Offline => Some(ErrorCode::Offline),
            NetworkState::Limited => Some(ErrorCode::ServiceUnreachable),
            NetworkState::Online | NetworkState::Unknown => None,
        }
    }
}

fn asset_of(unit: &Unit, id: AssetId) -> Option<&Asset> {
    unit.assets.iter().find(|asset| asset.id == id)
}

/// What a front end is told of an asset: its copy on disk, else the rendition that would be asked for.
fn media_ref(asset: &Asset, copy: Option<&LocalCopy>, wish: Quality) -> Option<MediaRef> {
    let (quality, mime, size) = match copy {
        Some(copy) => (copy.quality, copy.mime.clone(), copy.size),
        None => {
            let rendition = asset.rendition_for(wish)?;
            (rendition.quality, rendition.mime.clone(), rendition.size)
        }
    };
    Some(MediaRef {
        asset_id: asset.id,
        kind: asset.kind,
        quality,
        mime,
        size,
        title: asset.title.clone(),
        language: asset.language.clone(),
        local: copy.is_some(),
        url: String::new(),
    })
}

#[cfg(test)]
#[path = "playback_tests.rs"]
mod tests;
