//! Devices that come back after a day away, spread over a minute: each refreshes its token, pushes what waited, pulls until
//! it has everything, and compares. As the app does it, a busy service is asked again later.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Arguments,
    figures::Latencies,
    http::{Answer, Connection},
    ops::Outbox,
    pulls::Page,
    pushes::{all_taken, now},
    site::{Away, Site},
};

/// A device that has not got through by then counts as failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the service names no time: with this, doubled each time, and jitter, as the app does it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Refreshed {
    access_token: String,
}

/// What became of one device.
#[derive(Debug, Default)]
struct Came {
    took: Duration,
    push: Duration,
    pull: Duration,
    asked_again: u64,
    acknowledged: u32,
    error: Option<String>,
}

pub(crate) async fn run(site: &Site, arguments: &Arguments) -> io::Result<Value> {
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let within = Duration::from_secs(arguments.within);
    let mut arrivals: Vec<(Duration, u64)> =
        site.away.iter().map(|_| (within.mul_f64(random.random()), random.random())).collect();
    arrivals.sort_unstable();
    let began = Instant::now();
    let coming = site.away.iter().zip(arrivals).map(|(away, (after, seed))| async move {
        tokio::time::sleep_until((began + after).into()).await;
        let mut device = Device::new(site, away, arguments.ops, seed);
        let arrived = Instant::now();
        let error = device.come_back().await.err();
        Came { took: arrived.elapsed(), error: error.map(|error| error.to_string()), ..device.came }
    });
    // All of them exist from the beginning; almost all are asleep.
    let came: Vec<Came> = stream::iter(coming).buffer_unordered(site.away.len().max(1)).collect().await;
    let lasted = began.elapsed();

    let (mut whole, mut pushes, mut pulls) = (Latencies::default(), Latencies::default(), Latencies::default());
    let acknowledged: u64 = came.iter().map(|came| u64::from(came.acknowledged)).sum();
    let brought = u64::from(arguments.ops) * came.len() as u64;
    for came in &came {
        whole.add(came.took);
        pushes.add(came.push);
        pulls.add(came.pull);
    }
    if let Some(error) = came.iter().find_map(|came| came.error.as_ref()) {
        eprintln!("one of them: {error}");
    }
    let mut figures = whole.figures();
    figures.insert("devices".into(), came.len().into());
    figures.insert("ops".into(), brought.into());
    figures.insert("failed_ops".into(), (brought - acknowledged).into());
    figures.insert("failed_devices".into(), came.iter().filter(|came| came.error.is_some()).count().into());
    figures.insert("asked_again".into(), came.iter().map(|came| came.asked_again).sum::<u64>().into());
    figures.insert("lasted_seconds".into(), json!((lasted.as_secs_f64() * 10.0).round() / 10.0));
    figures.insert("push_p99_ms".into(), pushes.figures().remove("p99_ms").unwrap_or_default());
    figures.insert("pull_p99_ms".into(), pulls.figures().remove("p99_ms").unwrap_or_default());
    Ok(figures.into())
}

struct Device<'a> {
    site: &'a Site,
    away: &'a Away,
    connection: Connection,
    ops: u32,
    random: StdRng,
    until: Instant,
    came: Came,
}

impl<'a> Device<'a> {
    fn new(site: &'a Site, away: &'a Away, ops: u32, seed: u64) -> Self {
        Self {
            site,
            away,
            connection: Connection::new(site.address),
            ops,
            random: StdRng::seed_from_u64(seed),
            until: Instant::now() + PATIENCE,
            came: Came::default(),
        }
    }

    async fn come_back(&mut self) -> io::Result<()> {
        let request = json!({ "refresh_token": self.away.refresh, "device_id": self.away.device });
        let request = serde_json::to_vec(&request)?;
        let answer = self.until_answered(async |at: &mut Connection| at.post("/auth/refresh", None, &request).await);
        let refreshed: Refreshed = serde_json::from_slice(&answer.await?)?;
        let token = refreshed.access_token;

        let mut outbox = Outbox::new(self.away.device, self.away.number);
        let (batch, answers) = outbox.batch(&self.site.lessons, self.ops, now())?;
        let began = Instant::now();
        let push = self.until_answered(async |at: &mut Connection| at.post("/sync/push", Some(&token), &batch).await);
        all_taken(&push.await?, self.ops)?;
        self.came.push = began.elapsed();

        let (mut cursor, mut seen) = (String::new(), 0);
        loop {
            let began = Instant::now();
            let path = format!("/sync/pull?limit=500&cursor={cursor}");
            let page = self.until_answered(async |at: &mut Connection| at.get(&path, &token).await);
            let page: Page = serde_json::from_slice(&page.await?)?;
            self.came.pull = self.came.pull.max(began.elapsed());
            seen += page.answers.len() as u64;
            if !page.has_more {
                break;
            }
            cursor = page.cursor;
        }
        if seen != answers {
            return Err(io::Error::other(format!("{answers} answers were sent and {seen} are there")));
        }
        self.came.acknowledged = self.ops;
        Ok(())
    }

    /// Asks until there is an answer that is none of a busy service.
    async fn until_answered(
        &mut self,
        ask: impl AsyncFn(&mut Connection) -> io::Result<Answer>,
    ) -> io::Result<Vec<u8>> {
        let mut wait = FIRST_WAIT;
        loop {
            let named = match ask(&mut self.connection).await {
                Ok(answer) if answer.status == 200 => return Ok(answer.body),
                Ok(answer) if matches!(answer.status, 429 | 503) => answer.retry_after.map(Duration::from_secs),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(io::Error::other(format!("{}: {text}", answer.status)));
                }
                Err(error) if Instant::now() > self.until => return Err(error),
                Err(_) => None,
            };
            if Instant::now() > self.until {
                return Err(io::Error::other("busy for too long"));
            }
            self.came.asked_again += 1;
            let jittered = wait.mul_f64(self.random.random());
            tokio::time::sleep(jittered.max(named.unwrap_or_default())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
