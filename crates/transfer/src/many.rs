//! Many blobs in one go: small ones many at once, big ones few, the more urgent first.
//!
//! Jobs are taken from an iterator as places free up, so that a long list needn't be in memory. One blob that can't be
//! had doesn't stop the others. Whoever keeps a queue of his own doesn't need this: he calls [`Fetcher::fetch`] and
//! decides himself what is next.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, io,
    iter::Fuse,
    sync::Arc,
    time::Duration,
};

use carrel_model::BlobHash;
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use crate::{
    Control, FetchError, FetchRequest, Fetched, Fetcher, Journal, Progress, Sources, State, Urgency,
    control::{Ears, Interruption},
};

/// Blobs from this size on are big.
const BIG_BYTES: u64 = 4 << 20;
/// How far the list is looked ahead for jobs there is a place for.
const LOOKAHEAD: usize = 256;
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// One blob of many.
#[derive(Clone)]
pub struct Job {
    /// What to fetch and where to put it.
    pub request: FetchRequest,
    /// Remembers its pieces.
    pub journal: Arc<dyn Journal>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("request", &self.request).finish_non_exhaustive()
    }
}

/// How many fetches run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Places {
    /// Of blobs under 4 MiB. A host is asked for at most 100 of them at once; the others are opening their files or wait for
    /// the disk to sync, many together. Each is an open file, so that it stays below what a process may have at least.
    pub small: usize,
    /// Of bigger ones. Each fills the line alone.
    pub big: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self { small: 192, big: 3 }
    }
}

/// Fetches that are going on; made by [`Fetcher::fetch_many`]. Dropping it stops them, and loses nothing verified.
pub struct Many<J: Iterator<Item = Job>> {
    fetcher: Fetcher,
    jobs: Fuse<J>,
    sources: Arc<dyn Sources>,
    control: Control,
    ears: Ears,
    urgency: watch::Receiver<Urgency>,
    small: Class,
    big: Class,
    tasks: JoinSet<Result<Fetched, FetchError>>,
    running: HashMap<Id, Running>,
    taken: u64,
    /// What the fetches that have ended brought.
    done: Progress,
    show_at: Instant,
}

impl<J: Iterator<Item = Job>> fmt::Debug for Many<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

/// Jobs of one kind, taken from the list, and their places.
#[derive(Debug)]
struct Class {
    /// The more urgent first, then as they came.
    waiting: BTreeMap<(Urgency, u64), Job>,
    free: usize,
}

#[derive(Debug)]
struct Running {
    blob: BlobHash,
    is_big: bool,
    control: Control,
}

impl Fetcher {
    /// Fetches many blobs under one control. [`Many::next`] yields each as it ends, well or not.
    ///
    /// A rate set on the control is that of all together, an urgency that of each.
    ///
    /// A pause or cancel ends all that are running or were taken from `jobs` with that error, and takes no more.
    pub fn fetch_many<J: IntoIterator<Item = Job>>(
        &self,
        jobs: J,
        sources: Arc<dyn Sources>,
        places: Places,
        control: Control,
    ) -> Many<J::IntoIter> {
        let class = |places: usize| Class { waiting: BTreeMap::new(), free: places.max(1) };
        Many {
            fetcher: self.clone(),
            jobs: jobs.into_iter().fuse(),
            sources,
            ears: control.ears(),
            urgency: control.urgency_set(),
            control,
            small: class(places.small),
            big: class(places.big),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            taken: 0,
            done: Progress::default(),
            show_at: Instant::now(),
        }
    }
}

impl<J: Iterator<Item = Job>> Many<J> {
    /// The next blob that is there, or can't be had for now; `None` when all are through.
    ///
    /// May be dropped and called again; meanwhile the fetches run on, but no others are begun.
    pub async fn next(&mut self) -> Option<(BlobHash, Result<Fetched, FetchError>)> {
        loop {
            let stop = self.ears.stop().err();
            if stop.is_none() {
                self.fill();
            } else {
                self.pass_on(Interruption::Stop);
            }
            if stop.is_some()
                && let Some((_, job)) = self.small.waiting.pop_first().or_else(|| self.big.waiting.pop_first())
            {
                return stop.map(|error| (job.request.manifest.hash(), Err(error)));
            }
            tokio::select! {
                biased;
                what = self.ears.interrupted(), if stop.is_none() => self.pass_on(what),
                ended = self.tasks.join_next_with_id() => {
                    let Some(ended) = ended else {
                        self.show(if stop.is_none() { State::Complete } else { State::Waiting });
                        return None;
                    };
                    if let Some(ended) = self.ended(ended) {
                        return Some(ended);
                    }
                }
                Ok(()) = self.urgency.changed() => {
                    self.running.values().for_each(|running| self.control.pass_urgency(&running.control));
                }
                () = sleep_until(self.show_at) => self.show(State::Fetching),
            }
        }
    }

    /// Starts as many as there are places for.
    fn fill(&mut self) {
        loop {
            let room = LOOKAHEAD.saturating_sub(self.small.waiting.len() + self.big.waiting.len());
            for job in self.jobs.by_ref().take(room) {
                let is_big = job.request.manifest.size() >= BIG_BYTES;
                self.done.bytes_total = self.done.bytes_total.saturating_add(job.request.manifest.size());
                let turn = (job.request.urgency, self.taken);
                self.taken += 1;
                if is_big { &mut self.big } else { &mut self.small }.waiting.insert(turn, job);
            }
            let Some((job, is_big)) =
                self.small.admit().map(|job| (job, false)).or_else(|| self.big.admit().map(|job| (job, true)))
            else {
                return;
            };
            self.start(job, is_big);
        }
    }

    fn start(&mut self, job: Job, is_big: bool) {
        let control = self.control.beneath();
        let running = Running { blob: job.request.manifest.hash(), is_big, control: control.clone() };
        let (fetcher, sources) = (self.fetcher.clone(), Arc::clone(&self.sources));
        let task = self.tasks.spawn(async move { fetcher.fetch(job.request, sources, job.journal, control).await });
        self.running.insert(task.id(), running);
    }

    fn ended(
        &mut self,
        ended: Result<(Id, Result<Fetched, FetchError>), JoinError>,
    ) -> Option<(BlobHash, Result<Fetched, FetchError>)> {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), Err(FetchError::Io(io::Error::other(error)))),
        };
        let running = self.running.remove(&id)?;
        if running.is_big { &mut self.big } else { &mut self.small }.free += 1;
        add(&mut self.done, *running.control.progress().borrow());
        Some((running.blob, result))
    }

    fn pass_on(&self, what: Interruption) {
        for running in self.running.values() {
            match (what, self.ears.stop()) {
                (Interruption::Reconnect, _) => running.control.reconnect(),
                (Interruption::Stop, Err(FetchError::Cancelled)) => running.control.cancel(),
                (Interruption::Stop, _) => running.control.pause(),
            }
        }
    }

    fn show(&mut self, state: State) {
        self.show_at = Instant::now() + SHOWN_EVERY;
        let mut progress = Progress { state, ..self.done };
        for running in self.running.values() {
            let now = *running.control.progress().borrow();
            add(&mut progress, now);
            progress.bytes_per_second += now.bytes_per_second;
        }
        self.control.show(progress);
    }
}

impl Class {
    fn admit(&mut self) -> Option<Job> {
        let (_, job) = if self.free > 0 { self.waiting.pop_first() } else { None }?;
        self.free -= 1;
        Some(job)
    }
}

fn add(sum: &mut Progress, one: Progress) {
    sum.bytes_verified += one.bytes_verified;
    sum.bytes_fetched += one.bytes_fetched;
    sum.retries += one.retries;
}
