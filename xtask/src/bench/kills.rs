//! One download, killed again and again: what is fetched twice, read off the relay's ledger.
//!
//! After each kill the journal on disk says what was verified *and* durable. No later request may cover a byte of those
//! pieces. What else was under way may be fetched again, up to one piece for each connection; it is counted byte by byte
//! where it leaves the relay, so what lay in socket buffers when the process died counts as well.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    big::again,
    ground::{self, Ground},
    measure,
    quiet::Quiet,
    report::{Goal, Report, number},
    server::{self, Server},
};

const MIB: u64 = 512;
const PIECE: u64 = 1 << 20;
/// Fast enough for so many lives, slow enough that a kill hits the middle of one.
const BYTES_PER_SECOND: u64 = 32 << 20;
/// A life that gets no byte in this time is an error.
const LIFE_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What one life asked for and got, as the relay saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    /// Where in the blob each answer began, and how much of it was handed on.
    answers: Vec<(u64, u64)>,
    connections: u64,
}

pub(super) fn run(ground: &Ground, kills: u32, seed: u64, quiet: &mut Quiet) -> Result<Report> {
    let file = ground.large(MIB)?;
    ground.manifest(&file)?;
    let origin = ground.origin(&file, false)?;
    let rate = [("--rate", BYTES_PER_SECOND.to_string()), ("--socket-buffer", "8192".to_owned())];
    let mut relay = Server::relay(&origin.url, &rate)?;
    let (out, journal) = (ground.path("out.bin"), ground.path("journal"));
    let fetch = ground.fetch(&file, &out, &journal, false, &server::moved(&origin.url, &relay.url))?;
    let size = MIB << 20;

    measure::settle();
    quiet.before_run();
    let began = Instant::now();
    let mut random = seed | 1;
    let mut account = Account::default();
    let mut ledger = Ledger::default();
    for kill in 0..=kills {
        let mut child = again(&fetch).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        if kill == kills {
            let status = child.wait()?;
            if !status.success() {
                bail!("after {kills} kills it ended with {status}");
            }
        } else {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Over all kills about two thirds of the file get through, so that none of them comes too late.
            let after = (random >> 33) % (size * 4 / 3 / u64::from(kills));
            if !live(&mut child, &mut relay, &ledger, after)? {
                bail!("kill {kill} of {kills} came too late: the download was done");
            }
            child.kill()?;
            child.wait()?;
        }
        let life = ledger.close(&mut relay)?;
        let durable = if kill == kills { Vec::new() } else { checkpointed(&journal, MIB)? };
        account.lived(&life, durable);
    }
    let seconds = began.elapsed().as_secs_f64();
    ground::same(&out, &file, true)?;
    for left in [&out, &journal] {
        std::fs::remove_file(left)?;
    }
    Ok(report(&account, kills, size, seconds))
}

/// Lets it run until so many bytes have been handed to it; `false` when it ends by itself.
fn live(child: &mut Child, relay: &mut Server, ledger: &Ledger, bytes: u64) -> Result<bool> {
    let began = Instant::now();
    loop {
        let answer = relay.ask(&ledger.requests.to_string())?;
        let answers = answers(&answer)?;
        if !answers.is_empty() && answers.iter().map(|(_, length)| length).sum::<u64>() >= bytes {
            return Ok(true);
        }
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        if began.elapsed() > LIFE_LIMIT {
            child.kill()?;
            child.wait()?;
            bail!("no bytes flow");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// How far the relay's ledger has been read.
#[derive(Debug, Default)]
struct Ledger {
    requests: u64,
    connections: u64,
}

impl Ledger {
    /// Waits until the relay has noticed that the process is gone, and reads what it got.
    fn close(&mut self, relay: &mut Server) -> Result<Life> {
        let began = Instant::now();
        loop {
            let answer = relay.ask(&self.requests.to_string())?;
            let count = |name| answer.get(name).and_then(Value::as_u64).with_context(|| format!("no {name}"));
            if count("open")? == 0 {
                let answers = answers(&answer)?;
                self.requests += answers.len() as u64;
                let connections = count("connections")? - self.connections;
                self.connections += connections;
                return Ok(Life { answers, connections });
            }
            if began.elapsed() > LIFE_LIMIT {
                bail!("connections of a killed process stay open");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Where each answer of the ledger began in the blob, and how long it was.
fn answers(ledger: &Value) -> Result<Vec<(u64, u64)>> {
    let requests = ledger.get("requests").and_then(Value::as_array).context("no requests")?;
    let answer = |request: &Value| {
        let start = match request.get("range").and_then(Value::as_str) {
            Some(range) => range.strip_prefix("bytes=")?.split('-').next()?.parse().ok()?,
            None => 0,
        };
        Some((start, request.get("body_bytes")?.as_u64()?))
    };
    requests.iter().map(|request| answer(request).context("a request can't be read")).collect()
}

/// The pieces the journal on disk calls verified and durable; none when there is no journal yet.
fn checkpointed(journal: &Path, pieces: u64) -> Result<Vec<u64>> {
    if !journal.exists() {
        return Ok(Vec::new());
    }
    let entry: Value = serde_json::from_slice(&std::fs::read(journal)?).context("the journal is damaged")?;
    let bytes = entry.get("verified").and_then(Value::as_array).context("the journal says nothing of pieces")?;
    let holds = |piece: &u64| {
        let byte = usize::try_from(piece / 8).ok().and_then(|at| bytes.get(at)).and_then(Value::as_u64).unwrap_or(0);
        byte & (1 << (piece % 8)) != 0
    };
    Ok((0..pieces).filter(holds).collect())
}

/// What was fetched once, and what again.
#[derive(Debug, Default)]
struct Account {
    /// Bytes handed on at least once: start → end, without overlaps.
    once: BTreeMap<u64, u64>,
    durable: Vec<u64>,
    fetched: u64,
    /// For each life but the first: bytes it was handed that had been handed on before, and the connections of the life before.
    again: Vec<(u64, u64)>,
    /// Checkpointed pieces of which a byte was fetched again.
    durable_again: u64,
    connections_before: Option<u64>,
    most_connections: u64,
}

impl Account {
    /// A life is over; `durable` is what the journal says now.
    fn lived(&mut self, life: &Life, durable: Vec<u64>) {
        let mut again = 0;
        for (start, length) in &life.answers {
            let end = start + length;
            let hit = |piece: &&u64| **piece * PIECE < end && (**piece + 1) * PIECE > *start;
            self.durable_again += self.durable.iter().filter(hit).count() as u64;
            self.fetched += length;
            again += length - self.add(*start, end);
        }
        if let Some(connections) = self.connections_before {
            self.again.push((again, connections));
        }
        self.connections_before = Some(life.connections);
        self.most_connections = self.most_connections.max(life.connections);
        self.durable = durable;
    }

    /// Adds a range to what was fetched; how many of its bytes are new.
    fn add(&mut self, mut start: u64, mut end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let mut new = end - start;
        let (first, last) = (start, end);
        let touching: Vec<(u64, u64)> =
            self.once.range(..=end).rev().take_while(|(_, to)| **to >= start).map(|(from, to)| (*from, *to)).collect();
        for (from, to) in touching {
            new -= to.min(last).saturating_sub(from.max(first));
            start = start.min(from);
            end = end.max(to);
            self.once.remove(&from);
        }
        self.once.insert(start, end);
        new
    }
}

fn report(account: &Account, kills: u32, size: u64, seconds: f64) -> Report {
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    let total: u64 = account.again.iter().map(|(again, _)| again).sum();
    let worst = account.again.iter().map(|(again, _)| *again).max().unwrap_or_default();
    let per_connection = account
        .again
        .iter()
        .map(|(again, connections)| *again as f64 / (*connections).max(1) as f64)
        .fold(0.0, f64::max);
    let mean = total as f64 / f64::from(kills.max(1)) / 1024.0;
    let extra = account.fetched.saturating_sub(size);
    let cells = [
        ("right at the end", "yes".to_owned()),
        ("checkpointed pieces fetched again", account.durable_again.to_string()),
        ("bytes beyond the size, KiB per kill", number(mean)),
        ("– at worst after one kill, KiB", number(kib(worst))),
        ("– at worst for each connection of one life, KiB", number(per_connection / 1024.0)),
        ("bytes ÷ size", format!("{:.3}", account.fetched as f64 / size as f64)),
        ("most connections in one life", account.most_connections.to_string()),
        ("seconds", number(seconds)),
    ];
    Report {
        title: format!("One file of {MIB} MiB, killed {kills} times"),
        columns: vec!["", "carrel"],
        rows: cells.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect(),
        goals: vec![
            Goal::at_most("checkpointed pieces fetched again", account.durable_again as f64, 0.0),
            Goal::at_most("KiB fetched again for each connection and kill, at worst", per_connection / 1024.0, 1024.0),
        ],
        figures: json!({
            "kills": kills, "size": size, "fetched": account.fetched, "extra": extra, "extra_worst": worst,
            "extra_worst_per_connection": per_connection, "durable_again": account.durable_again,
            "most_connections": account.most_connections, "seconds": seconds,
        }),
        ..Report::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_handed_on_before_are_counted_again_once() {
        let mut account = Account::default();
        assert_eq!(account.add(0, 100), 100);
        assert_eq!(account.add(200, 300), 100);
        assert_eq!(account.add(50, 250), 100, "the gap is new, the rest is not");
        assert_eq!(account.add(0, 300), 0);
        assert_eq!(account.once, BTreeMap::from([(0, 300)]));
    }

    #[test]
    fn a_checkpointed_piece_that_is_asked_for_again_is_noticed() {
        let mut account = Account::default();
        account.lived(&Life { answers: vec![(0, 3 * PIECE)], connections: 1 }, vec![0, 1]);
        account.lived(&Life { answers: vec![(2 * PIECE, PIECE)], connections: 1 }, vec![0, 1, 2]);
        assert_eq!((account.durable_again, account.again.clone()), (0, vec![(PIECE, 1)]));
        account.lived(&Life { answers: vec![(3 * PIECE - 1, 5)], connections: 1 }, vec![]);
        assert_eq!(account.durable_again, 1);
    }

    #[test]
    fn the_ledger_of_the_relay_is_read_as_ranges() {
        let ledger = json!({ "requests": [
            { "range": "bytes=5-9", "body_bytes": 3 }, { "range": null, "body_bytes": 7 },
        ]});
        assert_eq!(answers(&ledger).unwrap(), [(5, 3), (0, 7)]);
        assert!(answers(&json!({ "requests": [{ "range": "rubbish", "body_bytes": 3 }] })).is_err());
    }
}
