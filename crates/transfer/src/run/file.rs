//! The part file while a fetch runs: whether it is still there, whole and as it was written.

use std::{io, sync::Arc};

use super::Run;
use crate::{FetchError, State, disk::FileState};

/// Pieces hashed between two looks at the control.
const RECHECK_BATCH: u64 = 32;
/// A file that is deleted again and again is given up.
const FILES: u32 = 4;

impl Run {
    /// The file was looked at while lanes receive. One that has gone is made anew at once, for all they bring is lost.
    pub(super) async fn looked(&mut self, state: FileState) -> Result<(), FetchError> {
        match state {
            FileState::Whole => Ok(()),
            FileState::Cut => {
                self.part.restore_length().await?;
                self.shared.core().plan.doubt_all();
                Ok(())
            }
            FileState::Gone => self.reopen().await,
        }
    }

    /// Somebody deleted or replaced the file: what it held is lost, and the fetch goes on in a new one.
    async fn reopen(&mut self) -> Result<(), FetchError> {
        self.files += 1;
        if self.files > FILES {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        tracing::warn!(blob = %self.shared.manifest.hash(), "the part file has gone; it is made anew");
        self.drop_lanes();
        self.part.finish(false).await?;
        let manifest = Arc::clone(&self.shared.manifest);
        let opening = self.shared.fetcher.disk().open(manifest, self.path.clone(), Arc::clone(&self.journal));
        let opened = opening.await?;
        self.take_in(opened);
        Ok(())
    }

    /// Looks at the file, and hashes what is only claimed. `true`: it is whole. What is damaged becomes missing again.
    pub(super) async fn recheck(&mut self) -> Result<bool, FetchError> {
        let one_piece = self.shared.manifest.piece_count() == 1;
        // A single piece was written a moment ago, and whoever takes the file sees whether it is there.
        if !one_piece {
            match self.part.state().await? {
                FileState::Whole => {}
                state => {
                    self.looked(state).await?;
                    if state == FileState::Gone {
                        return Ok(false);
                    }
                }
            }
        }
        let mut from = 0;
        loop {
            let Some(first) = self.shared.core().plan.next_unproven(from) else { break };
            self.ears.stop()?;
            self.show(State::Finishing);
            let claimed = self.unproven(first);
            from = first + RECHECK_BATCH;
            for (piece, right) in self.part.recheck(claimed).await? {
                if right {
                    self.shared.core().plan.verified(piece);
                } else {
                    let blob = self.shared.manifest.hash();
                    tracing::warn!(%blob, piece, "a piece on disk was damaged; it is fetched again");
                    self.shared.core().plan.lost(piece);
                    self.part.lost(piece);
                }
            }
        }
        Ok(self.shared.core().plan.held().is_full())
    }

    /// A batch of pieces that are only claimed.
    fn unproven(&self, first: u64) -> Vec<u64> {
        let core = self.shared.core();
        let batch = first..(first + RECHECK_BATCH).min(self.shared.manifest.piece_count());
        batch.filter(|piece| core.plan.next_unproven(*piece) == Some(*piece)).collect()
    }
}
