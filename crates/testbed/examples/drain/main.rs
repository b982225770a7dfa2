//! How soon what waits is sent: `drain --programs target/release --writes 10000 --runs 3`.
//!
//! A learner works offline at the built `carrel-host` until so many writes wait: quizzes are begun, answered and handed in,
//! pages are read. What host and service have on their disks then is laid down again for each run. The network comes back,
//! once as good as none in between and once 80 ms and 5 Mbit/s away in both directions, and the time runs until nothing
//! waits any more. Meanwhile somebody goes on reading at the host. Prints one line of JSON.

#[path = "../chaos/programs.rs"]
mod programs;
#[path = "../chaos/site.rs"]
mod site;
mod work;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use carrel_testbed::{
    browser::Browser,
    relay::{Network, Relay},
};
use clap::Parser;
use serde_json::{Value, json};
use tokio::time::sleep;

use programs::Programs;
use site::{Course, NAME, PASSWORD, Site};
use work::{ask, work};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A course large enough that no two writes are joined.
const COURSE: Course = Course { units: 50, quizzes: 20, questions: 6, pages: 20 };
/// What a village has.
const ROUND_TRIP: Duration = Duration::from_millis(80);
const BYTES_PER_SECOND: u64 = 5_000_000 / 8;
/// A drain that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks at what waits, and between two reads.
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Debug, Parser)]
#[command(about = "Measures how soon writes that wait are sent, and what is felt of it meanwhile")]
struct Arguments {
    /// The folder of `carrel-service` and `carrel-host`
    #[arg(long)]
    programs: PathBuf,
    /// Writes that wait
    #[arg(long, default_value_t = 10_000)]
    writes: u64,
    /// Runs of each network
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let folder = tempfile::Builder::new().prefix("carrel-drain-").tempdir()?;
    let filled = fill(&arguments, folder.path()).await?;
    let mut near = Vec::new();
    let mut far = Vec::new();
    for _ in 0..arguments.runs {
        near.push(filled.drain(&arguments.programs, folder.path(), Network::default()).await?);
        let network = Network {
            round_trip: ROUND_TRIP,
            rate: Some(BYTES_PER_SECOND),
            rate_up: Some(BYTES_PER_SECOND),
            ..Network::default()
        };
        far.push(filled.drain(&arguments.programs, folder.path(), network).await?);
    }
    println!("{}", json!({ "writes": filled.waiting, "near": near, "far": far }));
    Ok(())
}

/// What the disks hold when everything waits.
struct Filled {
    folder: PathBuf,
    relay: SocketAddr,
    waiting: u64,
}

/// Lets a learner work offline until so many writes wait.
async fn fill(arguments: &Arguments, folder: &Path) -> Result<Filled, Failure> {
    let mut site = Site::build(&arguments.programs, folder, COURSE, false).await?;
    let address = site.start().await?;
    let mut relay = Relay::start(address).await?;
    // By a name, as in the world: with a bare loopback address the app takes the way for a short one.
    let url = relay.url().replace("127.0.0.1", "localhost");
    let mut host = Programs::host(&arguments.programs, folder);
    let browser = Browser::enter(&host.start_host().await?).await?;
    let sign_in = json!({ "service_url": url, "name": NAME, "password": PASSWORD });
    ask(&browser, "access_sign_in", &sign_in).await?;
    ask(&browser, "catalogue_refresh", &Value::Null).await?;
    relay.go_down().await;
    site.kill();
    let began = Instant::now();
    let waiting = work(&browser, arguments.writes).await?;
    eprintln!("{waiting} writes wait after {:.0} s", began.elapsed().as_secs_f64());
    host.kill();
    let kept = folder.join("filled");
    for name in ["host", "service"] {
        copy(&folder.join(name), &kept.join(name))?;
    }
    let relay = url.trim_start_matches("http://").replace("localhost", "127.0.0.1").parse()?;
    Ok(Filled { folder: kept, relay, waiting })
}

impl Filled {
    /// One run: from the moment the network is there until nothing waits.
    async fn drain(&self, programs: &Path, folder: &Path, network: Network) -> Result<Value, Failure> {
        for name in ["host", "service"] {
            std::fs::remove_dir_all(folder.join(name))?;
            copy(&self.folder.join(name), &folder.join(name))?;
        }
        let mut site = Site::reopen(programs, folder);
        let service = site.start().await?;
        let mut host = Programs::host(programs, folder);
        let browser = Browser::enter(&host.start_host().await?).await?;
        // How it is without a network, to compare with.
        let idle = reads(&browser, |count, _| count < 200).await?;
        let mut relay = Relay::through_at(self.relay, service, network).await?;
        let host_cpu = processor_seconds(host.process_id());
        let service_cpu = processor_seconds(site.process_id());
        let began = Instant::now();
        ask(&browser, "sync_now", &Value::Null).await?;
        let reads = reads(&browser, |_, waiting| waiting > 0).await?;
        let seconds = began.elapsed().as_secs_f64();
        relay.go_down().await;
        let ops = site.texts("SELECT device_id || op_seq FROM op_log WHERE outcome = 'applied'").await?.len() as u64;
        if ops != self.waiting || site.log().contains("panicked") {
            return Err(format!("{ops} of {} writes are at the service\n{}", self.waiting, site.log()).into());
        }
        Ok(json!({
            "seconds": seconds,
            "read_p99_ms": ms(percentile(&reads, 0.99)), "read_p50_ms": ms(percentile(&reads, 0.5)), "reads": reads.len(),
            "idle_read_p99_ms": ms(percentile(&idle, 0.99)),
            "host_cpu_seconds": processor_seconds(host.process_id()) - host_cpu,
            "service_cpu_seconds": processor_seconds(site.process_id()) - service_cpu,
            "service_peak_mib": peak_mib(site.process_id()), "host_peak_mib": peak_mib(host.process_id()),
            "to_app_bytes": relay.tally().to_app_bytes,
        }))
    }
}

/// Reads what screens read, one after the other, for as long as `go_on` wants; the durations, shortest first.
async fn reads(browser: &Browser, go_on: impl Fn(usize, u64) -> bool) -> Result<Vec<Duration>, Failure> {
    let library = ask(browser, "catalogue_library", &Value::Null).await?;
    let unit = library.pointer("/courses/0/units/0/id").cloned().ok_or("no unit")?;
    let unit = json!({ "unit_id": unit });
    let mut took = Vec::new();
    let began = Instant::now();
    loop {
        for (command, request) in [("catalogue_unit", &unit), ("sync_status", &Value::Null)] {
            let asked = Instant::now();
            let answer = ask(browser, command, request).await?;
            took.push(asked.elapsed());
            if let Some(waiting) = answer.get("waiting").and_then(Value::as_u64)
                && !go_on(took.len(), waiting)
            {
                took.sort_unstable();
                return Ok(took);
            }
        }
        if began.elapsed() > PATIENCE {
            return Err("the drain takes too long".into());
        }
        sleep(LOOK_EVERY).await;
    }
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The highest memory a process ever had, as Linux tells it.
fn peak_mib(process: Option<u32>) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process?)).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = kib.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1_024.0)
}

/// Processor time a process has used, as Linux tells it; 0 where nobody says.
fn processor_seconds(process: Option<u32>) -> f64 {
    let stat =
        process.and_then(|process| std::fs::read_to_string(format!("/proc/{process}/stat")).ok()).unwrap_or_default();
    // After the name, which may hold anything: fields 14 and 15, in hundredths.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
