//! The caller's hand on a running fetch: stop it, hurry it, watch it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{FetchError, run::pace::Pace};

/// What a fetch is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum State {
    /// Not begun.
    #[default]
    Waiting,
    /// Looking at what is on disk.
    Checking,
    /// Asking for addresses.
    Resolving,
    /// Receiving.
    Fetching,
    /// Waiting before the next attempt.
    Retrying {
        /// Why.
        cause: WaitCause,
        /// How long this wait is in all.
        wait: Duration,
    },
    /// Hashing and syncing the rest.
    Finishing,
    /// Complete, verified, durable.
    Complete,
}

/// Why a fetch waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitCause {
    /// No connection, or a broken one.
    Network,
    /// The source failed or asked for patience.
    Source,
    /// The service that gives addresses is unavailable.
    Addresses,
}

/// How soon a blob is needed: who gets a place at a busy host first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Urgency {
    /// It is being played.
    Playing,
    /// Somebody asked for it.
    #[default]
    Asked,
    /// Nobody waits for it.
    Refresh,
}

/// How far a fetch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes in verified pieces, from this run and earlier ones.
    pub bytes_verified: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Bytes of bodies received in this run, those thrown away included.
    pub bytes_fetched: u64,
    /// Speed over the last few seconds, as received.
    pub bytes_per_second: u64,
    /// How often something went wrong in this run and was tried again.
    pub retries: u32,
    /// What it is doing.
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Go,
    Pause,
    Cancel,
}

/// Stops, hurries and shows one fetch; clones belong to the same fetch.
#[derive(Debug, Clone)]
pub struct Control {
    wish: watch::Sender<Wish>,
    nudge: watch::Sender<u64>,
    progress: watch::Sender<Progress>,
    urgency: watch::Sender<Urgency>,
    /// Whether the urgency was set here; otherwise it is the request's.
    is_urgency_set: Arc<AtomicBool>,
    pace: Arc<Pace>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// A control for one fetch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wish: watch::Sender::new(Wish::Go),
            nudge: watch::Sender::new(0),
            progress: watch::Sender::new(Progress::default()),
            urgency: watch::Sender::new(Urgency::default()),
            is_urgency_set: Arc::default(),
            pace: Arc::default(),
        }
    }

    /// A control for one of the fetches under this one: their rate is one.
    pub(crate) fn beneath(&self) -> Self {
        let beneath = Self { pace: self.pace(), ..Self::new() };
        self.pass_urgency(&beneath);
        beneath
    }

    /// Makes another as urgent as this one, if that was said.
    pub(crate) fn pass_urgency(&self, beneath: &Self) {
        if self.is_urgency_set.load(Ordering::Acquire) {
            let urgency = *self.urgency.borrow();
            beneath.set_urgency(urgency);
        }
    }

    /// Hears of changes of the urgency.
    pub(crate) fn urgency_set(&self) -> watch::Receiver<Urgency> {
        self.urgency.subscribe()
    }

    /// Ends the fetch with [`FetchError::Paused`] once everything verified is durable. Doesn't undo a cancel.
    pub fn pause(&self) {
        self.wish.send_if_modified(|wish| {
            let first = *wish == Wish::Go;
            if first {
                *wish = Wish::Pause;
            }
            first
        });
    }

    /// Ends the fetch with [`FetchError::Cancelled`], as soon as possible.
    pub fn cancel(&self) {
        self.wish.send_replace(Wish::Cancel);
    }

    /// Says that the network has changed: a wait ends now, an open connection is given up and a new one made.
    pub fn reconnect(&self) {
        self.nudge.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Limits this fetch to so many bytes per second, from now on; `None` takes the limit off.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        self.pace.set(bytes_per_second);
    }

    /// Makes this fetch more, or less, urgent than its request said.
    pub fn set_urgency(&self, urgency: Urgency) {
        self.is_urgency_set.store(true, Ordering::Release);
        self.urgency.send_replace(urgency);
    }

    /// Watches the progress. The value changes at most a few times per second and at every change of state.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn show(&self, progress: Progress) {
        self.progress.send_if_modified(|shown| {
            let changed = *shown != progress;
            *shown = progress;
            changed
        });
    }

    pub(crate) fn ears(&self) -> Ears {
        let mut nudge = self.nudge.subscribe();
        nudge.mark_unchanged();
        Ears { wish: self.wish.subscribe(), nudge, everybody: None, _control: self.clone() }
    }

    /// The urgency, which is that of the request unless it was set here.
    pub(crate) fn urgency(&self, of_request: Urgency) -> watch::Receiver<Urgency> {
        if !self.is_urgency_set.load(Ordering::Acquire) {
            self.urgency.send_replace(of_request);
        }
        self.urgency.subscribe()
    }

    pub(crate) fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }
}

/// What interrupts a wait of the fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interruption {
    Stop,
    Reconnect,
}

/// The fetch's side of a [`Control`].
#[derive(Debug)]
pub(crate) struct Ears {
    wish: watch::Receiver<Wish>,
    nudge: watch::Receiver<u64>,
    /// Nudges for all fetches.
    everybody: Option<watch::Receiver<u64>>,
    // Keeps the senders alive, so that waiting for them never fails.
    _control: Control,
}

impl Ears {
    /// The error to end with, if the caller wants an end.
    pub(crate) fn stop(&self) -> Result<(), FetchError> {
        match *self.wish.borrow() {
            Wish::Go => Ok(()),
            Wish::Pause => Err(FetchError::Paused),
            Wish::Cancel => Err(FetchError::Cancelled),
        }
    }

    /// Listens to nudges for all fetches as well.
    pub(crate) fn with(mut self, everybody: watch::Receiver<u64>) -> Self {
        self.everybody = Some(everybody);
        self
    }

    /// Returns when the caller wants an end or a new connection; may be dropped and called again.
    pub(crate) async fn interrupted(&mut self) -> Interruption {
        tokio::select! {
            biased;
            _ = self.wish.wait_for(|wish| *wish != Wish::Go) => Interruption::Stop,
            _ = self.nudge.changed() => Interruption::Reconnect,
            true = nudged(self.everybody.as_mut()) => Interruption::Reconnect,
        }
    }
}

async fn nudged(everybody: Option<&mut watch::Receiver<u64>>) -> bool {
    match everybody {
        Some(nudge) => nudge.changed().await.is_ok(),
        None => false,
    }
}
