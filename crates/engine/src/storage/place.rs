//! The move of the store as a use case: in the background, told of, called off.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use carrel_model::ErrorCode;

use super::{
    StorageParts,
    view::{StoreMove, StorePlace},
};
use crate::{EngineEvent, blobs::MoveStage};

/// Between two words about how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Performs moves, and remembers why the last one stopped.
#[derive(Debug, Clone, Default)]
pub(super) struct Mover {
    error: Arc<Mutex<Option<ErrorCode>>>,
}

impl Mover {
    /// Performs the move that was written down.
    pub(super) fn start(&self, parts: &Arc<StorageParts>) {
        let (parts, kept) = (Arc::clone(parts), Arc::clone(&self.error));
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.clone().spawn(parts);
    }

    fn spawn(self, parts: Arc<StorageParts>) {
        let background = parts.background.clone();
        background.spawn(async move {
            let mut moving = std::pin::pin!(parts.blobs.carry_on_moving());
            let ended = loop {
                tokio::select! {
                    ended = &mut moving => break ended,
                    () = tokio::time::sleep(TELL_EVERY) => parts.events.send(EngineEvent::Storage),
                }
            };
            let told = match ended {
                Ok(damaged) => parts.downloads.fall_back(&damaged).await,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                tracing::error!(%error, "the store could not be moved to its end");
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.code());
            }
            parts.events.send(EngineEvent::Storage);
            parts.downloads.wake();
        });
    }

    pub(super) async fn place(&self, parts: &StorageParts) -> StorePlace {
        let moving = parts.blobs.move_progress().map(|progress| StoreMove {
            folder: progress.to.to_string_lossy().into_owned(),
            can_be_cancelled: progress.stage == MoveStage::Copying,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
        });
        StorePlace {
            folder: parts.blobs.folder().to_string_lossy().into_owned(),
            is_here: parts.blobs.is_here().await,
            moving,
            error: *self.error.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
