//! The threads that hash and write, shared by all fetches of one fetcher.
//!
//! Hashing and writing a piece takes about a millisecond of CPU, too long for the threads that serve connections. How much
//! waits here is bounded by the buffers, which are not given back before a piece is written. Threads start when there
//! is work nobody idles for, and end when the last fetch and the fetcher are gone and the queue is empty.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use crate::disk::lock;

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The threads' owner; when it goes, they finish what waits and end.
pub(crate) struct Writers {
    queue: Arc<Queue>,
    most: usize,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Writers {
    /// At most so many threads, at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self { queue: Arc::default(), most: most.max(1) }
    }

    /// Does the job on one of the threads, in the order of submission.
    pub(crate) fn submit(&self, job: Job) {
        let mut state = lock(&self.queue.state);
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads < self.most {
            let queue = Arc::clone(&self.queue);
            let started = thread::Builder::new().name("carrel-writer".to_owned()).spawn(move || queue.work());
            match started {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    // Slow is better than stuck.
                    tracing::error!(%error, "no thread for writing can be started");
                    let job = state.jobs.pop_back();
                    drop(state);
                    job.into_iter().for_each(|job| job());
                    return;
                }
                Err(_) => {}
            }
        }
        drop(state);
        self.queue.ready.notify_one();
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        lock(&self.queue.state).closed = true;
        self.queue.ready.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A callback that panics ends its own fetch, not everybody's writing.
            catch_unwind(AssertUnwindSafe(job)).ok();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}
