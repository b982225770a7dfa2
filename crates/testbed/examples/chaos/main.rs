//! Kills and bad networks, against the built programs: `chaos --programs target/debug --kills 200 --seed 1`.
//!
//! A learner works at a `carrel-host` through the commands its page uses and keeps a list of what was acknowledged. Between
//! the host and `carrel-service` a proxy loses, delays, cuts and doubles requests; at random moments the service, the host
//! or both get a SIGKILL and are started again. In the end the network is calm, and everything that the learner was told is
//! kept must be in the service's database exactly once. The last line is one JSON object; the exit code is 0 only when
//! nothing was lost, doubled, wrong or stuck.

mod learner;
mod ledger;
mod programs;
mod site;
mod verdict;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use carrel_testbed::chaos::{ChaosProxy, Mischief};
use clap::Parser;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use learner::{Desk, Learner};
use programs::Programs;
use site::{Course, Site};

/// Whatever ends the run early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One quiz that is taken again and again, and pages to be read.
const COURSE: Course = Course { units: 1, quizzes: 1, questions: 1, pages: 40 };
/// How long everything may take to be sent once the network is calm.
const HEALS_WITHIN: Duration = Duration::from_secs(120);

#[derive(Debug, Parser)]
#[command(
    about = "Kills service and host behind a bad network and looks for acknowledged work that is missing or doubled"
)]
struct Arguments {
    /// The folder of `carrel-service` and `carrel-host`
    #[arg(long)]
    programs: PathBuf,
    /// SIGKILLs, of service and host together
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// The seed of kills and network
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With the service on a PostgreSQL of its own
    #[arg(long)]
    postgres: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(line) => {
            println!("{line}");
            let faults = ["lost", "duplicated", "wrong", "stuck"];
            let clean = faults.iter().all(|fault| line.get(*fault).and_then(Value::as_u64) == Some(0));
            if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Value, Failure> {
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("carrel-chaos-").tempdir()?;
    let mut site = Site::build(&arguments.programs, folder.path(), COURSE, arguments.postgres).await?;
    let address = site.start().await?;
    let proxy = ChaosProxy::start(address, Mischief::RAGE, arguments.seed).await?;
    let mut host = Programs::host(&arguments.programs, folder.path());
    let desk = Arc::new(Desk::default());
    desk.open(host.start_host().await?).await;
    desk.sign_in(&proxy.url()).await?;

    proxy.be_calm(false);
    let learner = Learner::new(Arc::clone(&desk), arguments.seed).await?;
    let working = tokio::spawn(learner.work());
    let mut random = StdRng::seed_from_u64(arguments.seed.rotate_left(17) ^ 0xcafe);
    let (mut of_service, mut of_host) = (0, 0);
    while of_service + of_host < arguments.kills {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..900))).await;
        let (hits_service, hits_host) = match random.random_range(0..10) {
            0..=3 => (true, false),
            4..=7 => (false, true),
            _ => (true, of_service + of_host + 2 <= arguments.kills),
        };
        if hits_host {
            desk.close().await;
            host.kill();
            of_host += 1;
        }
        if hits_service {
            site.kill();
            of_service += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..500))).await;
        // In either order: the host must live with a service that comes later.
        let host_first = random.random_bool(0.5);
        if hits_host && host_first {
            desk.open(host.start_host().await?).await;
        }
        if hits_service {
            site.start().await?;
        }
        if hits_host && !host_first {
            desk.open(host.start_host().await?).await;
        }
        let killed = of_service + of_host;
        if killed % 20 == 0 || killed >= arguments.kills {
            eprintln!("{killed} of {} kills, {} writes acknowledged", arguments.kills, desk.acknowledged());
        }
    }
    desk.finish();
    let ledger = working.await??;
    proxy.be_calm(true);
    let healing = Instant::now();
    let stuck = desk.heals(HEALS_WITHIN).await?;
    let verdict = verdict::look(&ledger, &site, &desk).await?;
    for line in &verdict.lines {
        eprintln!("{line}");
    }
    let done = proxy.done();
    let counted = ledger.counted();
    Ok(json!({
        "kills": of_service + of_host, "kills_of_service": of_service, "kills_of_host": of_host, "seed": arguments.seed,
        "store": if arguments.postgres { "postgresql" } else { "sqlite" },
        "acknowledged": counted.acknowledged, "answers": counted.answers, "in_doubt": counted.in_doubt,
        "lost": verdict.lost, "duplicated": verdict.duplicated, "wrong": verdict.wrong + ledger.forgotten, "stuck": stuck,
        "sign_ins": desk.sign_ins(),
        "requests": done.requests, "requests_lost": done.lost, "answers_cut": done.answers_cut,
        "requests_twice": done.twice, "requests_late": done.late,
        "healing_seconds": healing.elapsed().as_secs_f64(), "seconds": began.elapsed().as_secs_f64(),
    }))
}
