//! What is being fetched right now, and what only a running transfer knows of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use carrel_model::{
    BlobHash, DownloadId, ProfileId,
    download::{DownloadState, WaitReason},
};
use carrel_transfer::{Control, Progress, State, WaitCause};
use tokio::sync::watch;

use super::view::DownloadView;

/// One running fetch.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) profile: ProfileId,
    pub(super) control: Control,
    pub(super) progress: watch::Receiver<Progress>,
    /// Length of the blob.
    pub(super) size: u64,
    /// The task; known once it is spawned.
    pub(super) task: Option<tokio::task::Id>,
    /// The queued downloads it serves.
    pub(super) serves: Vec<DownloadId>,
}

/// All running fetches.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<BTreeMap<BlobHash, Running>>);

impl Live {
    pub(super) fn all(&self) -> MutexGuard<'_, BTreeMap<BlobHash, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Lays what transfers know over a view: speed, the time left, and that bytes wait for a network or are checked.
    ///
    /// `stored` gives the verified bytes that the view already counts for a blob.
    pub(super) fn lay_over(&self, view: &mut DownloadView, stored: &BTreeMap<BlobHash, u64>) {
        if view.state != DownloadState::Downloading && view.state != DownloadState::Pending {
            return;
        }
        let all = self.all();
        let mine: Vec<(BlobHash, Progress)> = all
            .iter()
            .filter(|(_, running)| running.serves.contains(&view.id))
            .map(|(hash, running)| (*hash, *running.progress.borrow()))
            .collect();
        for (hash, progress) in &mine {
            let counted = stored.get(hash).copied().unwrap_or(0);
            view.bytes_done = (view.bytes_done + progress.bytes_verified.saturating_sub(counted)).min(view.bytes_total);
            view.bytes_per_second = view.bytes_per_second.saturating_add(progress.bytes_per_second);
        }
        let left = view.bytes_total.saturating_sub(view.bytes_done);
        view.seconds_left = left.checked_div(view.bytes_per_second);
        let states = || mine.iter().map(|(_, progress)| progress.state);
        if view.state == DownloadState::Downloading && !mine.is_empty() {
            if left == 0 && states().all(|state| matches!(state, State::Finishing | State::Complete)) {
                view.state = DownloadState::Verifying;
            } else if let Some(reason) = retrying(states()) {
                view.state = DownloadState::Pending;
                view.wait_reason = Some(reason);
            }
        }
    }
}

/// The reason when all of them wait before trying again.
fn retrying(mut states: impl Iterator<Item = State>) -> Option<WaitReason> {
    let reason = |state| match state {
        State::Retrying { cause: WaitCause::Network, .. } => Some(WaitReason::Network),
        State::Retrying { .. } => Some(WaitReason::Server),
        _ => None,
    };
    let first = reason(states.next()?)?;
    states.all(|state| reason(state).is_some()).then_some(first)
}
