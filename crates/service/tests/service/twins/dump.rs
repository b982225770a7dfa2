//! Everything a database holds, as lines of text that are the same for the same content in either database.

use std::fmt::Write as _;

use sqlx::{Connection as _, PgConnection, SqliteConnection};

/// Each table, its columns and its order. A column is a number or a text, or `?` yes or no, or `#` bytes.
const TABLES: &[(&str, &str, &str)] = &[
    ("sync_scope", "scope seq pruned_through epoch_no", "scope"),
    ("epoch_marks", "scope epoch_no seq", "scope, epoch_no"),
    ("accounts", "learner_id name display_name password_hash quota_bytes created_at", "learner_id"),
    ("devices", "device_id learner_id name first_seen last_seen", "device_id"),
    ("access_tokens", "#token_hash learner_id device_id expires_at", "token_hash"),
    ("refresh_tokens", "#token_hash learner_id device_id expires_at replaced_at", "token_hash"),
    ("courses", "course_id key ?open ?premium position body seq updated_at deleted_at", "course_id"),
    ("enrolments", "learner_id course_id role starts_at expires_at ended_at seq", "id"),
    ("units", "unit_id course_id key position body seq updated_at deleted_at", "unit_id"),
    ("lessons", "lesson_id course_id unit_id key kind max_position quiz deleted_at", "lesson_id"),
    ("blobs", "hash size mime #pieces", "hash"),
    ("assets", "asset_id course_id unit_id lesson_id key body deleted_at", "asset_id"),
    ("renditions", "asset_id quality hash", "asset_id, quality"),
    ("tombstones", "scope seq entity id deleted_at", "scope, entity, id"),
    ("op_log", "device_id op_seq learner_id kind entity_id #content_hash outcome received_at", "device_id, op_seq"),
    (
        "sync_log",
        "learner_id device_id op_seq entity entity_id action data outcome device_at effective_at received_at",
        "id",
    ),
    (
        "progress",
        "learner_id lesson_id attempt status percent completed_at position position_at position_device_id \
         position_op_seq seq",
        "learner_id, lesson_id, attempt",
    ),
    (
        "sessions",
        "session_id learner_id lesson_id attempt kind status status_at status_device_id status_op_seq started_at \
         ended_at answered correct points max_points duration_ms grade seq",
        "session_id",
    ),
    (
        "answers",
        "device_id op_seq learner_id session_id lesson_id #question_id response answered_at seq",
        "device_id, op_seq",
    ),
    (
        "bookmarks",
        "bookmark_id learner_id lesson_id position #note ?deleted written_at device_id op_seq seq",
        "bookmark_id",
    ),
    (
        "downloads",
        "download_id learner_id device_id unit_id state quality bytes ?deleted reported_at op_seq lapsed_at",
        "download_id",
    ),
    ("record_sums", "learner_id shape progress sessions answers bookmarks", "learner_id"),
    ("storage_usage", "learner_id device_id bytes updated_at", "learner_id, device_id"),
];
/// What names a database and its times and can't be the same in two.
const OWN: &[&str] = &["service_state", "epochs", "_sqlx_migrations"];

/// A statement that gives each row of a table as one text.
fn as_lines(table: &str, columns: &str, order: &str, hex: impl Fn(&str) -> String) -> String {
    let mut parts = Vec::new();
    for column in columns.split_whitespace() {
        let (kind, name) = match column.split_at(1) {
            (kind @ ("?" | "#"), name) => (kind, name),
            _ => ("", column),
        };
        let value = match kind {
            "?" => format!("CASE WHEN {name} THEN 'yes' ELSE 'no' END"),
            "#" => hex(name),
            _ => format!("CAST({name} AS TEXT)"),
        };
        parts.push(format!("'{name}=' || COALESCE({value}, 'none')"));
    }
    format!("SELECT {} FROM {table} ORDER BY {order}", parts.join(" || ' ' || "))
}

fn checked(mut tables: Vec<String>) {
    tables.retain(|table| !OWN.contains(&table.as_str()) && !table.starts_with("sqlite_"));
    tables.sort();
    let mut listed: Vec<_> = TABLES.iter().map(|(table, ..)| (*table).to_owned()).collect();
    listed.sort();
    assert_eq!(tables, listed, "every table is compared");
}

/// Of SQLite.
pub(super) async fn of_sqlite(file: &std::path::Path) -> String {
    let mut database = SqliteConnection::connect(file.to_str().unwrap()).await.unwrap();
    let tables = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'");
    checked(tables.fetch_all(&mut database).await.unwrap());
    let mut text = String::new();
    for (table, columns, order) in TABLES {
        let sql = as_lines(table, columns, order, |name| format!("lower(hex(CAST({name} AS BLOB)))"));
        let lines: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut database).await.unwrap();
        lines.iter().for_each(|line| writeln!(text, "{table}: {line}").unwrap());
    }
    text
}

/// Of PostgreSQL.
pub(super) async fn of_postgres(address: &str) -> String {
    let mut database = PgConnection::connect(address).await.unwrap();
    let tables = sqlx::query_scalar("SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public'");
    checked(tables.fetch_all(&mut database).await.unwrap());
    let mut text = String::new();
    for (table, columns, order) in TABLES {
        let sql = as_lines(table, columns, order, |name| format!("encode({name}, 'hex')"));
        let lines: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut database).await.unwrap();
        lines.iter().for_each(|line| writeln!(text, "{table}: {line}").unwrap());
    }
    text
}
