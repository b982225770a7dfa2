//! Serves a file, or the files of a folder, with ranges, for measuring:
//! `cargo run --release -p carrel-testbed --example origin -- [--tls] [--http1] [--rate N] FILE | --folder DIR`.
//!
//! Prints its address and runs until it is stopped. With `--tls` a line before it names the PEM file of the authority to
//! trust; HTTP/2 is then offered unless `--http1` says otherwise. A file is served under any path, from the page cache;
//! the files of a folder under their names, from memory.

use std::{io, path::PathBuf, sync::Arc};

use carrel_testbed::http_origin::{Content, Flaw, Identity, Library, Setup};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Serves a file or a folder, to be measured against")]
struct Arguments {
    /// The file.
    #[arg(required_unless_present = "folder")]
    file: Option<PathBuf>,
    /// The folder, in place of a file.
    #[arg(long, conflicts_with = "file")]
    folder: Option<PathBuf>,
    /// Over TLS, with a certificate made now.
    #[arg(long)]
    tls: bool,
    /// Where to put the authority's certificate (with `--tls`); otherwise a temporary file.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Over TLS, don't offer HTTP/2.
    #[arg(long)]
    http1: bool,
    /// HTTP/2 streams at once.
    #[arg(long, default_value_t = 256)]
    streams: u32,
    /// Bytes per second and connection.
    #[arg(long, default_value_t = 0)]
    rate: u64,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let library = match (&arguments.file, &arguments.folder) {
        (Some(file), _) => Library::One(Content::file(file)?),
        (None, Some(folder)) => Library::folder(folder)?,
        (None, None) => return Err(io::Error::other("which file?")),
    };
    let path = if arguments.folder.is_some() { "/" } else { "/blob" };
    let mut setup = Setup::new(library).http2(!arguments.http1).streams(arguments.streams);
    if arguments.tls {
        let identity = Identity::new(Flaw::None)?;
        let ca = arguments
            .ca
            .unwrap_or_else(|| std::env::temp_dir().join(format!("carrel-origin-{}.pem", std::process::id())));
        std::fs::write(&ca, identity.authority_pem())?;
        println!("CA {}", ca.display());
        setup = setup.tls(Arc::new(identity));
    }
    let origin = setup.start().await?;
    origin.throttle(arguments.rate);
    println!("{}", origin.url(path));
    std::future::pending().await
}
