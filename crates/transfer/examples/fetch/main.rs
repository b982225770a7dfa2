//! Fetches a blob, or many, from the command line.
//!
//! `cargo run --release -p carrel-transfer --example fetch -- --manifest M.json --out FILE --journal FILE URL…`
//! `cargo run --release -p carrel-transfer --example fetch -- --manifest DIR.json --out DIR --sources URL…`
//!
//! Exit codes: 0 all verified and durable, 1 not all (the last line says why), 2 wrong arguments, 3 a damaged manifest.
//! The last line of standard output is one JSON object, whatever happens: `bytes, seconds, bytes_fetched, retries, outcome`; of many also
//! `files` and `failed`, and `outcome` is the first failure. Ctrl-C pauses; the same command goes on from there.

mod arguments;
mod many;
mod work;

use std::{
    io,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_model::{BlobHash, pieces::Manifest};
use carrel_transfer::{
    Control, FetchRequest, Fetcher, FetcherConfig, FileJournal, FixedSources, HttpClient, HttpOptions, State,
};
use clap::Parser as _;

use crate::{
    arguments::{Arguments, Rate},
    many::Bases,
    work::Work,
};

/// Threads for what blocks; many small files need no thread each.
const BLOCKING_THREADS: usize = 16;

/// The longest name of a file that has room for the journal's beside it.
const LONGEST_NAME: usize = 200;

/// How it went.
struct Outcome {
    /// Of many: how many.
    files: Option<usize>,
    /// How many of them aren't there.
    failed: usize,
    bytes: u64,
    bytes_fetched: u64,
    retries: u32,
    outcome: String,
}

fn main() -> ExitCode {
    let start = Instant::now();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            if error.use_stderr() {
                let text = error.to_string();
                print_line(&refused(text.lines().next().unwrap_or("wrong arguments")), start);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build();
    let (outcome, code) = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => failed(&format!("no runtime: {error}"), 1),
    };
    print_line(&outcome, start);
    ExitCode::from(code)
}

fn print_line(outcome: &Outcome, start: Instant) {
    let mut line = serde_json::json!({
        "bytes": outcome.bytes, "seconds": start.elapsed().as_secs_f64(), "bytes_fetched": outcome.bytes_fetched,
        "retries": outcome.retries, "outcome": outcome.outcome,
    });
    if let (Some(files), Some(line)) = (outcome.files, line.as_object_mut()) {
        line.insert("files".to_owned(), files.into());
        line.insert("failed".to_owned(), outcome.failed.into());
    }
    // Nobody may be listening any more.
    writeln!(io::stdout(), "{line}").ok();
}

async fn run(arguments: &Arguments) -> (Outcome, u8) {
    let shown = arguments.manifest.display();
    let work = std::fs::read(&arguments.manifest).map_err(Into::into).and_then(|text| work::read(&text));
    let work = match work {
        Ok(work) => work,
        Err(error) => return failed(&format!("{shown}: {error}"), 3),
    };
    let sources = arguments.all_sources();
    if let Some(source) = sources.iter().find(|source| !matches!(source.scheme(), "http" | "https")) {
        return failed(&format!("only http and https can be fetched from, not {}", source.scheme()), 2);
    }
    let journal = arguments.journal.clone().unwrap_or_else(|| beside(&arguments.out));
    if matches!(work, Work::One(_)) && FileJournal::new(journal).is_at(&arguments.out) {
        return failed("the journal can't be in the place of the file", 2);
    }
    // Of many files the big ones have connections of their own, beside those that the small ones share.
    let allowed = arguments.connections.map(usize::from).map(|most| match work {
        Work::One(_) => (most, most),
        Work::Many(_) => (most.div_ceil(2), (most / 2).max(1)),
    });
    let client = match client(arguments, allowed.map(|(_, shared)| shared)) {
        Ok(client) => client,
        Err(error) => return failed(&error, 2),
    };
    let mut config = FetcherConfig::default();
    config.stall_after = Duration::from_secs(arguments.stall);
    config.attempts = arguments.attempts;
    if let Some((own, _)) = allowed {
        config.connections = own;
    }
    let fetcher = Fetcher::new(client, config);
    if let Some(Rate(rate)) = arguments.rate {
        fetcher.set_rate(rate);
    }
    let control = Control::new();
    pause_on_signal(control.clone());
    #[cfg(unix)]
    let _outlived = outlive_file_limits();
    show_states(&control);
    let outcome = match work {
        Work::One(manifest) => one(&fetcher, manifest, arguments, control).await,
        Work::Many(entries) => {
            let Some(sources) = Bases::new(arguments.all_sources(), &entries) else {
                return failed("a source can't be joined with a path", 2);
            };
            many::fetch(&fetcher, entries, sources, &arguments.out, arguments.journal.as_deref(), control).await
        }
    };
    let code = u8::from(outcome.failed > 0);
    (outcome, code)
}

async fn one(fetcher: &Fetcher, manifest: Manifest, arguments: &Arguments, control: Control) -> Outcome {
    let progress = control.progress();
    let request = FetchRequest::new(manifest, &arguments.out);
    let sources = Arc::new(FixedSources(arguments.all_sources()));
    let journal = arguments.journal.clone().unwrap_or_else(|| beside(&arguments.out));
    let fetched = fetcher.fetch(request, sources, Arc::new(FileJournal::new(&journal)), control).await;
    if fetched.is_ok() && arguments.journal.is_none() {
        std::fs::remove_file(journal).ok();
    }
    let reached = *progress.borrow();
    Outcome {
        files: None,
        failed: usize::from(fetched.is_err()),
        bytes: reached.bytes_verified,
        bytes_fetched: reached.bytes_fetched,
        retries: reached.retries,
        outcome: fetched.as_ref().map_or_else(ToString::to_string, |_| "verified".to_owned()),
    }
}

fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    if out.file_name().is_some_and(|name| name.len() > LONGEST_NAME) {
        // One that is as long as a name can be leaves no room for more.
        name = out.with_file_name(BlobHash::of(name.as_encoded_bytes()).to_string()).into();
    }
    name.push(".carrel-journal");
    name.into()
}

fn client(arguments: &Arguments, connections: Option<usize>) -> Result<HttpClient, String> {
    let mut options = HttpOptions::default();
    options.connections = connections.unwrap_or(options.connections);
    options.http2 = arguments.http2.into();
    if let Some(path) = &arguments.ca {
        let pem = std::fs::read(path).map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
        options.extra_roots_pem.push(pem);
    }
    HttpClient::new(&options).map_err(|error| error.to_string())
}

/// An end before the first byte.
fn failed(why: &str, code: u8) -> (Outcome, u8) {
    writeln!(io::stderr(), "fetch: {why}").ok();
    (refused(why), code)
}

fn refused(why: &str) -> Outcome {
    Outcome { files: None, failed: 1, bytes: 0, bytes_fetched: 0, retries: 0, outcome: why.to_owned() }
}

/// The first signal pauses, the second cancels.
fn pause_on_signal(control: Control) {
    tokio::spawn(async move {
        if signalled().await.is_ok() {
            control.pause();
        }
        if signalled().await.is_ok() {
            control.cancel();
        }
    });
}

/// A file that grows beyond a limit (`ulimit -f`) is an error of that file, not the end of the process.
#[cfg(unix)]
fn outlive_file_limits() -> io::Result<tokio::signal::unix::Signal> {
    /// `SIGXFSZ` on Linux (but MIPS), macOS and the BSDs.
    const TOO_LARGE: i32 = 25;
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(TOO_LARGE))
}

#[cfg(unix)]
async fn signalled() -> io::Result<()> {
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => interrupt,
        _ = term.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signalled() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

fn show_states(control: &Control) {
    let mut progress = control.progress();
    tokio::spawn(async move {
        let mut last = State::Waiting;
        while progress.changed().await.is_ok() {
            let state = progress.borrow_and_update().state;
            if state != last {
                eprintln!("fetch: {state:?}");
                last = state;
            }
        }
    });
}
