//! What has changed since the queue was last looked at: so much of it is looked at again, and not more.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use carrel_model::DownloadId;
use tokio::sync::Notify;

/// More downloads than these, and all are looked at.
const MOST: usize = 200;

/// Whose reasons to wait may be others now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// These; none: only what comes next is another.
    Of(BTreeSet<DownloadId>),
    /// Any.
    All,
}

impl Default for News {
    fn default() -> Self {
        Self::Of(BTreeSet::new())
    }
}

/// News for the runner.
#[derive(Debug, Default)]
pub(super) struct NewsBoard {
    news: Mutex<News>,
    told: Notify,
}

impl NewsBoard {
    /// These have changed, or another one comes next.
    pub(super) fn tell(&self, ids: &[DownloadId]) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        if let News::Of(known) = &mut *news {
            known.extend(ids);
            if known.len() > MOST {
                *news = News::All;
            }
        }
        drop(news);
        self.told.notify_one();
    }

    /// Something that any may depend on has changed.
    pub(super) fn tell_all(&self) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = News::All;
        self.told.notify_one();
    }

    /// Returns when there are any.
    pub(super) async fn told(&self) {
        self.told.notified().await;
    }

    /// Those since the last time.
    pub(super) fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
