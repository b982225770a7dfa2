//! What may be left after a loss of power at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{FileNumber, Op, Synced};

/// Files and what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub(super) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// What is in a file; `None` when there is no such name.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }
}

/// A run from its beginning to its end.
#[derive(Debug)]
pub struct Recording<E> {
    pub(super) before: Image,
    pub(super) log: Vec<Op<E>>,
}

impl<E: Clone> Recording<E> {
    /// Every moment of the run: before the first operation, after each, after the last.
    pub fn cuts(&self) -> impl Iterator<Item = Cut<'_, E>> {
        (0..=self.log.len()).scan(Durable::new(&self.before), |durable, at| {
            if let Some(Op::Synced(what, covers)) = at.checked_sub(1).and_then(|last| self.log.get(last)) {
                durable.cover(&self.log, what, *covers);
            }
            Some(Cut { at, log: self.log.get(..at).unwrap_or_default(), durable: durable.clone() })
        })
    }
}

/// What no loss of power takes any more, and from where on each thing's fate is open.
#[derive(Debug, Clone)]
struct Durable {
    names: BTreeMap<PathBuf, FileNumber>,
    files: BTreeMap<FileNumber, Vec<u8>>,
    /// The first operations that are covered, by file and by folder.
    covered_files: BTreeMap<FileNumber, usize>,
    covered_folders: BTreeMap<PathBuf, usize>,
}

impl Durable {
    fn new(before: &Image) -> Self {
        let mut names = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (number, (path, content)) in (0..).zip(&before.files) {
            names.insert(path.clone(), number);
            files.insert(number, content.clone());
        }
        Self { names, files, covered_files: BTreeMap::new(), covered_folders: BTreeMap::new() }
    }

    fn cover<E>(&mut self, log: &[Op<E>], what: &Synced, covers: usize) {
        let log = log.get(..covers).unwrap_or_default();
        match what {
            Synced::File(number) => self.cover_file(log, *number),
            Synced::Folder(folder) => self.cover_folder(log, folder),
            Synced::Everything => {
                let mut numbers = BTreeSet::new();
                let mut folders = BTreeSet::new();
                for op in log {
                    numbers.extend(file_of(op));
                    folders.extend(folder_of(op));
                }
                numbers.into_iter().for_each(|number| self.cover_file(log, number));
                folders.into_iter().for_each(|folder| self.cover_folder(log, folder));
            }
        }
    }

    fn cover_file<E>(&mut self, log: &[Op<E>], number: FileNumber) {
        let from = self.covered_files.insert(number, log.len()).unwrap_or(0);
        let content = self.files.entry(number).or_default();
        for op in log.iter().skip(from) {
            match op {
                Op::Wrote(of, offset, bytes) if *of == number => put(content, bytes, place(*offset)),
                Op::Length(of, length) if *of == number => content.resize(place(*length), 0),
                _ => {}
            }
        }
    }

    fn cover_folder<E>(&mut self, log: &[Op<E>], folder: &Path) {
        let from = self.covered_folders.insert(folder.to_owned(), log.len()).unwrap_or(0);
        for op in log.iter().skip(from).filter(|op| folder_of(op) == Some(folder)) {
            rename(&mut self.names, op);
        }
    }
}

/// A moment at which the power is lost.
#[derive(Debug)]
pub struct Cut<'a, E> {
    at: usize,
    log: &'a [Op<E>],
    durable: Durable,
}

impl<E: Clone> Cut<'_, E> {
    /// How many operations came before it.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// What had become durable elsewhere by then, in order.
    pub fn events(&self) -> impl Iterator<Item = &E> {
        self.log.iter().filter_map(|op| if let Op::Elsewhere(event) = op { Some(event) } else { None })
    }

    /// What the loss may have left; another one for each seed.
    #[must_use]
    pub fn image(&self, seed: u64) -> Image {
        let mut chance = Chance(seed ^ (self.at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let names = self.names(&mut chance);
        let left = names.into_iter().map(|(path, number)| (path, self.content(number, &mut chance)));
        Image { files: left.collect() }
    }

    fn names(&self, chance: &mut Chance) -> BTreeMap<PathBuf, FileNumber> {
        let mut names = self.durable.names.clone();
        for (at, op) in self.log.iter().enumerate() {
            let Some(folder) = folder_of(op) else { continue };
            let covered = self.durable.covered_folders.get(folder).copied().unwrap_or(0);
            if at >= covered && chance.coin() {
                rename(&mut names, op);
            }
        }
        names
    }

    fn content(&self, number: FileNumber, chance: &mut Chance) -> Vec<u8> {
        let durable = self.durable.files.get(&number).map(Vec::as_slice).unwrap_or_default();
        let covered = self.durable.covered_files.get(&number).copied().unwrap_or(0);
        let mut lengths = vec![durable.len()];
        let mut writes = Vec::new();
        let mut length = durable.len();
        for op in self.log.iter().skip(covered) {
            match op {
                Op::Wrote(of, offset, bytes) if *of == number => {
                    writes.push((place(*offset), bytes));
                    length = length.max(place(*offset) + bytes.len());
                }
                Op::Length(of, to) if *of == number => length = place(*to),
                _ => continue,
            }
            lengths.push(length);
        }
        let length = lengths.swap_remove(chance.below(lengths.len()));
        let mut content = durable.to_vec();
        let longest = lengths.into_iter().chain([length]).max().unwrap_or(0);
        let rubbish = if chance.below(4) == 0 { 0xa5 } else { 0 };
        content.resize(longest, rubbish);
        chance.shuffle(&mut writes);
        for (offset, bytes) in writes {
            match chance.below(3) {
                0 => {}
                1 => put(&mut content, bytes, offset),
                _ => {
                    let sector = if chance.coin() { 512 } else { 4096 };
                    for (at, part) in bytes.chunks(sector).enumerate() {
                        if chance.coin() {
                            put(&mut content, part, offset + at * sector);
                        }
                    }
                }
            }
        }
        content.truncate(length);
        content
    }
}

/// Writes into a content, which grows when it has to.
pub(super) fn put(content: &mut Vec<u8>, bytes: &[u8], offset: usize) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(there) = content.get_mut(offset..end) {
        there.copy_from_slice(bytes);
    }
}

fn rename<E>(names: &mut BTreeMap<PathBuf, FileNumber>, op: &Op<E>) {
    match op {
        Op::Named(path, number) => {
            names.insert(path.clone(), *number);
        }
        Op::Renamed(from, to) => {
            // Its making may have been lost.
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        Op::Removed(path) => {
            names.remove(path);
        }
        _ => {}
    }
}

const fn file_of<E>(op: &Op<E>) -> Option<FileNumber> {
    match op {
        Op::Wrote(number, ..) | Op::Length(number, _) => Some(*number),
        _ => None,
    }
}

fn folder_of<E>(op: &Op<E>) -> Option<&Path> {
    match op {
        Op::Named(path, _) | Op::Removed(path) | Op::Renamed(_, path) => path.parent(),
        _ => None,
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Random enough, and the same again for the same seed.
struct Chance(u64);

impl Chance {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % (most.max(1) as u64)).unwrap_or(0)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
