//! The order of durability: sync first, the journal after it, for all blobs of a volume that come due together.
//!
//! The promise: a piece is in the journal only if it was written before a sync that has returned, in a file whose name is
//! durable as well. Per volume one task runs while there is something to do – so a slow stick holds up nobody
//! else – and works in rounds: whoever comes due while a round runs is covered by the next. That makes group commits by
//! itself: a single file is synced at once, a hundred small ones that finish meanwhile share one `syncfs`.
//!
//! A blob comes due with 16 MiB or a second, or when its fetch finishes. Nobody has to be waiting: what was written when a
//! fetch is dropped is made durable and recorded all the same.

use std::{
    collections::BTreeSet,
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use carrel_model::BlobHash;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    Checkpoint, FetchError, Journal, PieceSet,
    disk::{
        layer::{FileLayer, OpenFile},
        ledger::Ledger,
        lock,
    },
};

const EVERY_BYTES: u64 = 16 << 20;
const EVERY: Duration = Duration::from_secs(1);
/// From so many files on, syncing the whole volume once is cheaper than each by itself.
const MANY_FILES: usize = 4;

/// A medium: what is promised of its room, and what waits to become durable on it.
pub(crate) struct Volume {
    layer: Arc<dyn FileLayer>,
    pub(crate) ledger: Mutex<Ledger>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// A sync of the whole has failed: each file answers for itself from then on.
    doubtful: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// Those the task hasn't taken over yet.
    records: Vec<Arc<Record>>,
    running: bool,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// What is known, and what is durable, of one blob's file.
pub(crate) struct Record {
    pub(crate) blob: BlobHash,
    pub(crate) file: Arc<dyn OpenFile>,
    pub(crate) folder: PathBuf,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) volume: Arc<Volume>,
    /// Where the task runs; the writers' threads, which bring the news, are outside of it.
    pub(crate) runtime: Handle,
    /// The file opened first notices every failure since, on behalf of those opened later.
    pub(crate) opened: Instant,
    pub(crate) state: Mutex<Known>,
}

/// The changing part of a [`Record`].
pub(crate) struct Known {
    verified: PieceSet,
    unsynced_bytes: u64,
    /// The journal says something else.
    changed: bool,
    /// When the oldest news came that isn't covered by a round yet.
    since: Option<Instant>,
    /// Whether the file's name has been made durable.
    named: bool,
    /// Whether the volume's task, or its list, has this record.
    listed: bool,
    complete: bool,
    waiters: Vec<oneshot::Sender<Result<(), FetchError>>>,
    error: Option<FetchError>,
}

impl Known {
    pub(crate) const fn new(recorded: PieceSet) -> Self {
        Self {
            verified: recorded,
            unsynced_bytes: 0,
            changed: false,
            since: None,
            named: false,
            listed: false,
            complete: false,
            waiters: Vec::new(),
            error: None,
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.waiters.is_empty()
            || self.unsynced_bytes >= EVERY_BYTES
            || self.since.is_some_and(|since| now >= since + EVERY)
    }

    /// Why it can't be made durable, for whoever asks.
    fn failure(&self) -> FetchError {
        match &self.error {
            Some(FetchError::Journal(error)) => FetchError::Journal(error.again()),
            Some(FetchError::Io(error)) => FetchError::Io(same(error)),
            _ => FetchError::Io(io::Error::other("the file could not be made durable")),
        }
    }

    const fn has_failed(&self) -> bool {
        self.error.is_some()
    }
}

impl Record {
    /// A right piece of so many bytes is in the file.
    pub(crate) fn written(self: &Arc<Self>, piece: u64, bytes: u64) {
        let mut known = lock(&self.state);
        known.unsynced_bytes += bytes;
        known.changed |= known.verified.insert(piece);
        self.tell(&mut known);
    }

    /// A piece recorded earlier is not in the file.
    pub(crate) fn lost(self: &Arc<Self>, piece: u64) {
        let mut known = lock(&self.state);
        known.changed |= known.verified.remove(piece);
        self.tell(&mut known);
    }

    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.state).has_failed()
    }

    /// Waits until everything told so far is durable and recorded, and the name of a `complete` file too.
    pub(crate) async fn settled(self: &Arc<Self>, complete: bool) -> Result<(), FetchError> {
        let (done, waiting) = oneshot::channel();
        {
            let mut known = lock(&self.state);
            if known.has_failed() {
                return Err(known.failure());
            }
            known.complete |= complete;
            known.waiters.push(done);
            self.list(&mut known);
        }
        // Without an answer the task ended in mid-round: the runtime shuts down.
        waiting.await.unwrap_or_else(|_| Err(FetchError::Io(io::Error::other("the sync was given up"))))
    }

    fn tell(self: &Arc<Self>, known: &mut Known) {
        // One piece is rehashed faster than it is recorded: nothing to do before it is complete.
        if known.has_failed() || known.verified.pieces() <= 1 {
            return;
        }
        known.since.get_or_insert_with(Instant::now);
        self.list(known);
    }

    fn list(self: &Arc<Self>, known: &mut Known) {
        let mut waiting = lock(&self.volume.waiting);
        if !known.listed {
            known.listed = true;
            waiting.records.push(Arc::clone(self));
        }
        let running = std::mem::replace(&mut waiting.running, true);
        drop(waiting);
        if !running {
            let turn = Turn { volume: Arc::clone(&self.volume), records: Vec::new(), over: false };
            drop(self.runtime.spawn(turn.work()));
        } else if known.is_due(Instant::now()) {
            self.volume.wake.notify_one();
        }
    }
}

impl Volume {
    pub(crate) fn new(layer: Arc<dyn FileLayer>) -> Self {
        let (ledger, waiting, doubtful) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { layer, ledger, waiting, wake: Notify::new(), doubtful }
    }

    async fn round(&self, due: Vec<Snapshot>) {
        let (layer, asked) = (Arc::clone(&self.layer), due);
        let synced = tokio::task::spawn_blocking(move || {
            let outcomes = sync(&*layer, &asked);
            (asked, outcomes)
        });
        // Only a runtime that shuts down, or a layer that panics, ends it otherwise; the waiters notice.
        let Ok((due, outcomes)) = synced.await else { return };
        let mut durable = Vec::new();
        for (snapshot, outcome) in due.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => durable.push(snapshot),
                Err(error) => snapshot.end(Err(FetchError::Io(error))),
            }
        }
        record(durable).await;
    }
}

/// The task's hold on its records: given back when it is ended in the middle, so that a later one finds them.
struct Turn {
    volume: Arc<Volume>,
    records: Vec<Arc<Record>>,
    over: bool,
}

impl Turn {
    async fn work(mut self) {
        loop {
            {
                let volume = Arc::clone(&self.volume);
                let mut waiting = lock(&volume.waiting);
                self.records.append(&mut waiting.records);
                if self.records.is_empty() {
                    waiting.running = false;
                    self.over = true;
                    return;
                }
            }
            let now = Instant::now();
            let due: Vec<_> = self.records.iter().filter_map(|record| Snapshot::take(record, now)).collect();
            if due.is_empty() {
                let next = self.records.iter().filter_map(|record| lock(&record.state).since).min();
                // Whether it is time or news: the next look tells.
                timeout_at(next.map_or(now, |since| since + EVERY), self.volume.wake.notified()).await.ok();
            } else {
                self.volume.round(due).await;
            }
            self.records.retain(|record| {
                let mut known = lock(&record.state);
                known.listed = !known.has_failed() && (known.since.is_some() || !known.waiters.is_empty());
                known.listed
            });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.over {
            let mut waiting = lock(&self.volume.waiting);
            waiting.records.append(&mut self.records);
            waiting.running = false;
        }
    }
}

/// What a round makes durable of one blob: all that was told before the round began, and nothing after.
struct Snapshot {
    record: Arc<Record>,
    verified: Option<PieceSet>,
    pieces: u64,
    data: bool,
    name: bool,
    waiters: Vec<oneshot::Sender<Result<(), FetchError>>>,
    ended: bool,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.ended {
            // The round was broken off: nobody knows what of it is durable.
            let gone = io::Error::other("the sync was given up");
            let mut known = lock(&self.record.state);
            known.error.get_or_insert(FetchError::Io(gone));
            known.waiters.clear();
        }
    }
}

impl Snapshot {
    fn take(record: &Arc<Record>, now: Instant) -> Option<Self> {
        let mut known = lock(&record.state);
        if !known.is_due(now) {
            return None;
        }
        let recorded = known.changed && known.verified.pieces() > 1;
        // Found complete by hashing alone, it may still be on its way to the disk from an earlier run.
        let data = known.complete || recorded || known.unsynced_bytes > 0;
        known.changed &= !recorded;
        known.unsynced_bytes = 0;
        known.since = None;
        Some(Self {
            record: Arc::clone(record),
            pieces: known.verified.pieces(),
            verified: recorded.then(|| known.verified.clone()),
            data,
            name: !known.named && (known.complete || recorded),
            waiters: std::mem::take(&mut known.waiters),
            ended: false,
        })
    }

    fn sync(&self) -> io::Result<()> {
        if self.data {
            self.record.file.sync_data()?;
            self.release();
        }
        Ok(())
    }

    /// A film of a gigabyte would push everything else out of memory, and new memory costs more than used.
    fn release(&self) {
        if self.pieces > 1 {
            self.record.file.release();
        }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let verified = self.verified.clone()?;
        Some(Checkpoint { blob: self.record.blob, verified })
    }

    fn end(mut self, outcome: Result<(), FetchError>) {
        self.ended = true;
        let mut known = lock(&self.record.state);
        known.named |= self.name && outcome.is_ok();
        if let Err(error) = outcome {
            tracing::warn!(blob = %self.record.blob, %error, "what was written could not be made durable");
            known.error = Some(error);
        }
        let late = if known.has_failed() { std::mem::take(&mut known.waiters) } else { Vec::new() };
        for waiter in std::mem::take(&mut self.waiters).into_iter().chain(late) {
            let answer = if known.has_failed() { Err(known.failure()) } else { Ok(()) };
            // A fetch that was dropped doesn't listen.
            waiter.send(answer).ok();
        }
    }
}

/// Makes the bytes and names of these files durable; an outcome for each.
fn sync(layer: &dyn FileLayer, due: &[Snapshot]) -> Vec<io::Result<()>> {
    let files = due.iter().filter(|snapshot| snapshot.data);
    if files.clone().count() >= MANY_FILES {
        let first = files.min_by_key(|snapshot| snapshot.record.opened).map(|first| &first.record);
        if first.is_some_and(|first| sync_volume(first)) {
            due.iter().for_each(Snapshot::release);
            return due.iter().map(|_| Ok(())).collect();
        }
    }
    let mut outcomes: Vec<_> = due.iter().map(Snapshot::sync).collect();
    let named = due.iter().filter(|snapshot| snapshot.name).map(|snapshot| &snapshot.record.folder);
    for folder in named.collect::<BTreeSet<_>>() {
        if let Err(error) = layer.sync_folder(folder) {
            for (snapshot, outcome) in due.iter().zip(&mut outcomes) {
                if snapshot.name && snapshot.record.folder == *folder && outcome.is_ok() {
                    *outcome = Err(same(&error));
                }
            }
        }
    }
    outcomes
}

/// Makes everything on the volume durable, if that can be done at once; `false`: each file is to be synced by itself.
fn sync_volume(first: &Record) -> bool {
    if first.volume.doubtful.load(Ordering::Relaxed) {
        return false;
    }
    first.file.sync_volume().unwrap_or_else(|_| {
        // It may be anybody's, whose turn hasn't come as well, and is told only once through this file.
        first.volume.doubtful.store(true, Ordering::Relaxed);
        false
    })
}

/// Tells the journals, each once for all its blobs.
async fn record(mut durable: Vec<Snapshot>) {
    while let Some(first) = durable.first() {
        let journal = Arc::clone(&first.record.journal);
        let (mine, others): (Vec<_>, Vec<_>) = durable
            .into_iter()
            .partition(|snapshot| std::ptr::addr_eq(Arc::as_ptr(&snapshot.record.journal), Arc::as_ptr(&journal)));
        durable = others;
        let checkpoints: Vec<_> = mine.iter().filter_map(Snapshot::checkpoint).collect();
        let mut outcome = if checkpoints.is_empty() { Ok(()) } else { journal.store(&checkpoints).await };
        for snapshot in mine {
            let mine = match &mut outcome {
                Err(error) if snapshot.verified.is_some() => Err(FetchError::Journal(error.again())),
                _ => Ok(()),
            };
            snapshot.end(mine);
        }
    }
}

/// The same error for somebody else.
fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error)
}

#[cfg(test)]
#[path = "syncer_tests.rs"]
mod tests;
