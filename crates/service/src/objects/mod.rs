//! The bytes of blobs: kept by hash, read in large portions, reached by signed addresses.

mod reading;
mod signing;

use std::path::Path as FilePath;
use std::sync::Arc;

use carrel_model::BlobHash;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path};
use tokio::io::AsyncReadExt as _;

pub(crate) use reading::ByteStream;
pub use signing::{BadSignature, UrlSigner};

/// How much is handed to the store at once.
const PART_BYTES: usize = 8 << 20;

/// Why an object can't be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The object store failed.
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
    /// A file can't be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The file is no longer what it was when its hash was computed.
    #[error("the file changed while it was published")]
    Changed,
}

/// The blobs' bytes.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    /// Keeps objects in a folder, made if it is missing.
    pub fn in_folder(folder: &FilePath) -> Result<Self, ObjectError> {
        std::fs::create_dir_all(folder)?;
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// `ab/abcd…`: no folder grows too large.
    fn path(hash: BlobHash) -> Path {
        let name = hash.to_string();
        let folder: String = name.chars().take(2).collect();
        Path::from_iter([folder, name])
    }

    /// Whether it is there, whole.
    async fn has(&self, hash: BlobHash, size: u64) -> Result<bool, ObjectError> {
        match self.store.head(&Self::path(hash)).await {
            Ok(meta) => Ok(meta.size == size),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a blob held in memory.
    pub async fn put(&self, hash: BlobHash, content: Vec<u8>) -> Result<(), ObjectError> {
        if !self.has(hash, content.len() as u64).await? {
            self.store.put(&Self::path(hash), PutPayload::from(content)).await?;
        }
        Ok(())
    }

    /// Keeps a file as the blob it was found to be. It appears whole or not at all.
    pub async fn put_file(&self, hash: BlobHash, size: u64, file: &FilePath) -> Result<(), ObjectError> {
        if self.has(hash, size).await? {
            return Ok(());
        }
        let mut file = tokio::fs::File::open(file).await?;
        let mut hasher = blake3::Hasher::new();
        let mut upload = self.store.put_multipart(&Self::path(hash)).await?;
        loop {
            let mut part = Vec::with_capacity(PART_BYTES);
            let mut portion = (&mut file).take(PART_BYTES as u64);
            if portion.read_to_end(&mut part).await? == 0 {
                break;
            }
            hasher.update(&part);
            upload.put_part(PutPayload::from(part)).await?;
        }
        if BlobHash::from_bytes(*hasher.finalize().as_bytes()) != hash {
            upload.abort().await?;
            return Err(ObjectError::Changed);
        }
        upload.complete().await?;
        Ok(())
    }

    /// The bytes from `start` to before `end`.
    pub(crate) async fn read(&self, hash: BlobHash, start: u64, end: u64) -> Result<ByteStream, ObjectError> {
        reading::read(self.store.as_ref(), &Self::path(hash), start, end).await
    }
}
