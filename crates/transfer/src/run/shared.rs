//! What the lanes of a fetch, its driver and the writer's threads share. Locked once for each piece, never for less.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use carrel_model::pieces::Manifest;
use tokio::sync::{Notify, watch};

use crate::{
    Fetcher, Urgency,
    disk::Judged,
    rules::{
        incoming::{Partial, Senders},
        plan::Plan,
    },
    run::pace::Pace,
};

pub(crate) struct Shared {
    pub(crate) fetcher: Fetcher,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) urgency: watch::Receiver<Urgency>,
    /// The limit of this fetch; that of all is the fetcher's.
    pub(crate) pace: Arc<Pace>,
    core: Mutex<Core>,
    /// Something happened that the driver should look at.
    pub(crate) news: Notify,
    /// Bytes of bodies received.
    pub(crate) fetched: AtomicU64,
    /// Lanes that receive a body.
    live: AtomicUsize,
    /// A limit of our own made a lane wait since this was looked at last.
    pub(crate) held_back: AtomicBool,
}

pub(crate) struct Core {
    pub(crate) plan: Plan,
    /// Beginnings of pieces that nobody receives at the moment.
    pub(crate) partials: BTreeMap<u64, Partial>,
    /// Wanted bytes received since the driver looked last.
    pub(crate) received: u64,
    pub(crate) wrong: Vec<Wrong>,
    pub(crate) failed: Option<io::Error>,
}

/// A piece that came wrong.
pub(crate) struct Wrong {
    pub(crate) piece: u64,
    pub(crate) times: u32,
    pub(crate) from: Senders,
}

impl Shared {
    pub(crate) fn new(
        fetcher: Fetcher,
        manifest: Arc<Manifest>,
        urgency: watch::Receiver<Urgency>,
        pace: Arc<Pace>,
    ) -> Self {
        let plan = Plan::new(Arc::clone(&manifest));
        let core = Core { plan, partials: BTreeMap::new(), received: 0, wrong: Vec::new(), failed: None };
        Self {
            fetcher,
            manifest,
            urgency,
            pace,
            core: Mutex::new(core),
            news: Notify::new(),
            fetched: AtomicU64::new(0),
            live: AtomicUsize::new(0),
            held_back: AtomicBool::new(false),
        }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Takes in a judgement, on the writer's thread.
    pub(crate) fn judged(&self, piece: u64, from: Senders, judged: Judged) {
        let mut core = self.core();
        let quiet = match judged {
            Judged::Right => {
                core.plan.verified(piece);
                core.partials.remove(&piece);
                // While more is on its way the driver has nothing to do.
                core.plan.has_submitted()
            }
            // What an earlier run kept may have been wrong: it is asked for anew, and that is nobody's fault.
            Judged::Wrong if from.are_unknown() => {
                core.plan.lost(piece);
                false
            }
            Judged::Wrong => {
                let times = core.plan.came_wrong(piece);
                core.wrong.push(Wrong { piece, times, from });
                false
            }
            Judged::Failed(error) => {
                core.plan.lost(piece);
                core.failed.get_or_insert(error);
                false
            }
        };
        drop(core);
        if !quiet {
            self.news.notify_one();
        }
    }
}

/// Counts a lane as receiving for as long as it lives.
pub(crate) struct Live<'a>(&'a Shared);

impl<'a> Live<'a> {
    pub(crate) fn count(shared: &'a Shared) -> Self {
        shared.live.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}
