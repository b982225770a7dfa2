//! `cargo xtask hostile`: what a download survives, ours beside the programs people have.
//!
//! Every fault of the catalogue is played to every program on a fresh server. A program that fails is called again, as
//! somebody would who wants the file; one that says it went well is believed only as far as its file is right. The faults
//! are written in `testbed`, which also plays them to the tests; here is only the comparison.

mod programs;
mod server;
mod table;
mod trial;

use std::{
    collections::VecDeque,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    places,
    program::{self, cargo, program},
};
use programs::Program;
use server::{Fault, Server};
use table::Row;
use trial::Outcome;

/// Which faults, and where to put the table.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only faults whose name contains this
    #[arg(long = "fault")]
    faults: Vec<String>,
    /// Runs at the same time; most of their time is waiting
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Write the table as Markdown to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the table as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take the programs as they were built last
    #[arg(long)]
    no_build: bool,
}

/// Large enough for a connection of its own and several pieces.
const FILE_BYTES: usize = (5 << 20) + 4321;

/// Runs it and leaves nothing behind but what was asked for.
pub(crate) fn run(options: &Options) -> Result<()> {
    let missing = programs::missing();
    if !missing.is_empty() {
        bail!("not installed: {}; on Debian or Ubuntu: apt install {}", missing.join(", "), missing.join(" "));
    }
    let folder = places::scratch("hostile");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let result = compare(options, &folder);
    std::fs::remove_dir_all(&folder).with_context(|| format!("can't remove {}", folder.display()))?;
    result
}

fn compare(options: &Options, folder: &Path) -> Result<()> {
    if !options.no_build {
        let mut build = cargo();
        build.args(["build", "--release", "--package", "carrel-transfer", "--package", "carrel-testbed"]);
        program::run(build.args(["--example", "fetch", "--example", "manifest", "--example", "hostile"]))?;
    }
    let ground = Ground::prepare(folder)?;
    let (server, faults) = Server::start(program(release("hostile")).arg(&ground.file))?;
    let wanted =
        |fault: &Fault| options.faults.is_empty() || options.faults.iter().any(|part| fault.name.contains(part));
    let faults: Vec<Fault> = faults.into_iter().filter(wanted).collect();
    let begun = Instant::now();
    let rows = play(&ground, &server, &faults, options.jobs)?;

    table::print(&rows);
    println!("{} faults, {} programs, {:.0} s", rows.len(), Program::ALL.len(), begun.elapsed().as_secs_f64());
    if let Some(path) = &options.markdown {
        std::fs::write(path, table::markdown(&rows)).with_context(|| format!("can't write {}", path.display()))?;
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&table::json(&rows))?;
        std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    let lost: Vec<&str> = rows.iter().filter(|row| row.is_lost()).map(|row| row.fault.name.as_str()).collect();
    if !lost.is_empty() {
        bail!("carrel did not survive: {}", lost.join(", "));
    }
    Ok(())
}

/// What there is to fetch.
struct Ground {
    folder: PathBuf,
    file: PathBuf,
    content: Vec<u8>,
    sha256: String,
    manifest: PathBuf,
    empty_manifest: PathBuf,
}

/// SHA-256 of nothing.
const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl Ground {
    fn prepare(folder: &Path) -> Result<Self> {
        let (file, empty) = (folder.join("origin.bin"), folder.join("empty.bin"));
        let content = content();
        File::create(&file)?.write_all(&content)?;
        File::create(&empty)?;
        let manifest = |of: &Path, to: &str| -> Result<PathBuf> {
            let text = program::output(program(release("manifest")).arg(of)).context("can't make the manifest")?;
            let path = folder.join(to);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let (manifest, empty_manifest) = (manifest(&file, "manifest.json")?, manifest(&empty, "empty.json")?);
        let digest = program::output(program("sha256sum").arg(&file)).context("can't run sha256sum")?;
        let sha256 = digest.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self { folder: folder.to_owned(), file, content, sha256, manifest, empty_manifest })
    }
}

/// Bytes that don't compress; the same ones each time.
fn content() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(FILE_BYTES).collect()
}

fn release(example: &str) -> PathBuf {
    places::target().join("release").join("examples").join(example).with_extension(std::env::consts::EXE_EXTENSION)
}

/// Every fault to every program, several at once.
fn play(ground: &Ground, server: &Server, faults: &[Fault], jobs: u8) -> Result<Vec<Row>> {
    // Fault by fault, so that a table that is cut short is whole as far as it goes.
    let works =
        faults.iter().enumerate().flat_map(|(index, fault)| Program::ALL.map(|program| (index, fault, program)));
    let works: Mutex<VecDeque<(usize, &Fault, Program)>> = Mutex::new(works.collect());
    let rows: Vec<Row> = faults.iter().map(|fault| Row::new(fault.clone())).collect();
    let rows = Mutex::new(rows);
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let next = works.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((index, fault, program)) = next else { return Ok(()) };
                let outcome = trial::play(ground, server, fault, program)
                    .with_context(|| format!("{} can't be played to {}", fault.name, program.name()))?;
                note(&mut rows.lock().unwrap_or_else(PoisonError::into_inner), index, program, outcome);
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|_| bail!("a worker broke down"))?;
        }
        Ok(())
    })
    .map(|()| rows.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn note(rows: &mut [Row], index: usize, program: Program, outcome: Outcome) {
    if let Some(row) = rows.get_mut(index) {
        row.outcomes.insert(program, outcome);
        if row.outcomes.len() == Program::ALL.len() {
            println!("{}", row.line());
        }
    }
}
