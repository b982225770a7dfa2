//! The download queue: persistent, restartable, at most `concurrency` at once.

pub mod view;

use carrel_model::{DownloadId, ProfileId};

use crate::EngineError;
use view::{DownloadView, DownloadsView, MoveDownload, StartDownload};

/// The room's handle.
#[derive(Debug, Clone)]
pub struct Downloads {}

impl Downloads {
    /// All downloads of a learner.
    pub async fn list(&self, _profile: ProfileId) -> Result<DownloadsView, EngineError> {
        todo!()
    }

    /// Authorises, reserves space, queues. Asking again for what is queued or complete gives that download.
    pub async fn start(&self, _profile: ProfileId, _request: StartDownload) -> Result<DownloadView, EngineError> {
        todo!()
    }

    /// Stops it; verified bytes stay.
    pub async fn pause(&self, _profile: ProfileId, _id: DownloadId) -> Result<DownloadView, EngineError> {
        todo!()
    }

    /// Lets it go on.
    pub async fn resume(&self, _profile: ProfileId, _id: DownloadId) -> Result<DownloadView, EngineError> {
        todo!()
    }

    /// Calls it off; its unshared bytes go.
    pub async fn cancel(&self, _profile: ProfileId, _id: DownloadId) -> Result<DownloadView, EngineError> {
        todo!()
    }

    /// Tries again what failed, was cancelled, has expired or is damaged.
    pub async fn retry(&self, _profile: ProfileId, _id: DownloadId) -> Result<DownloadView, EngineError> {
        todo!()
    }

    /// Stops all.
    pub async fn pause_all(&self, _profile: ProfileId) -> Result<DownloadsView, EngineError> {
        todo!()
    }

    /// Lets all paused ones go on.
    pub async fn resume_all(&self, _profile: ProfileId) -> Result<DownloadsView, EngineError> {
        todo!()
    }

    /// Moves a waiting one within the queue.
    pub async fn reorder(&self, _profile: ProfileId, _request: MoveDownload) -> Result<DownloadsView, EngineError> {
        todo!()
    }
}
