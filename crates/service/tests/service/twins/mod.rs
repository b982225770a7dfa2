//! Twins: the same random history, played to a store in SQLite and to one in PostgreSQL, gets the same answers at every step
//! and leaves the same rows.
//!
//! `CARREL_TWIN_HISTORIES` says how many histories (default 25), `CARREL_TWIN_SEED` where to begin; a history that differs
//! names its seed.

mod course;
mod dump;
mod history;

use carrel_model::TimeMs;
use carrel_service::store::{Store, postgres, sqlite};

use crate::{databases::remove, postgres::fresh_database, site::START};
use history::History;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_leave_identical_dumps_in_both_stores() {
    let first = number("CARREL_TWIN_SEED", 1);
    let histories = number("CARREL_TWIN_HISTORIES", 25);
    let mut totals = history::Totals::default();
    // Tables are made once and copied.
    let start = TimeMs::from_ms(START);
    let ready = tempfile::tempdir().unwrap();
    let ready_file = ready.path().join("ready.db");
    let ready_database = fresh_database(None).await;
    sqlite::open(&ready_file, start).await.unwrap().close().await;
    postgres::open(&ready_database, start).await.unwrap().close().await;
    for seed in first..first + histories {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("twin.db");
        std::fs::copy(&ready_file, &file).unwrap();
        let address = fresh_database(Some(&ready_database)).await;
        let a = sqlite::open(&file, start).await.unwrap();
        let b = postgres::open(&address, start).await.unwrap();
        let (mut a, mut b): (Box<dyn Store>, Box<dyn Store>) = (Box::new(a), Box::new(b));
        let mut history = History::new(seed);
        // In stretches: between them the service is started again.
        for _ in 0..history.stretches() {
            history.play(a.as_ref(), b.as_ref()).await;
            a.close().await;
            b.close().await;
            drop((a, b));
            a = Box::new(sqlite::open(&file, history.now).await.unwrap());
            b = Box::new(postgres::open(&address, history.now).await.unwrap());
        }
        let (in_sqlite, in_postgres) = (dump::of_sqlite(&file).await, dump::of_postgres(&address).await);
        a.close().await;
        b.close().await;
        remove(&address).await;
        if let Some((one, other)) = in_sqlite.lines().zip(in_postgres.lines()).find(|(one, other)| one != other) {
            panic!("seed {seed}\nSQLite:     {one}\nPostgreSQL: {other}");
        }
        assert_eq!(in_sqlite.len(), in_postgres.len(), "seed {seed}");
        totals.add(&history.totals);
    }
    println!("{histories} histories from seed {first}: {totals:?}");
    totals.show_something_of_everything();
}
