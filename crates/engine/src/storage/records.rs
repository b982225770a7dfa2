//! The tables `pinned_units`, `clean_up_rules` and `cleanup_log`.

use std::collections::{BTreeMap, BTreeSet};

use carrel_model::{ProfileId, TimeMs, UnitId};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, SqlitePool, sqlite::SqliteRow};

use super::view::{CleanUpEntry, CleanUpRules, DeletedBy, DeletedWhy};
use crate::{
    EngineError,
    library::WriteTx,
    rows::{parsed, signed, time, time_option, unsigned},
};

/// The most entries of the log that are shown; older ones are kept.
const SHOWN: u32 = 200;

/// Units a learner wants to keep.
pub(super) async fn pinned(readers: &SqlitePool, profile: ProfileId) -> Result<BTreeSet<UnitId>, EngineError> {
    let rows = sqlx::query("SELECT unit_id FROM pinned_units WHERE profile_id = ?")
        .bind(profile.to_string())
        .fetch_all(readers)
        .await?;
    rows.iter().map(|row| parsed(row, "unit_id")).collect()
}

pub(super) async fn pin(
    tx: &mut WriteTx,
    profile: ProfileId,
    unit: UnitId,
    pinned: bool,
    now: TimeMs,
) -> Result<(), EngineError> {
    let sql = if pinned {
        "INSERT INTO pinned_units (profile_id, unit_id, pinned_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"
    } else {
        "DELETE FROM pinned_units WHERE profile_id = ?1 AND unit_id = ?2 AND ?3 IS NOT NULL"
    };
    sqlx::query(sql).bind(profile.to_string()).bind(unit.to_string()).bind(now.as_ms()).execute(&mut **tx).await?;
    Ok(())
}

/// What a learner chose.
pub(super) async fn rules(readers: &SqlitePool, profile: ProfileId) -> Result<CleanUpRules, EngineError> {
    let kept: Option<String> = sqlx::query_scalar("SELECT rules FROM clean_up_rules WHERE profile_id = ?")
        .bind(profile.to_string())
        .fetch_optional(readers)
        .await?;
    // Rules of another version that can't be read delete nothing but what the defaults do.
    Ok(kept.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
}

pub(super) async fn set_rules(tx: &mut WriteTx, profile: ProfileId, rules: CleanUpRules) -> Result<(), EngineError> {
    sqlx::query(
        "INSERT INTO clean_up_rules (profile_id, rules) VALUES (?, ?)
         ON CONFLICT (profile_id) DO UPDATE SET rules = excluded.rules",
    )
    .bind(profile.to_string())
    .bind(serde_json::to_string(&rules)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// One line for each unit that a deletion took.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) unit: UnitId,
    pub(super) title: String,
    pub(super) why: DeletedWhy,
    pub(super) bytes: u64,
}

pub(super) async fn log(
    tx: &mut WriteTx,
    profile: ProfileId,
    now: TimeMs,
    by: DeletedBy,
    undo_until: Option<TimeMs>,
    lines: &[Line],
) -> Result<(), EngineError> {
    for line in lines {
        sqlx::query(
            "INSERT INTO cleanup_log (profile_id, at, unit_id, title, by_whom, why, bytes, undo_until)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(profile.to_string())
        .bind(now.as_ms())
        .bind(line.unit.to_string())
        .bind(&line.title)
        .bind(word(&by)?)
        .bind(word(&line.why)?)
        .bind(signed(line.bytes))
        .bind(undo_until.map(TimeMs::as_ms))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Units that came back.
pub(super) async fn log_undone(
    tx: &mut WriteTx,
    profile: ProfileId,
    units: &BTreeMap<UnitId, TimeMs>,
    now: TimeMs,
) -> Result<(), EngineError> {
    for (unit, deleted_at) in units {
        sqlx::query(
            "UPDATE cleanup_log SET undone_at = ?1
             WHERE profile_id = ?2 AND unit_id = ?3 AND at = ?4 AND undo_until IS NOT NULL",
        )
        .bind(now.as_ms())
        .bind(profile.to_string())
        .bind(unit.to_string())
        .bind(deleted_at.as_ms())
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// The last entries of a learner's log, newest first.
pub(super) async fn entries(readers: &SqlitePool, profile: ProfileId) -> Result<Vec<CleanUpEntry>, EngineError> {
    let rows = sqlx::query("SELECT * FROM cleanup_log WHERE profile_id = ? ORDER BY id DESC LIMIT ?")
        .bind(profile.to_string())
        .bind(SHOWN)
        .fetch_all(readers)
        .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &SqliteRow) -> Result<CleanUpEntry, EngineError> {
    Ok(CleanUpEntry {
        at: time(row, "at")?,
        unit_id: parsed(row, "unit_id")?,
        title: row.try_get("title")?,
        by: read_word(row.try_get("by_whom")?)?,
        why: read_word(row.try_get("why")?)?,
        bytes: unsigned(row, "bytes")?,
        undo_until: time_option(row, "undo_until")?,
        undone: time_option(row, "undone_at")?.is_some(),
    })
}

/// A plain enum as it is written on the wire.
pub(super) fn word(value: &impl Serialize) -> Result<String, EngineError> {
    Ok(serde_json::to_value(value)?.as_str().unwrap_or_default().to_owned())
}

fn read_word<T: DeserializeOwned>(text: String) -> Result<T, EngineError> {
    Ok(serde_json::from_value(serde_json::Value::String(text))?)
}
