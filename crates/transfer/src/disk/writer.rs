//! The writer: one thread that hashes pieces and puts the right ones on disk, while the next ones still arrive.
//!
//! Memory is bounded by the buffers: there are only so many, each a piece long, and they circle between the connection
//! and this thread. Nothing reaches the file that didn't verify.

use std::{io, sync::Arc, thread};

use carrel_model::pieces::Manifest;
use tokio::sync::mpsc;

use crate::disk::part_file::PartFile;

/// A piece on its way to the disk.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) piece: u64,
    /// Its bytes, exactly.
    pub(crate) buffer: Vec<u8>,
}

/// A piece that has been judged; its buffer comes back.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) piece: u64,
    pub(crate) buffer: Vec<u8>,
    /// Whether the bytes were right and are written.
    pub(crate) right: io::Result<bool>,
}

/// The connection's side of the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    work: mpsc::Sender<Work>,
    done: mpsc::Receiver<Done>,
    spare: Vec<Vec<u8>>,
    unmade: usize,
    in_flight: usize,
}

impl Writer {
    /// Starts the thread; at most `buffers` pieces are in memory.
    pub(crate) fn start(manifest: Arc<Manifest>, part: PartFile, buffers: usize) -> io::Result<Self> {
        let buffers = buffers.max(2);
        let (work, mut waiting) = mpsc::channel::<Work>(buffers);
        let (judged, done) = mpsc::channel(buffers);
        thread::Builder::new().name("carrel-writer".to_owned()).spawn(move || {
            while let Some(Work { piece, buffer }) = waiting.blocking_recv() {
                let right = if manifest.verifies(piece, &buffer) {
                    part.write(manifest.piece_range(piece).0, &buffer).map(|()| true)
                } else {
                    Ok(false)
                };
                // Nobody listens any more when the fetch was dropped; the piece is on disk all the same.
                if judged.blocking_send(Done { piece, buffer, right }).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { work, done, spare: Vec::new(), unmade: buffers, in_flight: 0 })
    }

    /// A free buffer, unless all are in use: then [`next_done`](Self::next_done) brings one back.
    pub(crate) fn buffer(&mut self) -> Option<Vec<u8>> {
        self.spare.pop().or_else(|| {
            self.unmade = self.unmade.checked_sub(1)?;
            Some(Vec::new())
        })
    }

    /// Takes back a buffer that is not needed.
    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.spare.push(buffer);
    }

    /// Hands a piece over.
    pub(crate) async fn send(&mut self, work: Work) -> io::Result<()> {
        self.work.send(work).await.map_err(|_| gone())?;
        self.in_flight += 1;
        Ok(())
    }

    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Waits for the next judgement.
    pub(crate) async fn next_done(&mut self) -> io::Result<Done> {
        let done = self.done.recv().await.ok_or_else(gone)?;
        self.in_flight -= 1;
        Ok(done)
    }

    /// The next judgement if there is one.
    pub(crate) fn try_done(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.in_flight -= 1;
        Some(done)
    }
}

fn gone() -> io::Error {
    io::Error::other("the writer thread has ended")
}
