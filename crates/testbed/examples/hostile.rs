//! Plays the faults of the catalogue to other programs: `cargo run -p carrel-testbed --example hostile -- FILE`.
//!
//! Prints the catalogue, one JSON object per line, then `ready`. Then, for each name of a fault on standard input, one line
//! with the address of a fresh origin that plays it, as JSON: `name, url, ca` (the authority to trust, as PEM). Ends with
//! its input.

use std::io;

use carrel_testbed::hostile::{Blob, Front, faults};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("which file?"))?;
    let content = bytes::Bytes::from(std::fs::read(path)?);
    let size = content.len() as u64;
    let all = faults();
    for fault in &all {
        let blob = match fault.blob {
            Blob::Usual => "usual",
            Blob::Empty => "empty",
            Blob::There => "there",
        };
        let http2 = matches!(fault.front, Front::Http2 | Front::OneStream);
        println!(
            "{}",
            json!({
                "number": fault.number, "name": fault.name, "text": fault.text, "blob": blob, "http2": http2,
                "passes": fault.passes,
            })
        );
    }
    println!("ready");
    // An origin ends when it is dropped: all stay until the end.
    let mut playing = Vec::new();
    let mut names = BufReader::new(tokio::io::stdin()).lines();
    while let Some(name) = names.next_line().await? {
        let fault = all.iter().find(|fault| fault.name == name);
        let fault = fault.ok_or_else(|| io::Error::other(format!("no fault is called {name}")))?;
        let (origin, ca) = fault.origin(content.clone()).await?;
        fault.play(&origin, size);
        println!("{}", json!({ "name": name, "url": origin.url("/blob"), "ca": ca }));
        playing.push(origin);
    }
    Ok(())
}
