//! The scan at start: rows and files are brought to agree.
//!
//! Only names, lengths and times are looked at; a file is rehashed where one of them is not as it was left, or where a
//! crash came between renaming it and recording that.

use carrel_model::BlobHash;

use super::{Blobs, blocking, files, rows};
use crate::EngineError;

/// What the scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScanReport {
    /// Blobs that were present and are missing or altered; they are in the making again.
    pub(crate) damaged: Vec<BlobHash>,
    /// Bytes of files that belonged to nothing and were removed.
    pub(crate) removed_bytes: u64,
}

impl Blobs {
    /// Brings rows and files to agree. To be called before anything is fetched.
    pub(crate) async fn scan(&self) -> Result<ScanReport, EngineError> {
        let mut report = ScanReport::default();
        let folders = self.folders();
        let (whole, partial) = blocking(&self.folder(), move || Ok((folders.whole()?, folders.parts()?))).await?;
        let known = rows::all(&self.inner.library).await?;

        let mut lost = Vec::new();
        for (hash, row) in &known {
            let looked = match (row.present, whole.get(hash)) {
                (true, Some(facts)) if facts.bytes == row.size && facts.time_ns == row.file_time_ns => Ok(true),
                (true, _) => self.verify(*hash).await,
                (false, Some(_)) => self.take_in(*hash).await.map(|_| true),
                (false, None) => {
                    if !partial.contains(hash) {
                        lost.push(*hash);
                    }
                    Ok(true)
                }
            };
            match looked {
                Ok(true) => {}
                Ok(false) => report.damaged.push(*hash),
                // One file is no reason not to open the store; it is looked at again before it is played.
                Err(error @ EngineError::Io { .. }) => tracing::warn!(%hash, %error, "a blob could not be looked at"),
                Err(error) => return Err(error),
            }
        }
        rows::forget_pieces(&self.inner.library, &lost).await?;
        // Nothing is known when the database was made anew: then files wait to be taken in by the downloads to come.
        let strangers = whole.keys().chain(&partial).filter(|hash| !known.is_empty() && !known.contains_key(hash));
        report.removed_bytes += self.remove_files(strangers.copied().collect()).await?;
        rows::let_go_unreferenced(&self.inner.library).await?;
        report.removed_bytes += self.sweep().await?;
        Ok(report)
    }

    /// A whole file whose row doesn't say so – it was renamed into place and then the power went, or the database was made
    /// anew: checked, and recorded if right. True: the blob is present now.
    pub(crate) async fn take_in(&self, hash: BlobHash) -> Result<bool, EngineError> {
        let folders = self.folders();
        let found = blocking(&self.folder(), move || {
            let path = folders.blob(hash);
            Ok(files::file_facts(&path).map(|_| path))
        })
        .await?;
        let Some(path) = found else { return Ok(false) };
        let Some(manifest) = self.manifest(hash).await? else { return Ok(false) };
        let _lock = self.lock().await;
        let (looked, size) = (path.clone(), manifest.size());
        let (right, facts) =
            blocking(&path, move || Ok((files::right_pieces(&looked, &manifest)?, files::file_facts(&looked)))).await?;
        match facts {
            Some(facts) if right.is_full() && facts.bytes == size => {
                // Whoever gave it this name may have ended before the name was durable.
                let layer = self.folders().layer;
                blocking(&path.clone(), move || path.parent().map_or(Ok(()), |folder| layer.sync_folder(folder)))
                    .await?;
                rows::mark_present(&self.inner.library, &[(hash, facts.time_ns)], self.inner.clock.now()).await?;
                Ok(true)
            }
            Some(_) => self.withdraw(hash, &right, size).await.map(|()| false),
            None => Ok(false),
        }
    }
}
