//! Accounts, devices and tokens.

use carrel_model::{DeviceId, LearnerId, TimeMs, time::MINUTE_MS};

use super::{Database, Row, Transaction, values};
use crate::store::{Account, Caller, NewTokens, StoreError, TokenHash};

/// An answer can get lost: for this long the token it replaced is good for another exchange.
const REFRESH_GRACE_MS: i64 = MINUTE_MS;

/// Whose token it is. Asked before every other request.
pub(in crate::store) const AUTHENTICATE: &str =
    "SELECT learner_id, device_id FROM access_tokens WHERE token_hash = $1 AND expires_at > $2";

pub(super) async fn add(db: &dyn Database, account: &Account) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let added = tx
        .execute(
            "INSERT INTO accounts (learner_id, name, display_name, password_hash, quota_bytes, created_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
            values![
                account.learner,
                &account.name,
                &account.display_name,
                &account.password_hash,
                account.quota_bytes,
                account.created_at
            ],
        )
        .await?;
    tx.commit().await?;
    if added == 0 { Err(StoreError::NameTaken) } else { Ok(()) }
}

pub(super) async fn all(db: &dyn Database) -> Result<Vec<Account>, StoreError> {
    let rows = db
        .read(
            "SELECT learner_id, name, display_name, password_hash, quota_bytes, created_at FROM accounts ORDER BY name",
            values![],
        )
        .await?;
    rows.iter().map(account).collect()
}

pub(super) async fn by_name(db: &dyn Database, name: &str) -> Result<Option<Account>, StoreError> {
    let rows = db
        .read(
            "SELECT learner_id, name, display_name, password_hash, quota_bytes, created_at FROM accounts
             WHERE name = $1",
            values![name],
        )
        .await?;
    rows.first().map(account).transpose()
}

fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        learner: row.word("learner_id")?,
        name: row.text("name")?.to_owned(),
        display_name: row.text("display_name")?.to_owned(),
        password_hash: row.text("password_hash")?.to_owned(),
        quota_bytes: row.number_or_none("quota_bytes")?,
        created_at: row.time("created_at")?,
    })
}

pub(super) async fn set_password(db: &dyn Database, learner: LearnerId, hash: &str) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let changed =
        tx.execute("UPDATE accounts SET password_hash = $2 WHERE learner_id = $1", values![learner, hash]).await?;
    if changed == 0 {
        return Err(StoreError::UnknownAccount);
    }
    for sql in ["DELETE FROM access_tokens WHERE learner_id = $1", "DELETE FROM refresh_tokens WHERE learner_id = $1"] {
        tx.execute(sql, values![learner]).await?;
    }
    tx.commit().await
}

pub(super) async fn open_session(
    db: &dyn Database,
    caller: Caller,
    device_name: &str,
    tokens: &NewTokens,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let bound = tx
        .execute(
            "INSERT INTO devices (device_id, learner_id, name, first_seen, last_seen) VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (device_id) DO UPDATE SET name = excluded.name, last_seen = excluded.last_seen
             WHERE devices.learner_id = excluded.learner_id",
            values![caller.device, caller.learner, device_name, now],
        )
        .await?;
    if bound == 0 {
        return Err(StoreError::DeviceTaken);
    }
    end_sessions(tx.as_mut(), caller.device).await?;
    keep_tokens(tx.as_mut(), caller, tokens).await?;
    tx.commit().await
}

async fn keep_tokens(tx: &mut dyn Transaction, caller: Caller, tokens: &NewTokens) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO access_tokens (token_hash, learner_id, device_id, expires_at) VALUES ($1, $2, $3, $4)",
        values![tokens.access, caller.learner, caller.device, tokens.access_expires_at],
    )
    .await?;
    tx.execute(
        "INSERT INTO refresh_tokens (token_hash, learner_id, device_id, expires_at, replaced_at)
         VALUES ($1, $2, $3, $4, NULL)",
        values![tokens.refresh, caller.learner, caller.device, tokens.refresh_expires_at],
    )
    .await?;
    Ok(())
}

async fn end_sessions(tx: &mut dyn Transaction, device: DeviceId) -> Result<(), StoreError> {
    for sql in ["DELETE FROM access_tokens WHERE device_id = $1", "DELETE FROM refresh_tokens WHERE device_id = $1"] {
        tx.execute(sql, values![device]).await?;
    }
    Ok(())
}

pub(super) async fn bind_device(
    db: &dyn Database,
    learner: LearnerId,
    device: DeviceId,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    let bound = tx
        .execute(
            "INSERT INTO devices (device_id, learner_id, name, first_seen, last_seen) VALUES ($1, $2, '', $3, $3)
             ON CONFLICT (device_id) DO UPDATE SET last_seen = excluded.last_seen
             WHERE devices.learner_id = excluded.learner_id",
            values![device, learner, now],
        )
        .await?;
    tx.commit().await?;
    if bound == 0 { Err(StoreError::DeviceTaken) } else { Ok(()) }
}

pub(super) async fn rotate_session(
    db: &dyn Database,
    presented: TokenHash,
    device: DeviceId,
    tokens: &NewTokens,
    now: TimeMs,
) -> Result<Option<Account>, StoreError> {
    let mut tx = db.begin().await?;
    let row = tx
        .row(
            "SELECT t.expires_at, t.replaced_at, a.learner_id, a.name, a.display_name, a.password_hash, a.quota_bytes,
                    a.created_at
             FROM refresh_tokens t JOIN accounts a ON a.learner_id = t.learner_id
             WHERE t.token_hash = $1 AND t.device_id = $2",
            values![presented, device],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.time("expires_at")? <= now {
        return Ok(None);
    }
    if row.time_or_none("replaced_at")?.is_some_and(|at| now.since(at) > REFRESH_GRACE_MS) {
        end_sessions(tx.as_mut(), device).await?;
        tx.commit().await?;
        return Ok(None);
    }
    let account = account(&row)?;
    // The first exchange starts the grace; a second within it does not prolong it.
    let kept = tx
        .execute(
            "UPDATE refresh_tokens SET replaced_at = COALESCE(replaced_at, $2) WHERE token_hash = $1",
            values![presented, now],
        )
        .await?;
    if kept == 0 {
        // The session was ended at this very moment.
        return Ok(None);
    }
    tx.execute("UPDATE devices SET last_seen = $2 WHERE device_id = $1", values![device, now]).await?;
    keep_tokens(tx.as_mut(), Caller { learner: account.learner, device }, tokens).await?;
    tx.commit().await?;
    Ok(Some(account))
}

pub(super) async fn authenticate(
    db: &dyn Database,
    access: TokenHash,
    now: TimeMs,
) -> Result<Option<Caller>, StoreError> {
    let rows = db.read(AUTHENTICATE, values![access, now]).await?;
    rows.first().map(|row| Ok(Caller { learner: row.word("learner_id")?, device: row.word("device_id")? })).transpose()
}

pub(super) async fn close_session(db: &dyn Database, caller: Caller) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    end_sessions(tx.as_mut(), caller.device).await?;
    tx.commit().await
}

pub(super) async fn prune(tx: &mut dyn Transaction, now: TimeMs) -> Result<(), StoreError> {
    for sql in ["DELETE FROM access_tokens WHERE expires_at <= $1", "DELETE FROM refresh_tokens WHERE expires_at <= $1"]
    {
        tx.execute(sql, values![now]).await?;
    }
    Ok(())
}
