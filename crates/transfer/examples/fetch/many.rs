//! Many files into a folder.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use carrel_model::BlobHash;
use carrel_transfer::{
    Control, FetchError, FetchRequest, Fetcher, FileJournal, Job, Journal, NoJournal, Places, ResolveReason, Source,
    SourceError, Sources,
};
use url::Url;

use crate::{
    Outcome,
    work::{Entry, JOURNALS},
};

/// Each path joined to each base.
pub(crate) struct Bases {
    bases: Vec<Url>,
    paths: HashMap<BlobHash, String>,
}

impl Bases {
    /// `None`: one of them can't be joined to.
    pub(crate) fn new(bases: Vec<Url>, entries: &[Entry]) -> Option<Self> {
        let paths = entries.iter().map(|entry| (entry.manifest.hash(), entry.path.clone())).collect();
        bases.iter().all(|base| !base.cannot_be_a_base()).then_some(Self { bases, paths })
    }
}

#[async_trait::async_trait]
impl Sources for Bases {
    async fn resolve(&self, blob: BlobHash, _: ResolveReason) -> Result<Vec<Source>, SourceError> {
        let path = self.paths.get(&blob).ok_or(SourceError::Gone)?;
        Ok(self.bases.iter().filter_map(|base| join(base, path)).map(Source::new).collect())
    }
}

fn join(base: &Url, path: &str) -> Option<Url> {
    let mut url = base.clone();
    // Encodes each segment; the base's query stays.
    url.path_segments_mut().ok()?.pop_if_empty().extend(path.split('/'));
    Some(url)
}

pub(crate) async fn fetch(
    fetcher: &Fetcher,
    entries: Vec<Entry>,
    sources: Bases,
    out: &Path,
    journal: Option<&Path>,
    control: Control,
) -> Outcome {
    let progress = control.progress();
    let files = entries.len();
    let journals = Journals { folder: journal.map_or_else(|| out.join(JOURNALS), Path::to_owned), out: out.to_owned() };
    let (mut bytes, mut verified, mut first) = (0, 0, None);
    if let Err(error) =
        refuse_links(out, &entries).and_then(|()| make_folders(out, &entries)).and_then(|()| journals.make(&entries))
    {
        first = Some(format!("the folders can't be made: {error}"));
    } else {
        let names = sources.paths.clone();
        let jobs: Vec<Job> = entries.into_iter().map(|entry| journals.job(entry)).collect();
        let mut many = fetcher.fetch_many(jobs, Arc::new(sources), Places::default(), control);
        while let Some((blob, result)) = many.next().await {
            match result {
                Ok(fetched) => {
                    verified += 1;
                    bytes += fetched.bytes;
                    journals.forget(&fetched.path);
                }
                Err(error) => {
                    if !matches!(error, FetchError::Paused | FetchError::Cancelled) {
                        eprintln!("fetch: {}: {error}", names.get(&blob).map_or("?", String::as_str));
                    }
                    first.get_or_insert(error.to_string());
                }
            }
        }
        journals.leave(verified == files);
    }
    let reached = *progress.borrow();
    let outcome = match first {
        Some(first) => first,
        None if verified == files => "verified".to_owned(),
        None => "paused".to_owned(),
    };
    Outcome {
        files: Some(files),
        failed: files - verified,
        bytes,
        bytes_fetched: reached.bytes_fetched,
        retries: reached.retries,
        outcome,
    }
}

/// No file is written through a link that somebody put into the folder: it may lead anywhere.
fn refuse_links(out: &Path, entries: &[Entry]) -> io::Result<()> {
    let ends = |path: &str| path.match_indices('/').map(|(end, _)| end).chain([path.len()]).collect::<Vec<_>>();
    let mut names = BTreeSet::from([JOURNALS]);
    for entry in entries {
        names.extend(ends(&entry.path).into_iter().filter_map(|end| entry.path.get(..end)));
    }
    for name in names {
        let path = out.join(name);
        match fs::symlink_metadata(&path) {
            Ok(there) if there.file_type().is_symlink() => {
                let why = format!("{} is a symbolic link", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes the folders of all files, their own names durable.
fn make_folders(out: &Path, entries: &[Entry]) -> io::Result<()> {
    make_folder(out)?;
    let mut folders = BTreeSet::new();
    for entry in entries {
        folders.extend(entry.path.match_indices('/').filter_map(|(end, _)| entry.path.get(..end)));
    }
    // A folder sorts before what is in it.
    folders.into_iter().try_for_each(|folder| make_folder(&out.join(folder)))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    if let Some(parent) = folder.parent() {
        fs::File::open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?.sync_all()?;
    }
    Ok(())
}

/// The journals of blobs of several pieces, one file each, named after the hash of the path.
struct Journals {
    folder: PathBuf,
    out: PathBuf,
}

impl Journals {
    fn make(&self, entries: &[Entry]) -> io::Result<()> {
        if entries.iter().any(|entry| entry.manifest.piece_count() > 1) {
            fs::create_dir_all(&self.folder)?;
        }
        Ok(())
    }

    fn job(&self, entry: Entry) -> Job {
        let path = self.out.join(&entry.path);
        let journal: Arc<dyn Journal> = if entry.manifest.piece_count() > 1 {
            Arc::new(FileJournal::new(self.place(&path)))
        } else {
            Arc::new(NoJournal)
        };
        Job { request: FetchRequest::new(entry.manifest, path), journal }
    }

    fn place(&self, path: &Path) -> PathBuf {
        let path = path.strip_prefix(&self.out).unwrap_or(path);
        self.folder.join(BlobHash::of(path.as_os_str().as_encoded_bytes()).to_string())
    }

    /// The file is complete: nothing needs to be remembered of it.
    fn forget(&self, path: &Path) {
        fs::remove_file(self.place(path)).ok();
    }

    fn leave(&self, complete: bool) {
        if complete {
            // Not when something else is in it.
            fs::remove_dir(&self.folder).ok();
        }
    }
}
