//! What changed, for whoever paints it.
//!
//! Events carry what is needed to paint, not rows; a receiver that fell behind gets [`EngineEvent::Resync`] and reads
//! everything anew. The shell forwards at most five messages a second.

use carrel_model::{DownloadId, LessonId, ProfileId};
use tokio::sync::broadcast;

use crate::{downloads::view::DownloadView, network::device::DeviceView, sync::view::SyncView};

view! {
    /// Something a front end may be showing has changed.
    #[serde(tag = "kind", rename_all = "snake_case")]
    pub enum EngineEvent {
        /// Downloads were added or changed.
        Downloads {
            /// Whose.
            profile_id: ProfileId,
            /// As they are now.
            changed: Vec<DownloadView>,
            /// Those that are gone from the list.
            removed: Vec<DownloadId>,
        },
        /// A unit or lesson became ready offline, or failed for good: worth a notification, once.
        DownloadEnded {
            /// Whose.
            profile_id: ProfileId,
            /// As it ended.
            download: DownloadView,
        },
        /// Network, waiting writes or the last sync changed.
        Sync {
            /// Whose.
            profile_id: Option<ProfileId>,
            /// As it is now.
            sync: SyncView,
        },
        /// What the platform says of link or power changed.
        Device {
            /// As it is now.
            device: DeviceView,
        },
        /// Courses, units or enrolments changed.
        Catalogue {
            /// Whose.
            profile_id: ProfileId,
        },
        /// Progress, answers or sessions changed from outside (another device).
        Learning {
            /// Whose.
            profile_id: ProfileId,
            /// Of which lessons; empty: of any.
            lesson_ids: Vec<LessonId>,
        },
        /// Bytes on disk changed.
        Storage,
        /// Who is signed in changed.
        Profiles,
        /// Events were missed; read everything anew.
        Resync,
    }
}

/// Sends events to whoever listens. Cheap to clone; sending without listeners is fine.
#[derive(Debug, Clone)]
pub struct EventBus(broadcast::Sender<EngineEvent>);

impl Default for EventBus {
    fn default() -> Self {
        Self(broadcast::channel(256).0)
    }
}

impl EventBus {
    /// Tells everybody.
    pub fn send(&self, event: EngineEvent) {
        // An error only means that nobody listens.
        let _ = self.0.send(event);
    }

    /// A stream from now on; a lagging receiver gets `Resync` in place of what it missed.
    pub fn subscribe(&self) -> impl futures_util::Stream<Item = EngineEvent> + Send + Unpin + use<> {
        use futures_util::StreamExt as _;
        tokio_stream::wrappers::BroadcastStream::new(self.0.subscribe())
            .map(|event| event.unwrap_or(EngineEvent::Resync))
    }
}
