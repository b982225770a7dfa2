//! Fetches a blob, or many, from the command line.
//!
//! `cargo run --release -p carrel-transfer --example fetch -- --manifest M.json --out FILE --journal FILE URL…`
//! `cargo run --release -p carrel-transfer --example fetch -- --manifest DIR.json --out DIR --sources URL…`
//!
//! Exit codes: 0 all verified and durable, 1 not all (the last line says why), 2 wrong arguments, 3 a damaged manifest.
//! The last line of standard output is one JSON object: `bytes, seconds, bytes_fetched, retries, outcome`; of many also
//! `files` and `failed`, and `outcome` is the first failure. Ctrl-C pauses; the same command goes on from there.

mod arguments;
mod many;
mod work;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_model::pieces::Manifest;
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
    let arguments = Arguments::parse();
    let start = Instant::now();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build();
    let (outcome, code) = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => failed(&format!("no runtime: {error}"), 1),
    };
    let mut line = serde_json::json!({
        "bytes": outcome.bytes, "seconds": start.elapsed().as_secs_f64(), "bytes_fetched": outcome.bytes_fetched,
        "retries": outcome.retries, "outcome": outcome.outcome,
    });
    if let (Some(files), Some(line)) = (outcome.files, line.as_object_mut()) {
        line.insert("files".to_owned(), files.into());
        line.insert("failed".to_owned(), outcome.failed.into());
    }
    println!("{line}");
    ExitCode::from(code)
}

async fn run(arguments: &Arguments) -> (Outcome, u8) {
    let shown = arguments.manifest.display();
    let work = std::fs::read(&arguments.manifest).map_err(Into::into).and_then(|text| work::read(&text));
    let work = match work {
        Ok(work) => work,
        Err(error) => return failed(&format!("{shown}: {error}"), 3),
    };
    let client = match client(arguments) {
        Ok(client) => client,
        Err(error) => return failed(&error, 2),
    };
    let mut config = FetcherConfig::default();
    config.stall_after = Duration::from_secs(arguments.stall);
    config.attempts = arguments.attempts;
    if let Some(connections) = arguments.connections {
        config.connections = connections.into();
    }
    let fetcher = Fetcher::new(client, config);
    if let Some(Rate(rate)) = arguments.rate {
        fetcher.set_rate(rate);
    }
    let control = Control::new();
    pause_on_signal(control.clone());
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
    name.push(".carrel-journal");
    name.into()
}

fn client(arguments: &Arguments) -> Result<HttpClient, String> {
    let mut options = HttpOptions::default();
    options.http2 = arguments.http2.into();
    if let Some(path) = &arguments.ca {
        let pem = std::fs::read(path).map_err(|error: io::Error| format!("{}: {error}", path.display()))?;
        options.extra_roots_pem.push(pem);
    }
    HttpClient::new(&options).map_err(|error| error.to_string())
}

/// An end before the first byte.
fn failed(why: &str, code: u8) -> (Outcome, u8) {
    eprintln!("fetch: {why}");
    let outcome = why.to_owned();
    (Outcome { files: None, failed: 1, bytes: 0, bytes_fetched: 0, retries: 0, outcome }, code)
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
