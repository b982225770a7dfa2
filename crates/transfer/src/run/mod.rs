//! One fetch from start to end: drives the pure parts, the connection, the writer and the checkpoints.
//!
//! What an earlier run left is used like this: journalled pieces are *claimed* and not asked for; pieces the journal
//! doesn't know but the file holds are found by their hashes (so a kill costs only the piece that was in the air). Before
//! the file counts as complete every claimed piece is hashed once, after the last byte arrived: a file that was edited by
//! hand costs one pass of reading, and of fetching only what is damaged. A file received in one run is not read again.

mod attempt;

use std::{path::PathBuf, sync::Arc, time::Duration};

use carrel_model::pieces::Manifest;
use tokio::time::timeout;

use crate::{
    Control, FetchError, FetchRequest, Fetched, Fetcher, Journal, Lie, PieceSet, Progress, ResolveReason, SourceError,
    Sources, State,
    client::{Line, OwnLine},
    control::{Ears, Interruption},
    disk::checkpoint::Checkpoints,
    disk::part_file::{FileState, PartFile},
    disk::writer::{Done, Writer},
    rules::incoming::Incoming,
    rules::patience::{Patience, Setback, Step},
    rules::plan::Plan,
    rules::speed::Speed,
    rules::supply::Supply,
};

/// Pieces hashed between two looks at the control.
const RECHECK_BATCH: u64 = 32;
/// A piece may come wrong once from each source and so many times more.
const WRONG_BEYOND_SOURCES: u32 = 2;
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Run<'a> {
    pub(crate) fetcher: &'a Fetcher,
    pub(crate) manifest: Arc<Manifest>,
    sources: Arc<dyn Sources>,
    control: Control,
    pub(crate) ears: Ears,
    /// The connection, kept between requests.
    pub(crate) line: Line,
    pub(crate) plan: Plan,
    pub(crate) supply: Supply,
    pub(crate) patience: Patience,
    pub(crate) writer: Writer,
    part: PartFile,
    checkpoints: Checkpoints,
    pub(crate) incoming: Option<Incoming>,
    pub(crate) speed: Speed,
    pub(crate) bytes_fetched: u64,
    /// Wrong pieces since the connection was opened.
    pub(crate) wrong_here: u32,
    retries: u32,
    state: State,
    shown_at: Duration,
}

/// Why an attempt ended: something to recover from, or the end of the fetch.
pub(crate) enum Broken {
    Setback(Setback),
    End(FetchError),
}

impl From<FetchError> for Broken {
    fn from(error: FetchError) -> Self {
        Self::End(error)
    }
}

impl From<Setback> for Broken {
    fn from(setback: Setback) -> Self {
        Self::Setback(setback)
    }
}

impl<'a> Run<'a> {
    pub(crate) async fn fetch(
        fetcher: &'a Fetcher,
        request: FetchRequest,
        sources: Arc<dyn Sources>,
        journal: Arc<dyn Journal>,
        control: Control,
    ) -> Result<Fetched, FetchError> {
        let FetchRequest { manifest, path } = request;
        let ears = control.ears();
        ears.stop()?;
        let bytes_total = manifest.size();
        control.show(Progress { bytes_total, state: State::Checking, ..Progress::default() });

        let (part, before) = open(path.clone(), bytes_total).await?;
        let recorded = recorded(&manifest, &*journal, before).await?;
        let checkpoints = Checkpoints::start(manifest.hash(), recorded.clone(), part.clone(), journal);
        let mut plan = Plan::new(Arc::clone(&manifest));
        for piece in unrecorded(&manifest, &part, recorded.clone(), before).await? {
            plan.verified(piece);
            checkpoints.written(piece);
        }
        for piece in recorded.iter() {
            plan.claimed(piece);
        }
        let writer = Writer::start(Arc::clone(&manifest), part.clone(), fetcher.config.buffers)?;
        let patience = Patience::new(fetcher.limits());
        let mut run = Run {
            fetcher,
            manifest,
            sources,
            control,
            ears,
            line: Line::Own(OwnLine::default()),
            plan,
            supply: Supply::default(),
            patience,
            writer,
            part,
            checkpoints,
            incoming: None,
            speed: Speed::default(),
            bytes_fetched: 0,
            wrong_here: 0,
            retries: 0,
            state: State::Checking,
            shown_at: Duration::ZERO,
        };
        let outcome = run.work().await;
        run.end(outcome, path).await
    }

    async fn work(&mut self) -> Result<(), FetchError> {
        loop {
            self.ears.stop()?;
            self.settle_ready()?;
            if self.checkpoints.has_failed() {
                // `end` fetches the reason.
                return Err(FetchError::Io(std::io::Error::other("the checkpoint failed")));
            }
            if let Some(span) = self.plan.next() {
                self.wrong_here = 0;
                match self.attempt(span).await {
                    Ok(()) => {}
                    Err(Broken::End(error)) => return Err(error),
                    Err(Broken::Setback(setback)) => self.recover(setback).await?,
                }
            } else if self.writer.in_flight() > 0 {
                let done = self.writer.next_done().await?;
                self.settle(done)?;
            } else if self.recheck().await? {
                return Ok(());
            }
        }
    }

    /// Ends the fetch: everything handed to the writer is judged, made durable and recorded, however it went.
    async fn end(mut self, outcome: Result<(), FetchError>, path: PathBuf) -> Result<Fetched, FetchError> {
        while self.writer.in_flight() > 0 {
            let Ok(done) = self.writer.next_done().await else { break };
            // The outcome stands; what else fails now would only hide it.
            self.settle(done).ok();
        }
        self.tell();
        let durable = self.checkpoints.finish().await;
        match outcome {
            Ok(()) => durable?,
            Err(FetchError::Io(error)) => return Err(durable.err().unwrap_or(FetchError::Io(error))),
            Err(FetchError::Paused) => {
                durable?;
                return Err(FetchError::Paused);
            }
            Err(error) => return Err(error),
        }
        let part = self.part.clone();
        tokio::task::spawn_blocking(move || part.sync_folder()).await.map_err(std::io::Error::other)??;
        let bytes = self.manifest.size();
        self.state = State::Complete;
        self.tell();
        Ok(Fetched { path, bytes, bytes_fetched: self.bytes_fetched, retries: self.retries })
    }

    /// Hashes what is only claimed. `true`: the file is whole. What is damaged becomes missing again.
    async fn recheck(&mut self) -> Result<bool, FetchError> {
        let part = self.part.clone();
        let state = tokio::task::spawn_blocking(move || part.state()).await.map_err(std::io::Error::other)??;
        match state {
            FileState::Whole => {}
            FileState::Cut => {
                self.part.restore_length()?;
                self.plan.doubt_all();
            }
            FileState::Gone => return Err(std::io::Error::from(std::io::ErrorKind::NotFound).into()),
        }
        let mut from = 0;
        while let Some(first) = self.plan.next_unproven(from) {
            self.ears.stop()?;
            self.show(State::Finishing);
            let claimed: Vec<u64> = (first..first + RECHECK_BATCH)
                .take_while(|piece| *piece < self.manifest.piece_count())
                .filter(|piece| self.plan.next_unproven(*piece) == Some(*piece))
                .collect();
            from = first + RECHECK_BATCH;
            let (part, manifest) = (self.part.clone(), Arc::clone(&self.manifest));
            let judged = tokio::task::spawn_blocking(move || {
                let mut buffer = Vec::new();
                let judge = |piece| part.holds(&manifest, piece, &mut buffer).map(|right| (piece, right));
                claimed.into_iter().map(judge).collect::<Result<Vec<_>, _>>()
            });
            for (piece, right) in judged.await.map_err(std::io::Error::other)?? {
                if right {
                    self.plan.verified(piece);
                } else {
                    tracing::warn!(blob = %self.manifest.hash(), piece, "a piece on disk was damaged; it is fetched again");
                    self.plan.lost(piece);
                    self.checkpoints.lost(piece);
                }
            }
        }
        // An empty blob has one piece that nobody sends.
        Ok(self.plan.held().is_full())
    }

    /// Takes in a judgement of the writer.
    pub(crate) fn settle(&mut self, done: Done) -> Result<(), FetchError> {
        let Done { piece, buffer, right } = done;
        self.writer.give_back(buffer);
        match right {
            Ok(true) => {
                self.plan.verified(piece);
                self.checkpoints.written(piece);
                Ok(())
            }
            Ok(false) => {
                tracing::warn!(blob = %self.manifest.hash(), piece, "a piece came wrong");
                self.wrong_here += 1;
                self.retries += 1;
                let count = self.plan.came_wrong(piece);
                let sources = u32::try_from(self.supply.len()).unwrap_or(u32::MAX);
                if count >= sources.saturating_add(WRONG_BEYOND_SOURCES) {
                    return Err(FetchError::Corrupt { piece });
                }
                Ok(())
            }
            Err(error) => {
                self.plan.lost(piece);
                Err(self.part.failure(error))
            }
        }
    }

    pub(crate) fn settle_ready(&mut self) -> Result<(), FetchError> {
        while let Some(done) = self.writer.try_done() {
            self.settle(done)?;
        }
        Ok(())
    }

    /// Gets addresses, waiting as long as patience lasts.
    pub(crate) async fn resolve(&mut self, reason: ResolveReason) -> Result<(), FetchError> {
        loop {
            self.show(State::Resolving);
            let asking =
                timeout(self.fetcher.config.resolve_timeout, self.sources.resolve(self.manifest.hash(), reason));
            let answer = tokio::select! {
                biased;
                what = self.ears.interrupted() => match what {
                    Interruption::Stop => return self.ears.stop(),
                    Interruption::Reconnect => continue,
                },
                answer = asking => answer,
            };
            let setback = match answer {
                Ok(Ok(sources)) => {
                    self.supply.replace(sources, self.fetcher.config.clock.now());
                    return if self.supply.is_empty() { Err(FetchError::Gone) } else { Ok(()) };
                }
                Ok(Err(SourceError::NotAuthorised)) => return Err(FetchError::NotAuthorised),
                Ok(Err(SourceError::Gone)) => return Err(FetchError::Gone),
                Ok(Err(SourceError::Unavailable { retry_after, cause })) => Setback::Addresses { retry_after, cause },
                Ok(Err(error @ SourceError::Failed(_))) => return Err(FetchError::Sources(error)),
                Err(_) => Setback::Addresses { retry_after: None, cause: "no answer in time".to_owned() },
            };
            self.retries += 1;
            match self.patience.after(&setback, self.fetcher.config.clock.jitter()) {
                Step::Again { wait, cause, .. } => self.wait(wait, State::Retrying { cause, wait }).await?,
                Step::GiveUp(error) => return Err(error),
                Step::Drop | Step::Renew(_) => {}
            }
        }
    }

    /// Does what patience says after a setback; the caller then tries again.
    async fn recover(&mut self, setback: Setback) -> Result<(), FetchError> {
        self.ears.stop()?;
        tracing::info!(blob = %self.manifest.hash(), ?setback, "an attempt failed");
        if setback != Setback::Interrupted {
            self.retries += 1;
        }
        let mut step = self.patience.after(&setback, self.fetcher.config.clock.jitter());
        if matches!(step, Step::Drop) {
            // Wrong bytes are judged piece by piece: a source isn't dropped for them, only left for the next.
            if setback == Setback::Lied(Lie::Bytes) {
                self.supply.rotate();
                return Ok(());
            }
            self.supply.drop_current();
            if !self.supply.is_empty() {
                return Ok(());
            }
            step = self.patience.exhausted(&setback);
        }
        match step {
            Step::Again { wait, cause, switch } => {
                if switch {
                    self.supply.rotate();
                }
                self.wait(wait, State::Retrying { cause, wait }).await
            }
            Step::Renew(reason) => self.resolve(reason).await,
            Step::GiveUp(error) => Err(error),
            Step::Drop => Ok(()),
        }
    }

    async fn wait(&mut self, wait: Duration, state: State) -> Result<(), FetchError> {
        if !wait.is_zero() {
            self.show(state);
            tokio::select! {
                biased;
                _ = self.ears.interrupted() => {}
                () = self.fetcher.config.clock.sleep(wait) => {}
            }
        }
        self.ears.stop()
    }

    /// Shows the state, and the numbers a few times per second.
    pub(crate) fn show(&mut self, state: State) {
        let elapsed = self.fetcher.config.clock.elapsed();
        if state == self.state && elapsed.saturating_sub(self.shown_at) < PROGRESS_EVERY {
            return;
        }
        self.state = state;
        self.shown_at = elapsed;
        self.tell();
    }

    fn tell(&mut self) {
        self.control.show(Progress {
            bytes_verified: self.plan.held_bytes(),
            bytes_total: self.manifest.size(),
            bytes_fetched: self.bytes_fetched,
            bytes_per_second: self.speed.at(self.fetcher.config.clock.elapsed()),
            retries: self.retries,
            state: self.state,
        });
    }
}

async fn open(path: PathBuf, size: u64) -> Result<(PartFile, u64), FetchError> {
    tokio::task::spawn_blocking(move || PartFile::open(&path, size)).await.map_err(std::io::Error::other)?
}

/// What the journal claims, as far as the file is long enough for it.
async fn recorded(manifest: &Manifest, journal: &dyn Journal, before: u64) -> Result<PieceSet, FetchError> {
    let pieces = manifest.piece_count();
    let mut recorded = PieceSet::new(pieces);
    if pieces > 1 && before > 0 {
        // A journal may be wrong about the number of pieces; then it knows nothing.
        let loaded = journal.load(manifest.hash(), pieces).await?.filter(|set| set.pieces() == pieces);
        for piece in loaded.iter().flat_map(PieceSet::iter) {
            let (start, length) = manifest.piece_range(piece);
            if start + length <= before {
                recorded.insert(piece);
            }
        }
    }
    Ok(recorded)
}

async fn unrecorded(
    manifest: &Arc<Manifest>,
    part: &PartFile,
    recorded: PieceSet,
    before: u64,
) -> Result<Vec<u64>, FetchError> {
    // Nobody sends the one piece of an empty blob: it is always there.
    if before == 0 && manifest.size() > 0 {
        return Ok(Vec::new());
    }
    let (manifest, part) = (Arc::clone(manifest), part.clone());
    let look = move || part.unrecorded(&manifest, &recorded, before);
    Ok(tokio::task::spawn_blocking(look).await.map_err(std::io::Error::other)??)
}
