//! How far transfers are, for whoever listens: at most five times a second, and only what has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use carrel_model::{DownloadId, ProfileId};
use tokio::time::Instant;

use super::{queue::Queue, rows, view::DownloadView};
use crate::{EngineError, EngineEvent};

/// Between two looks at the progress.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// How far transfers are, as it was last told.
#[derive(Default)]
pub(super) struct Told {
    last: Option<Instant>,
    views: BTreeMap<DownloadId, DownloadView>,
}

impl Told {
    pub(super) fn next(&self) -> Instant {
        self.last.map_or_else(Instant::now, |last| last + TELL_EVERY)
    }

    pub(super) async fn tell(&mut self, queue: &Queue) {
        self.last = Some(Instant::now());
        let ids: BTreeSet<_> = queue.live.all().values().flat_map(|fetch| fetch.serves.clone()).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let views = async {
            let rows = rows::of_ids(queue.library.readers(), &ids).await?;
            let views = queue.views(&rows).await?;
            Ok::<_, EngineError>(rows.into_iter().map(|row| row.profile_id).zip(views).collect::<Vec<_>>())
        };
        let Ok(views) = views.await else { return };
        let mut by_profile: BTreeMap<ProfileId, Vec<_>> = BTreeMap::new();
        self.views.retain(|id, _| ids.contains(id));
        for (profile, view) in views {
            if self.views.insert(view.id, view.clone()).as_ref() != Some(&view) {
                by_profile.entry(profile).or_default().push(view);
            }
        }
        for (profile_id, changed) in by_profile {
            queue.events.send(EngineEvent::Downloads { profile_id, changed, removed: Vec::new() });
        }
    }
}
