//! `simulate`: plays histories and says what was found.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use carrel_simulation::{
    check::Verdict,
    history::{Outcome, play},
    plant::Plant,
};
use clap::Parser;
use serde_json::json;

#[derive(Parser)]
#[command(
    about = "Plays random histories of sync and looks for writes that are lost, doubled, stuck or seen differently"
)]
struct Arguments {
    /// How many histories
    #[arg(long, default_value_t = 20_000)]
    histories: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Look for each planted bug instead; at most so many histories each
    #[arg(long)]
    planted: bool,
    /// Print every step of the one history of this seed
    #[arg(long)]
    trace: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.trace {
        let outcome = play(seed, None, true);
        println!("{}", outcome.trace.unwrap_or_default());
        outcome.reasons.iter().for_each(|reason| println!("{reason}"));
        return if outcome.verdict.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if arguments.planted { planted(&arguments) } else { histories(&arguments) }
}

fn histories(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let (sum, failing, events) = all(arguments.seed, arguments.histories, None, true);
    if let Some((seed, outcome)) = &failing {
        eprintln!("seed {seed}: {:?}", outcome.verdict);
        outcome.reasons.iter().take(10).for_each(|reason| eprintln!("  {reason}"));
        eprintln!("`cargo xtask simulate --trace {seed}` prints its steps");
    }
    eprintln!("{events} events");
    let line = json!({
        "histories": arguments.histories, "lost": sum.lost, "duplicated": sum.duplicated, "divergent": sum.divergent,
        "stuck": sum.stuck, "seconds": (began.elapsed().as_secs_f64() * 100.0).round() / 100.0,
    });
    println!("{line}");
    if sum.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn planted(arguments: &Arguments) -> ExitCode {
    let mut missed = 0;
    for plant in Plant::ALL {
        let seeds = (arguments.seed..).zip(1..=arguments.histories);
        let found = seeds
            .map(|(seed, tried)| (seed, tried, play(seed, Some(*plant), false)))
            .find(|(_, _, outcome)| !outcome.verdict.is_clean());
        match found {
            Some((seed, tried, outcome)) => println!(
                "{plant:?}: found by seed {seed} after {tried} histories: {}",
                outcome.reasons.first().map_or("", String::as_str).chars().take(100).collect::<String>()
            ),
            None => {
                missed += 1;
                println!("{plant:?}: NOT FOUND in {} histories", arguments.histories);
            }
        }
    }
    println!("{}", json!({ "planted": Plant::ALL.len(), "found": Plant::ALL.len() - missed }));
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays seeds on all cores; gives the sum, and the first that failed by its seed.
fn all(first: u64, count: u64, plant: Option<Plant>, tells: bool) -> (Verdict, Option<(u64, Outcome)>, u64) {
    let next = AtomicU64::new(0);
    let work = || {
        let (mut sum, mut failing, mut events) = (Verdict::default(), None, 0);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return (sum, failing, events);
            }
            let outcome = play(first.wrapping_add(index), plant, false);
            events += outcome.events;
            if tells && (index + 1).is_multiple_of(count.div_ceil(10).max(1)) {
                eprintln!("{} of {count}", index + 1);
            }
            if !outcome.verdict.is_clean() {
                add(&mut sum, outcome.verdict);
                failing = failing.or(Some((first.wrapping_add(index), outcome)));
            }
        }
    };
    let parts = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    let mut total = (Verdict::default(), None::<(u64, Outcome)>, 0);
    for (sum, failing, events) in parts {
        add(&mut total.0, sum);
        total.2 += events;
        if let Some(found) = failing
            && total.1.as_ref().is_none_or(|known| found.0 < known.0)
        {
            total.1 = Some(found);
        }
    }
    total
}

const fn add(sum: &mut Verdict, other: Verdict) {
    sum.lost += other.lost;
    sum.duplicated += other.duplicated;
    sum.divergent += other.divergent;
    sum.stuck += other.stuck;
}
