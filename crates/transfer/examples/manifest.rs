//! Prints manifests: of a file one JSON object, of a folder one with all its files; one per line.
//!
//! `cargo run --release -p carrel-transfer --example manifest -- FILE|FOLDER…`
//!
//! A folder's is `{"files":[{"path":"sub/a.bin","hash":…,"size":…,"pieces":…},…]}`, sorted by path. Links to files count as
//! files, links to folders are left out.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use carrel_model::pieces::{Manifest, ManifestBuilder};
use clap::Parser;
use serde::Serialize;

#[derive(Parser)]
#[command(about = "Prints size, hash and pieces of files")]
struct Arguments {
    /// The files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Folder {
    files: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    #[serde(flatten)]
    manifest: Manifest,
}

fn main() -> ExitCode {
    for path in Arguments::parse().paths {
        if let Err(error) = print(&path) {
            eprintln!("manifest: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn print(path: &Path) -> io::Result<()> {
    let mut line = if path.is_dir() {
        let mut files = Vec::new();
        list(path, "", &mut files)?;
        files.sort_unstable();
        let entry = |name: String| Ok(Entry { manifest: manifest(&path.join(&name))?, path: name });
        serde_json::to_vec(&Folder { files: files.into_iter().map(entry).collect::<io::Result<_>>()? })?
    } else {
        serde_json::to_vec(&manifest(path)?)?
    };
    line.push(b'\n');
    io::stdout().lock().write_all(&line)
}

/// Adds the paths of all files beneath a folder, slashes between their parts.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            let why = format!("{} has no name in Unicode", folder.join(name).display());
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}/"), files)?;
        } else if fs::metadata(entry.path())?.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn manifest(path: &Path) -> io::Result<Manifest> {
    let mut file = File::open(path)?;
    let mut builder = ManifestBuilder::new();
    let mut portion = vec![0; 1 << 20];
    loop {
        match file.read(&mut portion)? {
            0 => return Ok(builder.finish()),
            length => builder.update(portion.get(..length).unwrap_or_default()),
        }
    }
}
