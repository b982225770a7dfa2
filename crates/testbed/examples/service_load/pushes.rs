//! Pushing batches of 500.

use std::{
    io,
    time::{Duration, Instant},
};

use carrel_model::{
    TimeMs,
    op::MAX_BATCH_OPS,
    wire::sync::{PushOutcome, PushResponse},
};
use futures_util::future::try_join_all;
use serde_json::{Map, Value, json};

use super::{
    figures::Latencies,
    http::Connection,
    site::{Site, Writer},
};

const BATCH: u32 = MAX_BATCH_OPS as u32;
/// Batches that may be under way at once when they are sent at a rate.
const UNDER_WAY: u32 = 32;
/// What a device brings that was away for long.
const DRAINED: u32 = 10_000;

/// The machine's clock, as devices have one.
pub(crate) fn now() -> TimeMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    TimeMs::from_ms(i64::try_from(since.as_millis()).unwrap_or_default())
}

/// Whether every op of a batch has a verdict that is final, and none was refused.
pub(crate) fn all_taken(body: &[u8], ops: u32) -> io::Result<()> {
    let response: PushResponse = serde_json::from_slice(body)?;
    let taken = |outcome: &PushOutcome| {
        matches!(outcome, PushOutcome::Applied | PushOutcome::Superseded | PushOutcome::Duplicate)
    };
    match response.results.iter().find(|result| !taken(&result.outcome)) {
        None if response.results.len() == ops as usize => Ok(()),
        other => Err(io::Error::other(format!("{} verdicts on {ops} ops, {other:?}", response.results.len()))),
    }
}

/// One batch of whoever's turn it is. How long its answer took since `due`, or since it was sent.
async fn next(site: &Site, connection: &mut Connection, due: Option<Instant>) -> io::Result<Duration> {
    let writer = site.writers().pop_front();
    let mut writer: Writer = writer.ok_or_else(|| io::Error::other("more pushes at once than learners"))?;
    let (body, _) = writer.outbox.batch(&site.lessons, BATCH, now())?;
    let began = due.unwrap_or_else(Instant::now);
    let answer = connection.post("/sync/push", Some(&writer.token), &body).await?;
    let took = began.elapsed();
    if answer.status != 200 {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        return Err(io::Error::other(format!("{}: {text}\n{}", answer.status, site.log())));
    }
    all_taken(&answer.body, BATCH)?;
    site.writers().push_back(writer);
    Ok(took)
}

fn figures(latencies: Latencies, took: Duration) -> Map<String, Value> {
    let ops = latencies.count() as f64 * f64::from(BATCH);
    let mut figures = latencies.figures();
    figures.insert("ops_per_second".into(), json!((ops / took.as_secs_f64()).round()));
    figures
}

/// So many devices, each with its next batch as soon as it can.
pub(crate) async fn unpaced(site: &Site, at_once: u32, lasting: Duration) -> io::Result<Value> {
    let began = Instant::now();
    let devices = (0..at_once).map(async |_| {
        let mut connection = Connection::new(site.address);
        let mut latencies = Latencies::default();
        while began.elapsed() < lasting {
            latencies.add(next(site, &mut connection, None).await?);
        }
        io::Result::Ok(latencies)
    });
    let mut all = Latencies::default();
    for latencies in try_join_all(devices).await? {
        all.extend(latencies);
    }
    let mut figures = figures(all, began.elapsed());
    figures.insert("at_once".into(), at_once.into());
    Ok(figures.into())
}

/// Batches at a rate: each is due at its moment, whether or not those before it were answered.
pub(crate) async fn paced(site: &Site, rate: u32, lasting: Duration) -> io::Result<Value> {
    let every = Duration::from_secs_f64(f64::from(BATCH) / f64::from(rate.max(1)));
    let count = u32::try_from(lasting.as_micros() / every.as_micros().max(1)).unwrap_or(u32::MAX);
    let began = Instant::now() + every;
    let batches = std::sync::Mutex::new(0..count);
    let devices = (0..UNDER_WAY).map(async |_| {
        let mut connection = Connection::new(site.address);
        let mut latencies = Latencies::default();
        loop {
            let number = batches.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some(number) = number else { return io::Result::Ok(latencies) };
            let due = began + every * number;
            tokio::time::sleep_until(due.into()).await;
            latencies.add(next(site, &mut connection, Some(due)).await?);
        }
    });
    let mut all = Latencies::default();
    for latencies in try_join_all(devices).await? {
        all.extend(latencies);
    }
    let mut figures = figures(all, began.elapsed());
    figures.insert("rate".into(), rate.into());
    Ok(figures.into())
}

/// One device with very much to say, batch after batch.
pub(crate) async fn drain(site: &Site) -> io::Result<Value> {
    let mut writer = site.writers().pop_front().ok_or_else(|| io::Error::other("no learner"))?;
    let mut bodies = Vec::new();
    for _ in 0..DRAINED / BATCH {
        bodies.push(writer.outbox.batch(&site.lessons, BATCH, now())?.0);
    }
    let mut connection = Connection::new(site.address);
    let mut latencies = Latencies::default();
    let began = Instant::now();
    for body in bodies {
        let sent = Instant::now();
        let answer = connection.post("/sync/push", Some(&writer.token), &body).await?;
        latencies.add(sent.elapsed());
        all_taken(&answer.body, BATCH)?;
    }
    let took = began.elapsed();
    site.writers().push_back(writer);
    let mut figures = figures(latencies, took);
    figures.insert("ops".into(), DRAINED.into());
    Ok(figures.into())
}
