//! The real files.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
    sync::Arc,
};

use crate::disk::layer::{FileId, FileLayer, FileStat, OpenFile};

/// The files of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFiles;

impl FileLayer for SystemFiles {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn OpenFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Arc::new(SystemFile(file)))
    }

    fn id(&self, path: &Path) -> io::Result<FileId> {
        Ok(native::id(&std::fs::metadata(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder can't be opened, and its names are as durable as they get.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        #[cfg(not(unix))]
        let _ = folder;
        Ok(())
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        fs4::available_space(folder)
    }
}

#[derive(Debug)]
struct SystemFile(File);

impl OpenFile for SystemFile {
    fn stat(&self) -> io::Result<FileStat> {
        let metadata = self.0.metadata()?;
        Ok(FileStat { id: native::id(&metadata), length: metadata.len(), modified: metadata.modified().ok() })
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        fs4::fs_std::FileExt::allocated_size(&self.0)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        native::read_exact(&self.0, bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        native::write_all(&self.0, bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        fs4::fs_std::FileExt::allocate(&self.0, bytes)
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        // After a failed sync Linux keeps the bytes as if they were on disk. Without them the next run reads what is.
        self.0.sync_data().inspect_err(|_| native::forget(&self.0))
    }

    fn release(&self) {
        native::forget(&self.0);
    }

    fn sync_volume(&self) -> io::Result<bool> {
        native::sync_volume(&self.0)
    }
}

#[cfg(unix)]
mod native {
    use std::{
        fs::{File, Metadata},
        io,
        os::unix::fs::{FileExt as _, MetadataExt as _},
    };

    use super::FileId;

    pub(super) fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    pub(super) fn read_exact(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(bytes, offset)
    }

    pub(super) fn id(metadata: &Metadata) -> FileId {
        FileId { volume: metadata.dev(), file: metadata.ino() }
    }

    /// Drops from memory what needn't be written any more, and begins to write what does.
    pub(super) fn forget(file: &File) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = file;
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn sync_volume(_: &File) -> io::Result<bool> {
        Ok(false)
    }

    /// `syncfs`, where it is known to reach the medium and to report errors: not on FUSE or network file systems, and not
    /// before Linux 5.8, which kept errors to itself.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn sync_volume(file: &File) -> io::Result<bool> {
        const EXT4: i64 = 0xef53;
        const XFS: i64 = 0x5846_5342;
        const BTRFS: i64 = 0x9123_683e;
        const F2FS: i64 = 0xf2f5_2010;
        const TMPFS: i64 = 0x0102_1994;
        let kind = rustix::fs::fstatfs(file)?.f_type;
        #[allow(clippy::useless_conversion, reason = "32 bits wide on some targets")]
        let kind = i64::from(kind) & 0xffff_ffff;
        if ![EXT4, XFS, BTRFS, F2FS, TMPFS].contains(&kind) || !reports_errors() {
            return Ok(false);
        }
        rustix::fs::syncfs(file)?;
        Ok(true)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn reports_errors() -> bool {
        let name = rustix::system::uname();
        let mut numbers = name.release().to_str().unwrap_or_default().split(['.', '-']);
        let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        (next(), next()) >= (5, 8)
    }
}

#[cfg(windows)]
mod native {
    use std::{
        fs::{File, Metadata},
        io,
        os::windows::fs::FileExt as _,
    };

    use super::FileId;

    pub(super) fn write_all(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = file.seek_write(bytes, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
            offset += written as u64;
        }
        Ok(())
    }

    pub(super) fn read_exact(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let read = file.seek_read(bytes, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = bytes.get_mut(read..).unwrap_or_default();
            offset += read as u64;
        }
        Ok(())
    }

    // An open file can't be replaced here, only cut.
    pub(super) fn id(_: &Metadata) -> FileId {
        FileId::default()
    }

    pub(super) fn forget(_: &File) {}

    pub(super) fn sync_volume(_: &File) -> io::Result<bool> {
        Ok(false)
    }
}
