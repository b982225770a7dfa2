//! How a long queue behaves: `cargo run --release -p carrel-engine --example queue -- --downloads 500 --items 100`
//!
//! A service with a course of so many units, each of so many lessons, runs in a process of its own. The engine signs in,
//! pulls the catalogue and takes every unit along through its public door; blobs are asked for and never come, so that the
//! queue stays as long as it is. Prints one line of JSON:
//!
//! - `enqueue_seconds`: from the wish to durable rows, the service's answers included; `service_seconds` of them were spent
//!   by the service (its processor time);
//! - `extra_memory_bytes`: the highest the process stood above where it was before the wish;
//! - `priority_ms`, `reorder_ms`: until the change was durable, the median of 21 and `…_worst`;
//! - `plan_ms`: from the moment a running download was stopped until another one ran in its place;
//! - `list_ms`: all downloads as the screen gets them.

mod figures;
mod school;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_engine::{
    Engine, EngineConfig, EngineEvent, Ports,
    access::view::SignIn,
    downloads::view::{MoveDownload, SetPriority, StartDownload},
    model::{DownloadId, ProfileId, UnitId, download::DownloadState},
    ports::{FileSecrets, Observed, Power, SystemClock, UnknownLink, http_client},
};
use futures_util::StreamExt as _;
use serde_json::json;

/// How often an order is changed.
const TIMES: usize = 21;
/// For anything here.
const PATIENCE: Duration = Duration::from_secs(600);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the queue is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) downloads: usize,
    pub(crate) items: usize,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut shape = Shape { downloads: 500, items: 100 };
    let mut serve = false;
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).ok_or("a number is wanted");
        match argument.as_str() {
            "--downloads" => shape.downloads = number()?,
            "--items" => shape.items = number()?,
            "--serve" => serve = true,
            other => return Err(format!("unknown: {other}; --downloads N, --items N").into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { if serve { school::serve(shape).await } else { measure(shape).await } })
}

/// The service in its own process; it ends with this one, and takes its folder with it.
struct Service(Child);

impl Service {
    fn start(shape: Shape) -> Result<(Self, String), Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", "--downloads", &shape.downloads.to_string(), "--items", &shape.items.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok((Self(child), line.trim().to_owned()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It reads from here, and ends when there is nothing more to come.
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

async fn measure(shape: Shape) -> Result<(), Failure> {
    let (service, url) = Service::start(shape)?;
    let folder = tempfile::tempdir()?;
    let engine = open(folder.path()).await?;
    let sign_in = SignIn { service_url: url, name: school::NAME.to_owned(), password: school::PASSWORD.to_owned() };
    let profile = engine.access().sign_in(sign_in).await?.id;
    let units = catalogue(&engine, profile, shape.downloads).await?;

    let wishes = units.iter().map(|unit_id| StartDownload { unit_id: *unit_id, lesson_id: None, quality: None });
    figures::forget_peak();
    let (before, service_before) = (figures::memory()?, figures::processor_seconds(service.0.id()));
    let begun = Instant::now();
    let refused = engine.downloads().start_all(profile, wishes.collect()).await?;
    let enqueue_seconds = begun.elapsed().as_secs_f64();
    let service_seconds = figures::processor_seconds(service.0.id()) - service_before;
    if let Some((_, error)) = refused.into_iter().next() {
        return Err(error.into());
    }
    let after = figures::memory()?;

    let begun = Instant::now();
    let all = engine.downloads().list(profile).await?.downloads;
    let list_ms = figures::ms(begun.elapsed());
    let bytes_total: u64 = all.iter().map(|view| view.bytes_total).sum();
    let ids: Vec<DownloadId> = all.iter().map(|view| view.id).collect();
    drop(all);

    let mut priority = Vec::new();
    let mut reorder = Vec::new();
    for turn in 0..TIMES {
        let at = |n: usize| ids.get(n % ids.len()).copied().ok_or("nothing is queued");
        let request =
            SetPriority { download_id: at(ids.len() / 2 + turn)?, priority: if turn % 2 == 0 { 9 } else { 4 } };
        let begun = Instant::now();
        engine.downloads().set_priority(profile, request).await?;
        priority.push(begun.elapsed());
        let request = MoveDownload { download_id: at(ids.len() - 1 - turn)?, before: Some(at(ids.len() / 3)?) };
        let begun = Instant::now();
        engine.downloads().reorder(profile, request).await?;
        reorder.push(begun.elapsed());
    }
    let plan_ms = if shape.downloads > 3 { Some(plan(&engine, profile).await?) } else { None };
    let figures = json!({
        "downloads": shape.downloads,
        "items": shape.items,
        "bytes_total": bytes_total,
        "enqueue_seconds": enqueue_seconds,
        "service_seconds": service_seconds,
        "extra_memory_bytes": after.peak.saturating_sub(before.now),
        "extra_memory_after_bytes": after.now.saturating_sub(before.now),
        "priority_ms": figures::median(&mut priority),
        "priority_ms_worst": priority.last().copied().map(figures::ms),
        "reorder_ms": figures::median(&mut reorder),
        "reorder_ms_worst": reorder.last().copied().map(figures::ms),
        "plan_ms": plan_ms,
        "list_ms": list_ms,
    });
    println!("{figures}");
    engine.close().await;
    Ok(())
}

async fn open(folder: &Path) -> Result<Engine, Failure> {
    let ports = Ports {
        clock: Arc::new(SystemClock::default()),
        network: Arc::new(UnknownLink::default()),
        power: Arc::new(Observed::new(Power::Unknown)),
        secrets: Arc::new(FileSecrets::new(folder)),
        http: http_client()?,
    };
    Ok(Engine::open(EngineConfig { data_dir: folder.to_owned(), device_name: "queue".to_owned() }, ports).await?)
}

/// Waits until the whole catalogue is here.
async fn catalogue(engine: &Engine, profile: ProfileId, wanted: usize) -> Result<Vec<UnitId>, Failure> {
    let begun = Instant::now();
    loop {
        let library = engine.catalogue().library(profile).await?;
        let units: Vec<UnitId> = library.courses.iter().flat_map(|course| &course.units).map(|unit| unit.id).collect();
        if units.len() >= wanted {
            return Ok(units);
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("only {} units came", units.len()).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Stops what runs first; gives the time until another download runs in its place.
async fn plan(engine: &Engine, profile: ProfileId) -> Result<f64, Failure> {
    let running = async || -> Result<Vec<DownloadId>, Failure> {
        let all = engine.downloads().list(profile).await?.downloads;
        Ok(all.iter().filter(|view| view.state == DownloadState::Downloading).map(|view| view.id).collect())
    };
    let before = running().await?;
    let first = before.first().copied().ok_or("nothing runs")?;
    let mut events = engine.events();
    let begun = Instant::now();
    engine.downloads().pause(profile, first).await?;
    while begun.elapsed() < PATIENCE {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.map_err(|_| "no other runs")?;
        let Some(EngineEvent::Downloads { changed, .. }) = event else { continue };
        let new = |view: &&carrel_engine::downloads::view::DownloadView| {
            view.state == DownloadState::Downloading && !before.contains(&view.id)
        };
        if changed.iter().find(new).is_some() {
            return Ok(figures::ms(begun.elapsed()));
        }
    }
    Err("no other runs".into())
}
