//! One trial of the fault matrix: a fault, a start, a kind of blob; what must come of it, and what must never.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use carrel_model::pieces::{Manifest, PIECE_BYTES};
use carrel_testbed::{
    hostile::{Blob, Fault, Front},
    http_origin::{Act, Origin, Seen},
};
use carrel_transfer::{
    Control, FetchError, FetchRequest, Fetched, Fetcher, FetcherConfig, FileJournal, FixedSources, Http2, HttpClient,
    HttpOptions, Journal as _, PieceSet,
};

use super::{MIB, QuickClock, content, manifest_of};

/// No fetch takes longer, whatever is done to it; generous, as other work may run on the machine.
const LIMIT: Duration = Duration::from_secs(30);

/// What went before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Fresh,
    /// A run of the same fetcher that failed in the middle.
    AfterFailure,
    /// A run of the same fetcher that was paused in the middle.
    AfterPause,
    /// A run of another process: of it there are the part file and the journal.
    NewProcess,
}

/// How the blob is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One piece: no journal.
    Tiny,
    /// A few pieces, on the shared line.
    Small,
    /// The same over TLS and HTTP/2.
    SmallHttp2,
    /// On a line of its own.
    Big,
    /// The same over HTTP/2.
    BigHttp2,
}

impl Kind {
    const fn size(self) -> u64 {
        match self {
            Self::Tiny => 300_007,
            Self::Small | Self::SmallHttp2 => 2 * MIB + 123,
            Self::Big | Self::BigHttp2 => 5 * MIB + 5,
        }
    }

    /// The fault as it is played to this kind of blob; `None` where there is no such thing.
    fn fault(self, fault: &Fault) -> Option<Fault> {
        // In HTTP/2 a length that isn't the body's is an error of the protocol, not one of the file; and what isn't TLS
        // is no trusted connection, however often it is tried.
        const ONLY_HTTP1: [&str; 3] = ["chunked-and-length", "rubbish", "rubbish-once"];
        let mut fault = *fault;
        match (self, fault.front) {
            (Self::SmallHttp2, Front::Plain) if !ONLY_HTTP1.contains(&fault.name) => fault.front = Front::Http2,
            (Self::SmallHttp2, _) => return None,
            (Self::BigHttp2, Front::Http2 | Front::OneStream) => {}
            (Self::BigHttp2, _) => return None,
            _ => {}
        }
        Some(fault)
    }
}

/// What a lasting fault must end with.
pub type Expected = fn(&FetchError) -> bool;

pub struct Trial {
    fault: Fault,
    start: Start,
    kind: Kind,
    folder: tempfile::TempDir,
    content: Vec<u8>,
    manifest: Arc<Manifest>,
    origin: Origin,
    authority: Option<String>,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.fault.name, self.kind)
    }
}

impl Trial {
    pub async fn new(fault: &Fault, start: Start, kind: Kind) -> Option<Self> {
        let fault = kind.fault(fault)?;
        let size = if fault.blob == Blob::Empty { 0 } else { kind.size() };
        let content = content(size, size + 3);
        let (origin, authority) = fault.origin(content.clone().into()).await.unwrap();
        let manifest = Arc::new(manifest_of(&content));
        let folder = tempfile::tempdir().unwrap();
        Some(Self { fault, start, kind, folder, content, manifest, origin, authority })
    }

    /// Plays it through; says what is wrong.
    pub async fn run(&self, expected: Option<Expected>) -> Result<(), String> {
        let fetcher = self.fetcher();
        let fetcher = self.begin(fetcher).await?;
        let known = self.known().await;
        let asked_before = self.origin.seen().len();
        let connections = self.origin.connections();
        self.fault.play(&self.origin, self.content.len() as u64);

        let outcome = self.fetch(&fetcher, &self.origin, Control::new()).await?;
        self.asks_only_for_what_is_missing(&known, asked_before)?;
        match (outcome, self.fault.passes, expected) {
            (Ok(fetched), true, _) => {
                self.file_is_right()?;
                if self.fault.blob == Blob::There && fetched.bytes_fetched > 0 {
                    return Err(format!("{} bytes were fetched of a file that was whole", fetched.bytes_fetched));
                }
                return self.nothing_else_was_written();
            }
            (Ok(_), false, _) => {
                self.file_is_right()?;
                // What happens to new connections doesn't happen to one that was kept.
                if self.origin.seen().iter().skip(asked_before).all(|seen| seen.connection < connections) {
                    return Ok(());
                }
                return Err("it went well, which no lasting fault lets happen".to_owned());
            }
            (Err(error), false, Some(expected)) if expected(&error) => {}
            (Err(error), ..) => {
                let asked: Vec<_> = self.origin.seen().iter().map(|seen| seen.range).collect();
                return Err(format!("ended with {error:?}, having asked for {asked:?}"));
            }
        }
        self.nothing_else_was_written()?;

        // The fault is over: what was verified before it and through it is still there.
        let known = self.known().await;
        let asked_before = self.origin.seen().len();
        self.origin.recover();
        let elsewhere = match self.fault.front {
            Front::Flawed(_) => Some(Origin::start(self.content.clone()).await.unwrap()),
            _ => None,
        };
        let fetcher = if self.start == Start::NewProcess { self.fetcher() } else { fetcher };
        let origin = elsewhere.as_ref().unwrap_or(&self.origin);
        self.fetch(&fetcher, origin, Control::new()).await?.map_err(|error| format!("afterwards: {error:?}"))?;
        self.file_is_right()?;
        self.asks_only_for_what_is_missing(&known, asked_before)
    }

    /// Brings about what went before.
    async fn begin(&self, fetcher: Fetcher) -> Result<Fetcher, String> {
        let size = self.content.len() as u64;
        if self.fault.blob == Blob::There {
            std::fs::write(self.path(), &self.content).unwrap();
        }
        match self.start {
            Start::Fresh => {}
            Start::AfterFailure | Start::NewProcess => {
                self.origin.script([Act::CutAfter(size / 5 * 2)]);
                self.origin.always(Act::status(404));
                self.fetch(&fetcher, &self.origin, Control::new()).await?.ok();
            }
            Start::AfterPause => {
                self.origin.always(Act::StallAfter(size / 5 * 2));
                let control = Control::new();
                let half_way = async {
                    while self.origin.body_bytes() < size / 5 * 2 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    control.pause();
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    ended = self.fetch(&fetcher, &self.origin, control.clone()) => { ended?.ok(); }
                    () = half_way => {}
                }
            }
        }
        self.origin.recover();
        Ok(if self.start == Start::NewProcess { self.fetcher() } else { fetcher })
    }

    fn fetcher(&self) -> Fetcher {
        let mut options = HttpOptions::default();
        options.extra_roots_pem.extend(self.authority.iter().map(|pem| pem.clone().into_bytes()));
        if self.kind == Kind::BigHttp2 {
            options.http2 = Http2::Always;
        }
        let mut config = FetcherConfig::default();
        config.stall_after = Duration::from_millis(700);
        config.attempts = 4;
        let clock: Arc<QuickClock> = Arc::default();
        config.clock = clock;
        Fetcher::new(HttpClient::new(&options).unwrap(), config)
    }

    async fn fetch(
        &self,
        fetcher: &Fetcher,
        origin: &Origin,
        control: Control,
    ) -> Result<Result<Fetched, FetchError>, String> {
        let request = FetchRequest::new(Arc::clone(&self.manifest), self.path());
        let sources = Arc::new(FixedSources(vec![origin.url("/blob").parse().unwrap()]));
        let fetching = fetcher.fetch(request, sources, Arc::new(self.journal()), control);
        tokio::time::timeout(LIMIT, fetching).await.map_err(|_| format!("hangs: not over after {LIMIT:?}"))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("blob.part")
    }

    fn journal(&self) -> FileJournal {
        FileJournal::new(self.folder.path().join("journal"))
    }

    /// The pieces the journal knows.
    async fn known(&self) -> PieceSet {
        let pieces = self.manifest.piece_count();
        let known = self.journal().load(self.manifest.hash(), pieces).await.unwrap();
        known.unwrap_or_else(|| PieceSet::new(pieces))
    }

    /// Nothing verified is fetched twice: no request since then asks for a byte of a piece that was known then.
    fn asks_only_for_what_is_missing(&self, known: &PieceSet, since: usize) -> Result<(), String> {
        for Seen { range, .. } in self.origin.seen().into_iter().skip(since) {
            let Some((first, last)) = range else { continue };
            let last = last.unwrap_or(u64::MAX).min(self.manifest.size().saturating_sub(1));
            let again = (first / PIECE_BYTES..=last / PIECE_BYTES).find(|piece| known.contains(*piece));
            if let Some(piece) = again {
                return Err(format!("piece {piece} was known, and is asked for again in {first}-{last}"));
            }
        }
        Ok(())
    }

    fn file_is_right(&self) -> Result<(), String> {
        let there = std::fs::read(self.path()).map_err(|error| error.to_string())?;
        if there == self.content { Ok(()) } else { Err("CORRUPT: it went well and the file is wrong".to_owned()) }
    }

    /// Whatever a server calls the file: only the part file and the journal are there.
    fn nothing_else_was_written(&self) -> Result<(), String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| !matches!(name.as_str(), "blob.part" | "journal" | "journal.new"))
            .collect();
        names.sort();
        if names.is_empty() { Ok(()) } else { Err(format!("files nobody asked for: {names:?}")) }
    }
}
