//! Downloads that have ended and are worth a notification: in words of the learner's language, if they want any, once.

use std::collections::BTreeMap;

use carrel_engine::model::{DownloadId, ProfileId, download::DownloadState};
use carrel_engine::{EngineEvent, downloads::view::DownloadView};
use futures_util::{Stream, StreamExt as _, stream};

use crate::Host;

/// How many downloads are remembered as told.
const MOST_TOLD: usize = 1000;

/// A download that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Name of the unit or lesson.
    pub title: String,
    /// Ready offline; else it failed.
    pub ready: bool,
    /// The learner's language, where they chose one.
    pub language: Option<String>,
}

impl Host {
    /// Endings from now on, of learners who want to be told.
    pub fn endings(&self) -> impl Stream<Item = Ending> + Send + Unpin + use<> {
        let start = (self.clone(), self.events(), BTreeMap::new());
        Box::pin(stream::unfold(start, |(host, mut events, mut told)| async move {
            loop {
                let EngineEvent::DownloadEnded { profile_id, download } = events.next().await? else { continue };
                if !is_news(&mut told, &download) {
                    continue;
                }
                if let Some(ending) = host.ending(profile_id, download).await {
                    return Some((ending, (host, events, told)));
                }
            }
        }))
    }

    /// The language the learner in use has chosen.
    pub async fn language(&self) -> Option<String> {
        let engine = self.engine().ok()?;
        let learner = engine.access().current().await.ok()??;
        engine.settings().get(learner.id).await.ok()?.language
    }

    async fn ending(&self, profile: ProfileId, download: DownloadView) -> Option<Ending> {
        let settings = self.engine().ok()?.settings().get(profile).await.ok()?;
        let ready = download.state == DownloadState::Completed;
        settings.notifications.then_some(Ending { title: download.title, ready, language: settings.language })
    }
}

fn is_news(told: &mut BTreeMap<DownloadId, DownloadState>, download: &DownloadView) -> bool {
    if told.len() >= MOST_TOLD {
        told.clear();
    }
    told.insert(download.id, download.state) != Some(download.state)
}
