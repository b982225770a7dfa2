//! Prints the manifest of a file, one JSON object per file and line.
//!
//! `cargo run -p carrel-transfer --example manifest -- FILE…`

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use carrel_model::pieces::{Manifest, ManifestBuilder};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Prints size, hash and pieces of files")]
struct Arguments {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    for path in Arguments::parse().files {
        let line = manifest(&path).and_then(|manifest| Ok(serde_json::to_string(&manifest)?));
        match line {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("manifest: {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
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
