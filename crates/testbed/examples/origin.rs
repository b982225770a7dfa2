//! Serves a file with ranges from memory, for measuring: `cargo run --release -p carrel-testbed --example origin -- FILE`.
//!
//! Prints its address and runs until it is stopped.

use std::io;

use carrel_testbed::http_origin::Origin;

#[tokio::main]
async fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| io::Error::other("which file?"))?;
    let origin = Origin::start(std::fs::read(path)?).await?;
    println!("{}", origin.url("/blob"));
    std::future::pending().await
}
