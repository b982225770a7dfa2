//! The checkpoint: `fdatasync` first, the journal after it, every 16 MiB or second, beside the transfer.
//!
//! The order is the promise: a piece is in the journal only if it was written before a sync that has returned. The task
//! runs on when the fetch is dropped, until what it was told of is durable and recorded.

use std::{sync::Arc, time::Duration};

use carrel_model::{BlobHash, pieces::PIECE_BYTES};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use crate::{Checkpoint, FetchError, Journal, PieceSet, disk::part_file::PartFile};

const EVERY_PIECES: u64 = (16 << 20) / PIECE_BYTES;
const EVERY: Duration = Duration::from_secs(1);

/// What has become of a piece.
#[derive(Debug, Clone, Copy)]
enum Note {
    Written(u64),
    Lost(u64),
}

/// The fetch's side of the checkpoint task.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    notes: Option<mpsc::UnboundedSender<Note>>,
    task: JoinHandle<Result<(), FetchError>>,
}

impl Checkpoints {
    /// Starts with what the journal holds.
    pub(crate) fn start(blob: BlobHash, recorded: PieceSet, part: PartFile, journal: Arc<dyn Journal>) -> Self {
        let (notes, waiting) = mpsc::unbounded_channel();
        let keeper = Keeper { blob, verified: recorded, part, journal, unsynced: 0, changed: false };
        Self { notes: Some(notes), task: tokio::spawn(keeper.run(waiting)) }
    }

    /// The piece is verified and written.
    pub(crate) fn written(&self, piece: u64) {
        self.note(Note::Written(piece));
    }

    /// The piece recorded earlier is not there.
    pub(crate) fn lost(&self, piece: u64) {
        self.note(Note::Lost(piece));
    }

    fn note(&self, note: Note) {
        // The task ends early only with an error, which `finish` reports.
        if let Some(notes) = &self.notes {
            notes.send(note).ok();
        }
    }

    /// Whether the task has ended by itself, which only an error makes it do.
    pub(crate) fn has_failed(&self) -> bool {
        self.task.is_finished()
    }

    /// Makes the rest durable, records it, and ends.
    pub(crate) async fn finish(&mut self) -> Result<(), FetchError> {
        self.notes = None;
        (&mut self.task).await.map_err(std::io::Error::other)?
    }
}

struct Keeper {
    blob: BlobHash,
    verified: PieceSet,
    part: PartFile,
    journal: Arc<dyn Journal>,
    unsynced: u64,
    changed: bool,
}

impl Keeper {
    async fn run(mut self, mut notes: mpsc::UnboundedReceiver<Note>) -> Result<(), FetchError> {
        while let Some(note) = notes.recv().await {
            self.take(note);
            let due = Instant::now() + EVERY;
            let mut open = true;
            while open && self.unsynced < EVERY_PIECES {
                match timeout_at(due, notes.recv()).await {
                    Ok(Some(note)) => self.take(note),
                    Ok(None) => open = false,
                    Err(_) => break,
                }
            }
            // Whatever has been written meanwhile is covered by the same sync.
            while let Ok(note) = notes.try_recv() {
                self.take(note);
            }
            self.checkpoint().await?;
        }
        Ok(())
    }

    fn take(&mut self, note: Note) {
        self.changed |= match note {
            Note::Written(piece) => {
                self.unsynced += 1;
                self.verified.insert(piece)
            }
            Note::Lost(piece) => self.verified.remove(piece),
        };
    }

    async fn checkpoint(&mut self) -> Result<(), FetchError> {
        if self.unsynced > 0 {
            let part = self.part.clone();
            let synced = tokio::task::spawn_blocking(move || part.sync()).await.map_err(std::io::Error::other)?;
            synced.map_err(|error| self.part.failure(error))?;
            self.unsynced = 0;
        }
        if self.changed && self.verified.pieces() > 1 {
            let checkpoint = Checkpoint { blob: self.blob, verified: self.verified.clone() };
            self.journal.store(&[checkpoint]).await?;
        }
        self.changed = false;
        Ok(())
    }
}
