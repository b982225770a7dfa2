//! Every statement on a hot path finds its rows along an index.

use carrel_model::TimeMs;

use super::SqliteDatabase;
use crate::store::sql::{Database as _, hot};

/// What SQLite says it will do.
async fn plan(database: &SqliteDatabase, sql: &'static str) -> Vec<String> {
    let explained: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {sql}").into_boxed_str());
    let rows = database.read(explained, Vec::new()).await.unwrap();
    rows.iter().map(|row| row.text("detail").unwrap().to_owned()).collect()
}

async fn database(folder: &tempfile::TempDir) -> SqliteDatabase {
    SqliteDatabase::open(&folder.path().join("plans.db"), TimeMs::default()).await.unwrap()
}

#[tokio::test]
async fn hot_statements_scan_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let hot = [
        hot::AUTHENTICATE,
        hot::LOGGED.sqlite,
        hot::LESSONS.sqlite,
        hot::PERIODS,
        hot::UNITS.sqlite,
        hot::PROGRESS.sqlite,
        hot::SESSIONS.sqlite,
        hot::ANSWERS_IN.sqlite,
        hot::QUIZZES.sqlite,
        hot::BOOKMARKS.sqlite,
        hot::DOWNLOADS.sqlite,
        hot::COUNTERS.sqlite,
        hot::EPOCH_BY_NAME,
        hot::CHANGED,
        hot::THERE.sqlite,
        hot::ANSWERS_THERE,
        hot::SUMS_KEPT,
    ];
    for sql in hot {
        let plan = plan(&database, sql).await;
        // The set itself is walked through, and a constant is one row.
        let scans: Vec<_> = plan
            .iter()
            .filter(|step| step.starts_with("SCAN") && !step.contains("json_each") && !step.contains("CONSTANT"))
            .collect();
        assert!(scans.is_empty(), "{sql}\n{plan:#?}");
        assert!(plan.iter().any(|step| step.starts_with("SEARCH")), "{sql}\n{plan:#?}");
    }
}

#[tokio::test]
async fn courses_in_sight_are_found_by_one_look_at_each_enrolment() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(&database(&folder).await, hot::VISIBLE).await;
    assert!(plan.iter().any(|step| step.contains("enrolments_current")), "{plan:#?}");
}

#[tokio::test]
async fn every_set_is_read_along_an_index_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    for sql in [
        hot::PAGE_OF_PROGRESS,
        hot::PAGE_OF_SESSIONS,
        hot::PAGE_OF_ANSWERS,
        hot::PAGE_OF_BOOKMARKS,
        hot::PAGE_OF_TOMBSTONES,
    ] {
        let plan = plan(&database, sql).await;
        assert_eq!(plan.len(), 1, "no sorting afterwards: {plan:?}");
        let along = |step: &String| step.starts_with("SEARCH") && step.contains("_by_seq");
        assert!(plan.iter().all(along), "{plan:?}");
    }
}
