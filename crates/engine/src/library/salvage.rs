//! Carrying over what only this device has from a database that can't be trusted any more.
//!
//! Profiles, their events and their outbox exist nowhere else, nor does the name of the learner in use: with their tokens
//! (which are kept elsewhere) they are still signed in afterwards. Everything else comes back from the service. Rows are
//! read from both ends until the damage stops the reading, each taken on its own, so that one bad page costs what is on it
//! and no more.

use std::path::Path;

use futures_util::StreamExt as _;
use sqlx::{
    Column as _, ConnectOptions as _, Connection as _, Row as _, Sqlite, SqliteConnection, SqlitePool, TypeInfo as _,
    ValueRef as _,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{DiskFault, pragmas};

/// Parents before children, and how to read each from either end: along the tree that holds the rows, not an index of it.
const TABLES: [(&str, [&str; 2]); 6] = [
    ("profiles", BY_ROWID),
    ("metadata", BY_ROWID),
    ("leases", BY_ROWID),
    ("settings", BY_ROWID),
    ("events", BY_SEQ),
    ("outbox", BY_SEQ),
];
const BY_ROWID: [&str; 2] = ["NOT INDEXED ORDER BY rowid", "NOT INDEXED ORDER BY rowid DESC"];
const BY_SEQ: [&str; 2] = ["ORDER BY profile_id, seq", "ORDER BY profile_id DESC, seq DESC"];

/// Reads what can be read of the old database into the new one; gives the number of unsent writes carried over.
pub(super) async fn salvage(old: &Path, writer: &SqlitePool) -> Result<u32, sqlx::Error> {
    // SQLite would take the journal beside an empty file for a leftover, and delete it.
    if std::fs::metadata(old)?.len() == 0 {
        return Ok(0);
    }
    // Of a file that ends before its header says, SQLite reads nothing at all, unless it is told that somebody is mending it.
    let options = pragmas::reader(old).pragma("writable_schema", "ON");
    let Ok(mut source) = options.connect().await else { return Ok(0) };
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    for (table, orders) in TABLES {
        let columns: Vec<String> =
            sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)").bind(table).fetch_all(&mut *tx).await?;
        for order in orders {
            let sql = format!("SELECT * FROM {table} {order}");
            let mut rows = sqlx::query(&sql).fetch(&mut source);
            let mut whole = true;
            while let Some(row) = rows.next().await {
                let Ok(row) = row else {
                    whole = false;
                    break;
                };
                keep(&mut tx, table, &columns, &row).await?;
            }
            if whole {
                break;
            }
        }
    }
    // Where pulling stood is worth nothing without what was pulled: it begins anew.
    sqlx::query("INSERT OR IGNORE INTO sync_state (profile_id) SELECT id FROM profiles").execute(&mut *tx).await?;
    let unsent: u32 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE state <> 'acked'").fetch_one(&mut *tx).await?;
    sqlx::query(
        "UPDATE profiles SET next_seq = max(next_seq,
             coalesce((SELECT max(seq) + 1 FROM events WHERE profile_id = profiles.id), 1),
             coalesce((SELECT max(seq) + 1 FROM outbox WHERE profile_id = profiles.id), 1))",
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    source.close().await.ok();
    Ok(unsent)
}

/// Inserts one row, with those of its columns that still exist. A row that can't be read or doesn't fit is left out.
async fn keep(into: &mut SqliteConnection, table: &str, known: &[String], row: &SqliteRow) -> Result<(), sqlx::Error> {
    let columns: Vec<&str> =
        row.columns().iter().map(|column| column.name()).filter(|name| known.iter().any(|k| k == name)).collect();
    let slots = (1..=columns.len()).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({slots})", columns.join(", "));
    let kept = match bound(&sql, &columns, row) {
        Ok(insert) => insert.execute(into).await.map(|_| ()),
        Err(error) => Err(error),
    };
    match kept {
        // The disk's own word is no fault of the row.
        Err(error) if DiskFault::of(&error).is_none() => {
            tracing::warn!(table, %error, "a row could not be carried over");
            Ok(())
        }
        other => other,
    }
}

type Insert<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments<'q>>;

/// The values of a row as they are, whatever their columns should hold.
fn bound<'q>(sql: &'q str, columns: &[&str], row: &SqliteRow) -> Result<Insert<'q>, sqlx::Error> {
    let mut insert = sqlx::query(sql);
    for name in columns {
        let value = row.try_get_raw(*name)?;
        insert = match value.type_info().name() {
            _ if value.is_null() => insert.bind(None::<String>),
            "INTEGER" => insert.bind(row.try_get_unchecked::<i64, _>(*name)?),
            "REAL" => insert.bind(row.try_get_unchecked::<f64, _>(*name)?),
            "BLOB" => insert.bind(row.try_get_unchecked::<Vec<u8>, _>(*name)?),
            _ => insert.bind(row.try_get_unchecked::<String, _>(*name)?),
        };
    }
    Ok(insert)
}

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
