//! Every statement on a hot path finds its rows along an index, here as well.

use carrel_model::TimeMs;
use sqlx::Row as _;

use super::{Database as _, PostgresDatabase, bound, server};
use crate::store::sql::{Value, hot, values};

/// What PostgreSQL would do if a table were too large to be read through.
async fn plan(database: &PostgresDatabase, sql: &str, values: Vec<Value>) -> String {
    let mut connection = database.pool.acquire().await.unwrap();
    for setting in ["SET enable_seqscan = off", "SET enable_bitmapscan = off"] {
        sqlx::query(setting).execute(&mut *connection).await.unwrap();
    }
    let explain = format!("EXPLAIN {sql}");
    let rows = bound(sqlx::query(&explain), values).fetch_all(&mut *connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

#[tokio::test]
async fn hot_statements_scan_no_table() {
    let address = server::fresh_database(None).await;
    let database = PostgresDatabase::open(&address, TimeMs::default()).await.unwrap();
    let (text, set, number) = (|| Value::from("x"), || Value::among(["x"]), || Value::from(1_i64));
    let numbers = || Value::Ints(vec![1]);
    let hot = [
        (hot::AUTHENTICATE, values![[0; 32], number()]),
        (hot::LOGGED.postgres, values![text(), numbers()]),
        (hot::LESSONS.postgres, values![set()]),
        (hot::PERIODS, values![text()]),
        (hot::UNITS.postgres, values![set()]),
        (hot::PROGRESS.postgres, values![text(), set(), numbers()]),
        (hot::SESSIONS.postgres, values![set()]),
        (hot::ANSWERS_IN.postgres, values![set(), text()]),
        (hot::QUIZZES.postgres, values![set()]),
        (hot::BOOKMARKS.postgres, values![set()]),
        (hot::DOWNLOADS.postgres, values![set()]),
        (hot::COUNTERS.postgres, values![set(), number()]),
        (hot::EPOCH_BY_NAME, values![text()]),
        (hot::CHANGED, values![text(), text(), number(), true, number()]),
        (hot::THERE.postgres, values![set()]),
        (hot::ANSWERS_THERE, values![text()]),
        (hot::SUMS_KEPT, values![text(), number()]),
        (hot::PAGE_OF_PROGRESS, values![text(), number(), number()]),
        (hot::PAGE_OF_SESSIONS, values![text(), number(), number()]),
        (hot::PAGE_OF_ANSWERS, values![text(), number(), number()]),
        (hot::PAGE_OF_BOOKMARKS, values![text(), number(), number()]),
        (hot::PAGE_OF_TOMBSTONES, values![text(), number(), number()]),
    ];
    for (sql, values) in hot {
        let plan = plan(&database, sql, values).await;
        assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{sql}\n{plan}");
    }
    database.close().await;
}
