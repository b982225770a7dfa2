//! Figures: latencies by their share, and what each process took of the machine.

use std::{
    io,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

/// Linux counts processor time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long things took.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Median, 99th percentile and the longest, in milliseconds.
    pub(crate) fn figures(mut self) -> Map<String, Value> {
        self.0.sort_unstable();
        let at = |share: f64| {
            let index = (self.0.len() as f64 * share).ceil() as usize;
            self.0.get(index.saturating_sub(1)).map(|took| (took.as_secs_f64() * 10_000.0).round() / 10.0)
        };
        let mut figures = Map::new();
        for (name, share) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("longest_ms", 1.0)] {
            figures.insert(name.to_owned(), json!(at(share)));
        }
        figures
    }
}

/// What the machine did between two moments.
#[derive(Debug)]
pub(crate) struct Meter {
    service: u32,
    began: Instant,
    before: Ticks,
}

#[derive(Debug, Clone, Copy)]
struct Ticks {
    all: u64,
    generator: u64,
    service: u64,
}

impl Ticks {
    fn now(service: u32) -> io::Result<Self> {
        Ok(Self { all: of_machine()?, generator: of_process("self")?, service: of_process(&service.to_string())? })
    }
}

impl Meter {
    pub(crate) fn start(service: u32) -> io::Result<Self> {
        Ok(Self { service, began: Instant::now(), before: Ticks::now(service)? })
    }

    /// Processors in use by each, on average, and the most memory the service ever had.
    pub(crate) fn stop(self) -> io::Result<Map<String, Value>> {
        let seconds = self.began.elapsed().as_secs_f64();
        let after = Ticks::now(self.service)?;
        let processors = |ticks: u64| ((ticks as f64 / TICKS_PER_SECOND / seconds) * 100.0).round() / 100.0;
        let generator = after.generator - self.before.generator;
        let service = after.service - self.before.service;
        let rest = (after.all - self.before.all).saturating_sub(generator + service);
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.service))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak: Option<f64> = peak.and_then(|kib| kib.trim().parse().ok());
        let mut figures = Map::new();
        figures.insert("seconds".into(), json!((seconds * 100.0).round() / 100.0));
        figures.insert("processors_generator".into(), json!(processors(generator)));
        figures.insert("processors_service".into(), json!(processors(service)));
        figures.insert("processors_database_and_others".into(), json!(processors(rest)));
        figures.insert("service_peak_mib".into(), json!(peak.map(|kib| (kib / 102.4).round() / 10.0)));
        Ok(figures)
    }
}

/// In use on all processors.
fn of_machine() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> =
        text.lines().next().into_iter().flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq
    Ok([0, 1, 2, 5, 6].iter().filter_map(|field| ticks.get(*field)).sum())
}

/// Of one process, with what its ended children took.
fn of_process(id: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name stands in brackets and may hold anything.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    Ok(fields.filter_map(|field| field.parse::<u64>().ok()).sum())
}
