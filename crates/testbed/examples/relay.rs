//! A network for measuring: `cargo run --release -p carrel-testbed --example relay -- --to 127.0.0.1:8080 --round-trip-ms 50`.
//!
//! Prints its address. A line on standard input – the number of the first request wanted – is answered with one line of
//! JSON: counts, outages, and the requests from that one on. It ends when standard input does.

use std::{
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use carrel_testbed::relay::{Network, Outages, Relay, Weather};
use clap::Parser;
use serde_json::{Value, json};

#[derive(Parser)]
#[command(about = "Forwards connections through a network that is as bad as asked for")]
struct Arguments {
    /// Where to forward to
    #[arg(long)]
    to: SocketAddr,
    /// Milliseconds from the client to the server and back
    #[arg(long, default_value_t = 0)]
    round_trip_ms: u64,
    /// Bytes per second towards the client, over all connections
    #[arg(long)]
    rate: Option<u64>,
    /// Bytes per second towards the server, over all connections
    #[arg(long)]
    rate_up: Option<u64>,
    /// Bytes that may lie in the socket between relay and client
    #[arg(long)]
    socket_buffer: Option<u32>,
    /// The seed of what goes wrong
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The share of connections that are lost at once or early
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The chance of any other connection to be lost within its next second
    #[arg(long, default_value_t = 0.0)]
    loss_per_second: f64,
    /// Milliseconds between outages, on average
    #[arg(long)]
    outage_every_ms: Option<u64>,
    /// The shortest outage
    #[arg(long, default_value_t = 1000)]
    outage_min_ms: u64,
    /// The longest outage
    #[arg(long, default_value_t = 3000)]
    outage_max_ms: u64,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let weather = Weather {
        seed: arguments.seed,
        loss: arguments.loss,
        loss_per_second: arguments.loss_per_second,
        outages: arguments.outage_every_ms.map(|every| Outages {
            every: Duration::from_millis(every),
            shortest: Duration::from_millis(arguments.outage_min_ms),
            longest: Duration::from_millis(arguments.outage_max_ms),
        }),
    };
    let network = Network {
        round_trip: Duration::from_millis(arguments.round_trip_ms),
        rate: arguments.rate,
        rate_up: arguments.rate_up,
        weather: Some(weather),
        socket_buffer: arguments.socket_buffer,
    };
    let relay = Relay::through(arguments.to, network).await?;
    println!("{}", relay.url());
    let answering = tokio::task::spawn_blocking(move || {
        for line in io::stdin().lock().lines() {
            let from = line?.trim().parse().map_err(io::Error::other)?;
            let mut out = io::stdout().lock();
            writeln!(out, "{}", ledger(&relay, from))?;
            out.flush()?;
        }
        Ok(())
    });
    answering.await.map_err(io::Error::other)?
}

fn ledger(relay: &Relay, from: usize) -> Value {
    let tally = relay.tally();
    let outages: Vec<_> = relay
        .outages()
        .iter()
        .map(|outage| {
            json!({
                "at_ms": ms(outage.at), "length_ms": ms(outage.length), "kind": format!("{:?}", outage.kind),
            })
        })
        .collect();
    let requests: Vec<_> = relay
        .passed()
        .iter()
        .skip(from)
        .map(|passed| json!({ "target": passed.target, "range": passed.range, "body_bytes": passed.body_bytes }))
        .collect();
    json!({
        "connections": tally.connections, "open": tally.open, "lost": tally.lost, "to_app_bytes": tally.to_app_bytes,
        "outages": outages, "requests": requests,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
