//! Events for a front end, a few times a second.
//!
//! A download reports many times a second, and a page that repaints for each report does little else. So events are
//! merged – of each thing only its last state – and sent at most [`MESSAGES_PER_SECOND`] times a second: the first one at
//! once, the others when their turn comes. What is merged is bounded; too much becomes "read everything anew".

use std::time::Duration;

use carrel_engine::EngineEvent;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::Instant;

/// The most a front end is sent.
pub const MESSAGES_PER_SECOND: u32 = 5;

/// Downloads and lessons named in one batch before it says "everything" instead.
const MOST_NAMED: usize = 500;

/// Merges events into batches. Ends when the events do, with what is left.
pub fn batches(
    events: impl Stream<Item = EngineEvent> + Send + Unpin + 'static,
) -> impl Stream<Item = Vec<EngineEvent>> + Send + Unpin {
    let pause = Duration::from_secs(1) / MESSAGES_PER_SECOND;
    // `next_at`: when the next message may go out.
    Box::pin(stream::unfold((events, Instant::now()), move |(mut events, next_at)| async move {
        let mut batch = Batch::default();
        batch.add(events.next().await?);
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(next_at) => break,
                event = events.next() => match event {
                    Some(event) => batch.add(event),
                    None => break,
                },
            }
        }
        Some((batch.0, (events, Instant::now() + pause)))
    }))
}

/// Events merged so far, in the order in which their subjects first changed.
#[derive(Debug, Default, PartialEq)]
pub struct Batch(Vec<EngineEvent>);

impl Batch {
    /// Merges one more.
    pub fn add(&mut self, event: EngineEvent) {
        if matches!(event, EngineEvent::Resync) {
            return self.forget_all_but_endings();
        }
        // Whoever reads everything anew needs no diffs; that something ended is said nowhere else.
        if self.0.contains(&EngineEvent::Resync) && !matches!(event, EngineEvent::DownloadEnded { .. }) {
            return;
        }
        if !self.0.iter_mut().any(|earlier| merge(earlier, &event)) {
            self.0.push(event);
        }
        if self.0.iter().map(named).sum::<usize>() > MOST_NAMED {
            self.forget_all_but_endings();
        }
    }

    /// The merged events.
    #[must_use]
    pub fn into_events(self) -> Vec<EngineEvent> {
        self.0
    }

    fn forget_all_but_endings(&mut self) {
        self.0.retain(|event| matches!(event, EngineEvent::DownloadEnded { .. }));
        // Even endings are bounded; a notification more or less matters little by then.
        self.0.truncate(MOST_NAMED);
        self.0.push(EngineEvent::Resync);
    }
}

fn named(event: &EngineEvent) -> usize {
    match event {
        EngineEvent::Downloads { changed, removed, .. } => changed.len() + removed.len(),
        EngineEvent::Learning { lesson_ids, .. } => lesson_ids.len(),
        _ => 1,
    }
}

/// Folds `later` into `earlier` where both are about the same thing.
fn merge(earlier: &mut EngineEvent, later: &EngineEvent) -> bool {
    use EngineEvent as E;
    match (earlier, later) {
        (
            E::Downloads { profile_id, changed, removed },
            E::Downloads { profile_id: same, changed: later_changed, removed: later_removed },
        ) if profile_id == same => {
            for download in later_changed {
                removed.retain(|id| *id != download.id);
                match changed.iter_mut().find(|known| known.id == download.id) {
                    Some(known) => known.clone_from(download),
                    None => changed.push(download.clone()),
                }
            }
            changed.retain(|download| !later_removed.contains(&download.id));
            let new: Vec<_> = later_removed.iter().filter(|id| !removed.contains(id)).copied().collect();
            removed.extend(new);
            true
        }
        (E::Sync { profile_id, sync }, E::Sync { profile_id: same, sync: later }) if profile_id == same => {
            sync.clone_from(later);
            true
        }
        (E::Learning { profile_id, lesson_ids }, E::Learning { profile_id: same, lesson_ids: later })
            if profile_id == same =>
        {
            // An empty list means any lesson.
            if lesson_ids.is_empty() || later.is_empty() {
                lesson_ids.clear();
            } else {
                let new: Vec<_> = later.iter().filter(|id| !lesson_ids.contains(id)).copied().collect();
                lesson_ids.extend(new);
            }
            true
        }
        (E::Downloads { .. } | E::DownloadEnded { .. } | E::Sync { .. } | E::Learning { .. }, _) => false,
        (earlier, later) => earlier == later,
    }
}
