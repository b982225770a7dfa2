//! Accounts, devices and tokens.

use carrel_model::{DeviceId, LearnerId, TimeMs, time::MINUTE_MS};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    SqliteStore,
    rows::{number_or_none, signed, time, time_or_none, word},
};
use crate::store::{Account, Caller, NewTokens, StoreError, TokenHash};

/// An answer can get lost: for this long the token it replaced is good for another exchange.
const REFRESH_GRACE_MS: i64 = MINUTE_MS;

pub(super) async fn add(store: &SqliteStore, account: &Account) -> Result<(), StoreError> {
    let added = sqlx::query(
        "INSERT INTO accounts (learner_id, name, display_name, password_hash, quota_bytes, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO NOTHING",
    )
    .bind(account.learner.to_string())
    .bind(&account.name)
    .bind(&account.display_name)
    .bind(&account.password_hash)
    .bind(account.quota_bytes.map(signed))
    .bind(account.created_at.as_ms())
    .execute(&store.writer)
    .await?;
    if added.rows_affected() == 0 { Err(StoreError::NameTaken) } else { Ok(()) }
}

pub(super) async fn all(store: &SqliteStore) -> Result<Vec<Account>, StoreError> {
    let rows = sqlx::query(
        "SELECT learner_id, name, display_name, password_hash, quota_bytes, created_at FROM accounts ORDER BY name",
    )
    .fetch_all(&store.readers)
    .await?;
    rows.iter().map(account).collect()
}

pub(super) async fn by_name(store: &SqliteStore, name: &str) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query(
        "SELECT learner_id, name, display_name, password_hash, quota_bytes, created_at FROM accounts WHERE name = ?1",
    )
    .bind(name)
    .fetch_optional(&store.readers)
    .await?;
    row.as_ref().map(account).transpose()
}

fn account(row: &SqliteRow) -> Result<Account, StoreError> {
    Ok(Account {
        learner: word(row, "learner_id")?,
        name: row.try_get("name")?,
        display_name: row.try_get("display_name")?,
        password_hash: row.try_get("password_hash")?,
        quota_bytes: number_or_none(row, "quota_bytes")?,
        created_at: time(row, "created_at")?,
    })
}

pub(super) async fn set_password(store: &SqliteStore, learner: LearnerId, hash: &str) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let changed = sqlx::query("UPDATE accounts SET password_hash = ?2 WHERE learner_id = ?1")
        .bind(learner.to_string())
        .bind(hash)
        .execute(&mut *tx)
        .await?;
    if changed.rows_affected() == 0 {
        return Err(StoreError::UnknownAccount);
    }
    for sql in ["DELETE FROM access_tokens WHERE learner_id = ?1", "DELETE FROM refresh_tokens WHERE learner_id = ?1"] {
        sqlx::query(sql).bind(learner.to_string()).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn open_session(
    store: &SqliteStore,
    caller: Caller,
    device_name: &str,
    tokens: &NewTokens,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let bound = sqlx::query(
        "INSERT INTO devices (device_id, learner_id, name, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (device_id) DO UPDATE SET name = excluded.name, last_seen = excluded.last_seen
         WHERE learner_id = excluded.learner_id",
    )
    .bind(caller.device.to_string())
    .bind(caller.learner.to_string())
    .bind(device_name)
    .bind(now.as_ms())
    .execute(&mut *tx)
    .await?;
    if bound.rows_affected() == 0 {
        return Err(StoreError::DeviceTaken);
    }
    end_sessions(&mut tx, caller.device).await?;
    keep_tokens(&mut tx, caller, tokens).await?;
    Ok(tx.commit().await?)
}

async fn keep_tokens(conn: &mut SqliteConnection, caller: Caller, tokens: &NewTokens) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO access_tokens (token_hash, learner_id, device_id, expires_at) VALUES (?1, ?2, ?3, ?4)")
        .bind(tokens.access.as_slice())
        .bind(caller.learner.to_string())
        .bind(caller.device.to_string())
        .bind(tokens.access_expires_at.as_ms())
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "INSERT INTO refresh_tokens (token_hash, learner_id, device_id, expires_at, replaced_at)
         VALUES (?1, ?2, ?3, ?4, NULL)",
    )
    .bind(tokens.refresh.as_slice())
    .bind(caller.learner.to_string())
    .bind(caller.device.to_string())
    .bind(tokens.refresh_expires_at.as_ms())
    .execute(conn)
    .await?;
    Ok(())
}

async fn end_sessions(conn: &mut SqliteConnection, device: DeviceId) -> Result<(), StoreError> {
    for sql in ["DELETE FROM access_tokens WHERE device_id = ?1", "DELETE FROM refresh_tokens WHERE device_id = ?1"] {
        sqlx::query(sql).bind(device.to_string()).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(super) async fn rotate_session(
    store: &SqliteStore,
    presented: TokenHash,
    device: DeviceId,
    tokens: &NewTokens,
    now: TimeMs,
) -> Result<Option<Account>, StoreError> {
    let mut tx = store.begin().await?;
    let row = sqlx::query(
        "SELECT t.expires_at, t.replaced_at, a.learner_id, a.name, a.display_name, a.password_hash, a.quota_bytes,
                a.created_at
         FROM refresh_tokens t JOIN accounts a ON a.learner_id = t.learner_id
         WHERE t.token_hash = ?1 AND t.device_id = ?2",
    )
    .bind(presented.as_slice())
    .bind(device.to_string())
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if time(&row, "expires_at")? <= now {
        return Ok(None);
    }
    if time_or_none(&row, "replaced_at")?.is_some_and(|at| now.since(at) > REFRESH_GRACE_MS) {
        end_sessions(&mut tx, device).await?;
        tx.commit().await?;
        return Ok(None);
    }
    let account = account(&row)?;
    // The first exchange starts the grace; a second within it does not prolong it.
    sqlx::query("UPDATE refresh_tokens SET replaced_at = COALESCE(replaced_at, ?2) WHERE token_hash = ?1")
        .bind(presented.as_slice())
        .bind(now.as_ms())
        .execute(&mut *tx)
        .await?;
    sqlx::query("UPDATE devices SET last_seen = ?2 WHERE device_id = ?1")
        .bind(device.to_string())
        .bind(now.as_ms())
        .execute(&mut *tx)
        .await?;
    keep_tokens(&mut tx, Caller { learner: account.learner, device }, tokens).await?;
    tx.commit().await?;
    Ok(Some(account))
}

pub(super) async fn authenticate(
    store: &SqliteStore,
    access: TokenHash,
    now: TimeMs,
) -> Result<Option<Caller>, StoreError> {
    let row = sqlx::query("SELECT learner_id, device_id FROM access_tokens WHERE token_hash = ?1 AND expires_at > ?2")
        .bind(access.as_slice())
        .bind(now.as_ms())
        .fetch_optional(&store.readers)
        .await?;
    row.map(|row| Ok(Caller { learner: word(&row, "learner_id")?, device: word(&row, "device_id")? })).transpose()
}

pub(super) async fn close_session(store: &SqliteStore, caller: Caller) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    end_sessions(&mut tx, caller.device).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn prune(store: &SqliteStore, now: TimeMs) -> Result<(), StoreError> {
    for sql in ["DELETE FROM access_tokens WHERE expires_at <= ?1", "DELETE FROM refresh_tokens WHERE expires_at <= ?1"]
    {
        sqlx::query(sql).bind(now.as_ms()).execute(&store.writer).await?;
    }
    Ok(())
}
