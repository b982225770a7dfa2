//! What an origin serves: one blob under any path, or a folder of them.

use std::{collections::BTreeMap, fs::File, io, path::Path, sync::Arc};

use bytes::Bytes;

/// The bytes of one blob.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a file, read as it is served; over a plain connection it goes from the page cache to the socket uncopied.
    File {
        /// The open file.
        file: Arc<File>,
        /// Its length.
        size: u64,
    },
    /// So many zeros, kept nowhere: for sizes no test has room for.
    Zeros(u64),
}

impl Content {
    /// The file at this path.
    pub fn file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self::File { file: Arc::new(file), size })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { size, .. } | Self::Zeros(size) => *size,
        }
    }

    /// The bytes from `first` up to `end`, or to the end of the blob.
    pub(super) fn read(&self, first: u64, end: u64) -> io::Result<Bytes> {
        let end = end.min(self.size());
        let first = first.min(end);
        let length = usize::try_from(end - first).map_err(io::Error::other)?;
        match self {
            Self::Memory(bytes) => {
                let first = usize::try_from(first).map_err(io::Error::other)?;
                Ok(bytes.slice(first..first + length))
            }
            Self::File { file, .. } => {
                let mut portion = vec![0; length];
                read_at(file, &mut portion, first)?;
                Ok(portion.into())
            }
            Self::Zeros(_) => Ok(vec![0; length].into()),
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, portion: &mut [u8], first: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, portion, first)
}

#[cfg(windows)]
fn read_at(file: &File, mut portion: &mut [u8], mut first: u64) -> io::Result<()> {
    while !portion.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, portion, first)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        portion = portion.get_mut(read..).unwrap_or_default();
        first += read as u64;
    }
    Ok(())
}

/// Everything an origin serves.
#[derive(Debug, Clone)]
pub enum Library {
    /// This blob, whatever the path.
    One(Content),
    /// These blobs by name; anything else is 404.
    Folder(BTreeMap<String, Content>),
}

impl Library {
    /// The files of a folder, by their names.
    pub fn folder(path: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let content = Content::Memory(std::fs::read(entry.path())?.into());
                files.insert(entry.file_name().to_string_lossy().into_owned(), content);
            }
        }
        Ok(Self::Folder(files))
    }

    /// What is at this path; its query doesn't count.
    pub(super) fn find(&self, path: &str) -> Option<&Content> {
        match self {
            Self::One(content) => Some(content),
            Self::Folder(files) => files.get(path.split('?').next()?.trim_start_matches('/')),
        }
    }
}

impl From<Vec<u8>> for Library {
    fn from(content: Vec<u8>) -> Self {
        Self::One(Content::Memory(content.into()))
    }
}

impl From<Content> for Library {
    fn from(content: Content) -> Self {
        Self::One(content)
    }
}
