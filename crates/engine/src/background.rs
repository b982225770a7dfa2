//! Work that goes on behind the use cases, and its end.
//!
//! Every room starts its loops here, so that closing an engine ends all of them and waits until they have let go of the
//! database; nothing outlives the engine it belongs to.

use std::future::Future;

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Starts background work. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Background {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    /// Starts work that ends by itself or when the engine closes, at its next point of waiting.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // Boxed: the loops are large, and they live on the heap anyway once spawned.
            let _ = stop.run_until_cancelled_owned(Box::pin(work)).await;
        });
    }

    /// A token that is cancelled when the engine closes.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops everything when it is dropped.
    pub(crate) fn guard(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    /// Stops everything and waits for its end.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
