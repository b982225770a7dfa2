//! The lock that makes one process the owner of a store.
//!
//! An advisory lock of the operating system, not a file with a process id: it goes by itself when the process is killed.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use fs4::fs_std::FileExt as _;

use crate::OpenError;

/// Held while a store is open. Cheap to clone; goes with the last clone.
#[derive(Debug, Clone)]
pub(super) struct StoreLock(Arc<Mutex<Option<File>>>);

impl StoreLock {
    /// Makes the folder if needed and takes its lock.
    pub(super) async fn take(data_dir: &Path) -> Result<Self, OpenError> {
        let data_dir = data_dir.to_owned();
        let taken = tokio::task::spawn_blocking(move || take_blocking(&data_dir)).await;
        taken.map_err(|error| OpenError::Database(sqlx::Error::Io(io::Error::other(error))))?
    }

    /// Lets go now, whoever else still holds a clone.
    pub(super) fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn take_blocking(data_dir: &Path) -> Result<StoreLock, OpenError> {
    let unusable = |source: io::Error| unusable(data_dir, source);
    std::fs::create_dir_all(data_dir).map_err(unusable)?;
    let path = data_dir.join("carrel.lock");
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(unusable)?;
    match file.try_lock_exclusive() {
        Ok(true) => Ok(StoreLock(Arc::new(Mutex::new(Some(file))))),
        Ok(false) => Err(OpenError::StoreInUse(data_dir.to_owned())),
        Err(source) => Err(unusable(source)),
    }
}

/// The error of a folder that can't be used, full disks told apart.
pub(super) fn unusable(path: &Path, source: io::Error) -> OpenError {
    let path: PathBuf = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::StorageFull(path),
        _ => OpenError::StorageUnavailable { path, source },
    }
}
