//! The load generator of the service: `cargo xtask bench service` builds and runs it.
//!
//! It starts the built service as a process over a database of its own, lets devices push, pull and come back, all on
//! loopback, and prints one line of JSON for each case. Generator, service and database share the machine, so the line says
//! what each took of its processors. A case ends by itself after the time it was given.

mod devices;
mod figures;
mod http;
mod ops;
mod pulls;
mod pushes;
mod site;

use std::{io, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use serde_json::Value;

use figures::Meter;
use site::Site;

#[derive(Parser)]
#[command(about = "Lets simulated devices push to and pull from a service of its own")]
struct Arguments {
    /// The built service
    #[arg(long)]
    service: PathBuf,
    /// What the service keeps its rows in
    #[arg(long, value_enum)]
    store: StoreKind,
    /// What to do, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "push,paced,pull,drain,devices")]
    cases: Vec<Case>,
    /// Seconds that pushing and pulling last
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=120))]
    seconds: u64,
    /// Devices that push, or pull, at the same time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,
    /// Ops per second of the paced case
    #[arg(long, default_value_t = 20_000)]
    rate: u32,
    /// Devices that come back
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    devices: u32,
    /// Seconds within which they come back
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    within: u64,
    /// Ops each of them brings
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=500))]
    ops: u32,
    /// The seed of when they come
    #[arg(long, default_value_t = 8)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    /// PostgreSQL, durable as it comes
    Postgres,
    /// A file
    Sqlite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Batches of 500, each device's next as soon as its last is answered
    Push,
    /// Batches of 500 at a given rate, whoever has time; latency counts from when a batch was due
    Paced,
    /// Pages of 500, one after the other
    Pull,
    /// 10,000 writes of one device
    Drain,
    /// Many devices that come back: refresh, push, pull
    Devices,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut site = Site::start(&arguments.service, arguments.store).await?;
    let lasting = Duration::from_secs(arguments.seconds);
    for case in &arguments.cases {
        site.prepare(*case, &arguments).await?;
        let meter = Meter::start(site.service_id())?;
        let (name, mut line) = match case {
            Case::Push => ("push", pushes::unpaced(&site, arguments.at_once, lasting).await?),
            Case::Paced => ("paced", pushes::paced(&site, arguments.rate, lasting).await?),
            Case::Pull => ("pull", pulls::run(&site, arguments.at_once, lasting).await?),
            Case::Drain => ("drain", pushes::drain(&site).await?),
            Case::Devices => ("devices", devices::run(&site, &arguments).await?),
        };
        if let Value::Object(line) = &mut line {
            line.insert("case".into(), name.into());
            line.insert("store".into(), format!("{:?}", arguments.store).to_lowercase().into());
            line.extend(meter.stop()?);
        }
        println!("{line}");
    }
    site.end();
    Ok(())
}
