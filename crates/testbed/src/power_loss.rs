//! A medium in memory that can lose its power at any moment of a recorded run.
//!
//! Every operation goes into one log, in order, together with what became durable elsewhere meanwhile (a journal's commit, a
//! promise to the user). Afterwards [`Recording::cuts`] walks through all moments of the run; for each, [`Cut::image`] makes
//! what a power loss there may have left, as unkind as the rules of file systems allow:
//!
//! * Bytes written since the last sync of their file *began* are there, or not, or in some sectors only (512 bytes or 4 KiB),
//!   the later write perhaps without the earlier one. What was never synced may be zeros or whatever lay there before.
//! * The length is the durable one or any later one; made longer without bytes it reads zeros or rubbish.
//! * Names made, moved or removed since the last sync of their folder are so, or not, each on its own.
//! * What was synced stays, bit by bit.
//!
//! The same seed gives the same losses. The image is a medium again, so that a second run can begin on it.

mod image;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

pub use image::{Cut, Image, Recording};

/// A file, whatever its name.
pub type FileNumber = u64;

/// One thing that happened.
#[derive(Debug, Clone)]
enum Op<E> {
    Named(PathBuf, FileNumber),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    Wrote(FileNumber, u64, Arc<[u8]>),
    Length(FileNumber, u64),
    /// A sync has returned; it covers what happened before it began, the first so many operations.
    Synced(Synced, usize),
    Elsewhere(E),
}

#[derive(Debug, Clone)]
enum Synced {
    File(FileNumber),
    Folder(PathBuf),
    Everything,
}

/// A medium in memory; clones are the same one. `E` is what becomes durable elsewhere during the run.
#[derive(Debug)]
pub struct Medium<E> {
    state: Arc<Mutex<State<E>>>,
}

#[derive(Debug)]
struct State<E> {
    names: BTreeMap<PathBuf, FileNumber>,
    files: BTreeMap<FileNumber, Vec<u8>>,
    /// What was there, and durable, when the recording began.
    before: Image,
    log: Vec<Op<E>>,
}

impl<E> Clone for Medium<E> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state) }
    }
}

impl<E: Clone> Medium<E> {
    /// A medium that holds what a power loss, or nothing at all, left.
    #[must_use]
    pub fn new(image: &Image) -> Self {
        let mut names = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (number, (path, content)) in (0..).zip(&image.files) {
            names.insert(path.clone(), number);
            files.insert(number, content.clone());
        }
        let state = State { names, files, before: image.clone(), log: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Opens a file, and makes it when it isn't there.
    #[must_use]
    pub fn open(&self, path: &Path) -> FileNumber {
        let mut state = self.state();
        if let Some(number) = state.names.get(path) {
            return *number;
        }
        let number = state.files.keys().next_back().map_or(0, |last| last + 1);
        state.names.insert(path.to_owned(), number);
        state.files.insert(number, Vec::new());
        state.log.push(Op::Named(path.to_owned(), number));
        number
    }

    /// Which file a path leads to.
    pub fn find(&self, path: &Path) -> io::Result<FileNumber> {
        self.state().names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Gives a file another name.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let number = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), number);
        state.log.push(Op::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Removes a name.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.log.push(Op::Removed(path.to_owned()));
        Ok(())
    }

    /// The length of a file.
    #[must_use]
    pub fn length(&self, number: FileNumber) -> u64 {
        self.state().files.get(&number).map_or(0, |content| content.len() as u64)
    }

    /// Fills `bytes` from this place on.
    pub fn read_at(&self, number: FileNumber, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state();
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let content = state.files.get(&number).and_then(|content| content.get(from..from + bytes.len()));
        bytes.copy_from_slice(content.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Writes at this place.
    pub fn write_at(&self, number: FileNumber, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let content = state.files.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        image::put(content, bytes, usize::try_from(offset).map_err(io::Error::other)?);
        state.log.push(Op::Wrote(number, offset, bytes.into()));
        Ok(())
    }

    /// Cuts a file or lengthens it with zeros.
    pub fn set_length(&self, number: FileNumber, length: u64) -> io::Result<()> {
        let mut state = self.state();
        let content = state.files.get_mut(&number).ok_or(io::ErrorKind::NotFound)?;
        content.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
        state.log.push(Op::Length(number, length));
        Ok(())
    }

    /// Makes the bytes and the length of a file durable.
    pub fn sync(&self, number: FileNumber) {
        self.synced(Synced::File(number));
    }

    /// Makes the names in a folder durable.
    pub fn sync_folder(&self, folder: &Path) {
        self.synced(Synced::Folder(folder.to_owned()));
    }

    /// Makes everything durable.
    pub fn sync_everything(&self) {
        self.synced(Synced::Everything);
    }

    /// Something outside of this medium became durable at this moment.
    pub fn elsewhere(&self, event: E) {
        self.state().log.push(Op::Elsewhere(event));
    }

    /// What happened so far.
    #[must_use]
    pub fn recording(&self) -> Recording<E> {
        let state = self.state();
        Recording { before: state.before.clone(), log: state.log.clone() }
    }

    /// What is there now, as somebody sees it who reads it without a power loss.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(path).and_then(|number| state.files.get(number)).cloned()
    }

    fn synced(&self, what: Synced) {
        let covers = self.state().log.len();
        // Others go on writing while a sync runs, and that isn't covered.
        thread::yield_now();
        self.state().log.push(Op::Synced(what, covers));
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "power_loss_tests.rs"]
mod tests;
