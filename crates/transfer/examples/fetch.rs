//! Fetches one blob from the command line.
//!
//! `cargo run -p carrel-transfer --example fetch -- --manifest M.json --out FILE --journal FILE URL…`
//!
//! Exit codes: 0 a verified file, 1 no verified file (the last line says why), 2 wrong arguments, 3 a damaged manifest.
//! The last line of standard output is one JSON object: `bytes, seconds, bytes_fetched, retries, outcome`.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use carrel_model::pieces::Manifest;
use carrel_transfer::{
    Control, FetchRequest, Fetcher, FetcherConfig, FileJournal, FixedSources, HttpClient, HttpOptions, State,
};
use clap::Parser;
use url::Url;

#[derive(Parser)]
#[command(about = "Fetches a blob into a verified, durable file")]
struct Arguments {
    /// The manifest as JSON: hash, size, pieces (`--example manifest` makes one).
    #[arg(long)]
    manifest: PathBuf,
    /// The file to write; continued when it is there.
    #[arg(long)]
    out: PathBuf,
    /// Where to remember verified pieces between runs.
    #[arg(long)]
    journal: PathBuf,
    /// PEM file of an authority to trust beside the system's.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Where the blob is, best first.
    #[arg(required = true)]
    urls: Vec<Url>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let manifest = match read_manifest(&arguments.manifest) {
        Ok(manifest) => manifest,
        Err(error) => {
            eprintln!("fetch: {}: {error}", arguments.manifest.display());
            return ExitCode::from(3);
        }
    };
    let mut options = HttpOptions::default();
    if let Some(path) = &arguments.ca {
        match std::fs::read(path) {
            Ok(pem) => options.extra_roots_pem.push(pem),
            Err(error) => {
                eprintln!("fetch: {}: {error}", path.display());
                return ExitCode::from(2);
            }
        }
    }
    let client = match HttpClient::new(&options) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("fetch: {error}");
            return ExitCode::from(2);
        }
    };
    let control = Control::new();
    let (shown, mut progress) = (control.progress(), control.progress());
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
    let stop = control.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.pause();
        }
    });

    let start = Instant::now();
    let fetcher = Fetcher::new(client, FetcherConfig::default());
    let request = FetchRequest::new(manifest, arguments.out);
    let sources = Arc::new(FixedSources(arguments.urls));
    let fetched = fetcher.fetch(request, sources, Arc::new(FileJournal::new(arguments.journal)), control).await;
    let seconds = start.elapsed().as_secs_f64();
    let reached = *shown.borrow();
    let outcome = fetched.as_ref().map_or_else(ToString::to_string, |_| "verified".to_owned());
    let line = serde_json::json!({
        "bytes": reached.bytes_verified, "seconds": seconds, "bytes_fetched": reached.bytes_fetched,
        "retries": reached.retries, "outcome": outcome,
    });
    println!("{line}");
    if fetched.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_manifest(path: &PathBuf) -> Result<Manifest, Box<dyn std::error::Error>> {
    let text = std::fs::read(path)?;
    Ok(serde_json::from_slice(&text).map_err(|error| format!("the manifest is damaged: {error}"))?)
}
