//! Carrying over what only this device has from a database that can't be trusted any more.
//!
//! Profiles, their events and their outbox exist nowhere else; everything else comes back from the service. Rows are read
//! from both ends until the damage stops the reading, each taken on its own, so that one bad page costs what is on it and
//! no more.

use std::path::Path;

use futures_util::StreamExt as _;
use sqlx::{
    Column as _, ConnectOptions as _, Connection as _, Row as _, SqliteConnection, SqlitePool, TypeInfo as _,
    ValueRef as _, sqlite::SqliteRow,
};

use super::pragmas;

/// Parents before children, and how to read each from either end.
const TABLES: [(&str, &str); 5] = [
    ("profiles", "id"),
    ("leases", "profile_id"),
    ("settings", "profile_id"),
    ("events", "profile_id, seq"),
    ("outbox", "profile_id, seq"),
];

/// Reads what can be read of the old database into the new one; gives the number of unsent writes carried over.
pub(super) async fn salvage(old: &Path, writer: &SqlitePool) -> Result<u32, sqlx::Error> {
    let Ok(mut source) = pragmas::reader(old).connect().await else { return Ok(0) };
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    for (table, order) in TABLES {
        let columns: Vec<String> =
            sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)").bind(table).fetch_all(&mut *tx).await?;
        for direction in ["ASC", "DESC"] {
            let ordered =
                order.split(", ").map(|column| format!("{column} {direction}")).collect::<Vec<_>>().join(", ");
            let sql = format!("SELECT * FROM {table} ORDER BY {ordered}");
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
    // Whether these are still signed in is found out with the next request.
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

/// Inserts one row, with those of its columns that still exist. A row that doesn't fit is left out.
async fn keep(into: &mut SqliteConnection, table: &str, known: &[String], row: &SqliteRow) -> Result<(), sqlx::Error> {
    let columns: Vec<&str> =
        row.columns().iter().map(|column| column.name()).filter(|name| known.iter().any(|k| k == name)).collect();
    let slots = (1..=columns.len()).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT OR IGNORE INTO {table} ({}) VALUES ({slots})", columns.join(", "));
    let mut insert = sqlx::query(&sql);
    for name in &columns {
        let value = row.try_get_raw(*name)?;
        insert = match value.type_info().name() {
            _ if value.is_null() => insert.bind(None::<String>),
            "INTEGER" => insert.bind(row.try_get_unchecked::<i64, _>(*name)?),
            "REAL" => insert.bind(row.try_get_unchecked::<f64, _>(*name)?),
            "BLOB" => insert.bind(row.try_get_unchecked::<Vec<u8>, _>(*name)?),
            _ => insert.bind(row.try_get_unchecked::<String, _>(*name)?),
        };
    }
    match insert.execute(into).await {
        Err(error) if error.as_database_error().is_some_and(|e| !e.is_foreign_key_violation()) => {
            tracing::warn!(table, %error, "a row could not be carried over");
            Ok(())
        }
        Err(sqlx::Error::Database(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
