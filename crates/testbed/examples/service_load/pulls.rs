//! Pulling everything of learners who have much, 500 rows a page.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{figures::Latencies, http::Connection, site::Site};

/// What matters here of a page.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    pub(crate) cursor: String,
    pub(crate) has_more: bool,
    pub(crate) answers: Vec<IgnoredAny>,
    progress: Vec<IgnoredAny>,
    sessions: Vec<IgnoredAny>,
    bookmarks: Vec<IgnoredAny>,
    checksums: Option<IgnoredAny>,
}

impl Page {
    fn rows(&self) -> usize {
        self.answers.len() + self.progress.len() + self.sessions.len() + self.bookmarks.len()
    }
}

#[derive(Default)]
struct Pulled {
    latencies: Latencies,
    rows: usize,
    last_pages: u64,
    with_checksums: u64,
}

/// So many devices, each with its next page as soon as it can.
pub(crate) async fn run(site: &Site, at_once: u32, lasting: Duration) -> io::Result<Value> {
    let began = Instant::now();
    let devices = (0..at_once).map(async |_| {
        let mut connection = Connection::new(site.address);
        let mut pulled = Pulled::default();
        while began.elapsed() < lasting {
            let writer = site.writers().pop_front().ok_or_else(|| io::Error::other("no learner"))?;
            all_of(&mut connection, &writer.token, &mut pulled).await?;
            site.writers().push_back(writer);
        }
        io::Result::Ok(pulled)
    });
    let mut all = Pulled::default();
    for pulled in try_join_all(devices).await? {
        all.latencies.extend(pulled.latencies);
        all.rows += pulled.rows;
        all.last_pages += pulled.last_pages;
        all.with_checksums += pulled.with_checksums;
    }
    let took = began.elapsed().as_secs_f64();
    let pages = all.latencies.count();
    let mut figures = all.latencies.figures();
    figures.insert("pages_per_second".into(), json!((pages as f64 / took).round()));
    figures.insert("rows_per_page".into(), json!((all.rows as f64 / pages.max(1) as f64).round()));
    figures.insert("last_pages".into(), all.last_pages.into());
    figures.insert("with_checksums".into(), all.with_checksums.into());
    figures.insert("at_once".into(), at_once.into());
    Ok(figures.into())
}

async fn all_of(connection: &mut Connection, token: &str, pulled: &mut Pulled) -> io::Result<()> {
    let mut cursor = String::new();
    loop {
        let began = Instant::now();
        let answer = connection.get(&format!("/sync/pull?limit=500&cursor={cursor}"), token).await?;
        pulled.latencies.add(began.elapsed());
        if answer.status != 200 {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(io::Error::other(format!("{}: {text}", answer.status)));
        }
        let page: Page = serde_json::from_slice(&answer.body)?;
        pulled.rows += page.rows();
        if !page.has_more {
            pulled.last_pages += 1;
            pulled.with_checksums += u64::from(page.checksums.is_some());
            return Ok(());
        }
        cursor = page.cursor;
    }
}
