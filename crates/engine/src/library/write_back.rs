//! Writing the journal back into the database, behind everybody's back.
//!
//! SQLite does it within a commit, when the journal has grown long enough: then one small change in a hundred takes ten times
//! as long as the others. Here a connection of its own does it when nobody has written for a moment, or nobody stops writing.
//! It holds nobody up: `PASSIVE` waits for no lock, and neither readers nor the writer wait for it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::Mutex;

use super::pragmas;

/// Nobody has written for so long.
const QUIET: Duration = Duration::from_millis(700);
/// After so many looks it is done, however busy it is.
const MOST_LOOKS: u32 = 5;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct WriteBack(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    connection: Mutex<Option<SqliteConnection>>,
    writes: AtomicU64,
    is_watching: AtomicBool,
    is_closed: AtomicBool,
}

impl WriteBack {
    pub(super) fn new(path: &Path) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            connection: Mutex::default(),
            writes: AtomicU64::new(0),
            is_watching: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// Somebody writes.
    pub(super) fn note_write(&self) {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
        if !self.0.is_watching.swap(true, Ordering::AcqRel) {
            let this = self.clone();
            tokio::spawn(async move { this.when_quiet().await });
        }
    }

    async fn when_quiet(self) {
        let mut seen = self.0.writes.load(Ordering::Relaxed);
        for _ in 0..MOST_LOOKS {
            tokio::time::sleep(QUIET).await;
            let now = self.0.writes.load(Ordering::Relaxed);
            if std::mem::replace(&mut seen, now) == now {
                break;
            }
        }
        // Before, not after: who writes while it works is not overlooked.
        self.0.is_watching.store(false, Ordering::Release);
        self.write_back().await;
    }

    /// Writes back what is complete.
    pub(super) async fn write_back(&self) {
        let mut connection = self.0.connection.lock().await;
        if self.0.is_closed.load(Ordering::Acquire) {
            return;
        }
        if connection.is_none() {
            match pragmas::writer(&self.0.path).create_if_missing(false).connect().await {
                Ok(new) => *connection = Some(new),
                Err(error) => tracing::warn!(%error, "the journal is not written back"),
            }
        }
        if let Some(open) = connection.as_mut()
            && let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(open).await
        {
            // The writer does it itself when the journal gets too long.
            tracing::warn!(%error, "the journal was not written back");
            *connection = None;
        }
    }

    /// Writes nothing back any more.
    pub(super) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        if let Some(connection) = self.0.connection.lock().await.take() {
            connection.close().await.ok();
        }
    }
}
