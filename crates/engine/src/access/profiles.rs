//! The table `profiles`: who learns on this device.

use carrel_model::{DeviceId, LearnerId, ProfileId, TimeMs, lease::LeaseKey, lease::SignedLease};
use sqlx::{Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction, sqlite::SqliteRow};
use url::Url;

use super::view::ProfileView;
use crate::{EngineError, rows::parsed};

/// The name of the one in use, in the table `metadata`.
const CURRENT: &str = "current_profile";

/// A row.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) id: ProfileId,
    pub(crate) learner_id: LearnerId,
    pub(crate) service_url: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) device_id: DeviceId,
    pub(crate) signed_in: bool,
}

impl Profile {
    fn read(row: &SqliteRow) -> Result<Self, EngineError> {
        Ok(Self {
            id: parsed(row, "id")?,
            learner_id: parsed(row, "learner_id")?,
            service_url: row.try_get("service_url")?,
            name: row.try_get("name")?,
            display_name: row.try_get("display_name")?,
            device_id: parsed(row, "device_id")?,
            signed_in: row.try_get("signed_in")?,
        })
    }

    /// The service's address, ready for joining.
    pub(crate) fn service(&self) -> Result<Url, EngineError> {
        super::address::service_address(&self.service_url)
    }

    pub(crate) fn view(&self) -> ProfileView {
        ProfileView {
            id: self.id,
            learner_id: self.learner_id,
            name: self.name.clone(),
            display_name: self.display_name.clone(),
            service_url: self.service_url.clone(),
            signed_in: self.signed_in,
        }
    }
}

/// Those who have not left, the one who used the device last first.
pub(crate) async fn list(readers: &SqlitePool) -> Result<Vec<Profile>, EngineError> {
    let rows = sqlx::query("SELECT * FROM profiles WHERE left_at IS NULL ORDER BY used_at DESC, id")
        .fetch_all(readers)
        .await?;
    rows.iter().map(Profile::read).collect()
}

/// One who has not left.
pub(crate) async fn get(readers: &SqlitePool, id: ProfileId) -> Result<Profile, EngineError> {
    let row = sqlx::query("SELECT * FROM profiles WHERE id = ?1 AND left_at IS NULL")
        .bind(id.to_string())
        .fetch_optional(readers)
        .await?;
    row.as_ref().map(Profile::read).transpose()?.ok_or(EngineError::NotFound("profile"))
}

/// The one in use.
pub(crate) async fn current(readers: &SqlitePool) -> Result<Option<Profile>, EngineError> {
    let row = sqlx::query(
        "SELECT p.* FROM metadata m JOIN profiles p ON p.id = m.value WHERE m.name = ?1 AND p.left_at IS NULL",
    )
    .bind(CURRENT)
    .fetch_optional(readers)
    .await?;
    row.as_ref().map(Profile::read).transpose()
}

/// Somebody who was here before, left or not, by what is known before signing in.
pub(crate) async fn by_name(readers: &SqlitePool, service: &str, name: &str) -> Result<Option<Profile>, EngineError> {
    let row = sqlx::query("SELECT * FROM profiles WHERE service_url = ?1 AND name = ?2 COLLATE NOCASE")
        .bind(service)
        .bind(name)
        .fetch_optional(readers)
        .await?;
    row.as_ref().map(Profile::read).transpose()
}

/// Somebody who was here before, left or not, by what is known after signing in.
pub(crate) async fn by_learner(
    readers: &SqlitePool,
    service: &str,
    learner: LearnerId,
) -> Result<Option<Profile>, EngineError> {
    let row = sqlx::query("SELECT * FROM profiles WHERE service_url = ?1 AND learner_id = ?2")
        .bind(service)
        .bind(learner.to_string())
        .fetch_optional(readers)
        .await?;
    row.as_ref().map(Profile::read).transpose()
}

/// Adds somebody, or brings them back.
pub(crate) async fn put(tx: &mut SqliteConnection, profile: &Profile, now: TimeMs) -> Result<(), EngineError> {
    sqlx::query(
        "INSERT INTO profiles (id, learner_id, service_url, name, display_name, device_id, signed_in, used_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, display_name = excluded.display_name,
             device_id = excluded.device_id, signed_in = excluded.signed_in, left_at = NULL",
    )
    .bind(profile.id.to_string())
    .bind(profile.learner_id.to_string())
    .bind(&profile.service_url)
    .bind(&profile.name)
    .bind(&profile.display_name)
    .bind(profile.device_id.to_string())
    .bind(profile.signed_in)
    .bind(now.as_ms())
    .execute(&mut *tx)
    .await?;
    sqlx::query("INSERT INTO sync_state (profile_id) VALUES (?1) ON CONFLICT DO NOTHING")
        .bind(profile.id.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

/// Makes one the current one.
pub(crate) async fn make_current(
    tx: &mut SqliteConnection,
    id: Option<ProfileId>,
    now: TimeMs,
) -> Result<(), EngineError> {
    let Some(id) = id else {
        sqlx::query("DELETE FROM metadata WHERE name = ?1").bind(CURRENT).execute(tx).await?;
        return Ok(());
    };
    sqlx::query(
        "INSERT INTO metadata (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(CURRENT)
    .bind(id.to_string())
    .execute(&mut *tx)
    .await?;
    // Later than everybody, even when the clock was turned back.
    sqlx::query("UPDATE profiles SET used_at = max(?2, (SELECT max(used_at) + 1 FROM profiles)) WHERE id = ?1")
        .bind(id.to_string())
        .bind(now.as_ms())
        .execute(tx)
        .await?;
    Ok(())
}

/// Notes whether the session holds; says whether that is news.
pub(crate) async fn set_signed_in(tx: &mut SqliteConnection, id: ProfileId, yes: bool) -> Result<bool, EngineError> {
    let done = sqlx::query("UPDATE profiles SET signed_in = ?2 WHERE id = ?1 AND signed_in <> ?2")
        .bind(id.to_string())
        .bind(yes)
        .execute(tx)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes everything of a learner. With `keep_unsent` the outbox and the events stay, and so does the row itself, unseen.
pub(crate) async fn remove(
    tx: &mut Transaction<'static, Sqlite>,
    id: ProfileId,
    keep_unsent: bool,
    now: TimeMs,
) -> Result<(), EngineError> {
    let id_text = id.to_string();
    if !keep_unsent {
        // The other tables follow by their foreign keys.
        sqlx::query("DELETE FROM profiles WHERE id = ?1").bind(id_text).execute(&mut **tx).await?;
        return Ok(());
    }
    for sql in [
        "DELETE FROM units WHERE profile_id = ?1",
        "DELETE FROM courses WHERE profile_id = ?1",
        "DELETE FROM assets WHERE profile_id = ?1",
        "DELETE FROM progress WHERE profile_id = ?1",
        "DELETE FROM sessions WHERE profile_id = ?1",
        "DELETE FROM answers WHERE profile_id = ?1",
        "DELETE FROM bookmarks WHERE profile_id = ?1",
        "DELETE FROM leases WHERE profile_id = ?1",
        "DELETE FROM settings WHERE profile_id = ?1",
        "DELETE FROM sync_state WHERE profile_id = ?1",
        "DELETE FROM pinned_units WHERE profile_id = ?1",
        "DELETE FROM clean_up_rules WHERE profile_id = ?1",
        "DELETE FROM cleanup_log WHERE profile_id = ?1",
        // What the service has already goes too; it comes back with the next sign-in.
        "DELETE FROM outbox WHERE profile_id = ?1 AND state = 'acked'",
    ] {
        sqlx::query(sql).bind(&id_text).execute(&mut **tx).await?;
    }
    sqlx::query("UPDATE profiles SET left_at = ?2, signed_in = 0 WHERE id = ?1")
        .bind(id_text)
        .bind(now.as_ms())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Keeps a lease, with the keys it was verified by.
pub(crate) async fn put_lease(
    tx: &mut SqliteConnection,
    id: ProfileId,
    lease: &SignedLease,
    keys: &[LeaseKey],
) -> Result<(), EngineError> {
    sqlx::query(
        "INSERT INTO leases (profile_id, lease, keys) VALUES (?1, ?2, ?3)
         ON CONFLICT (profile_id) DO UPDATE SET lease = excluded.lease, keys = excluded.keys",
    )
    .bind(id.to_string())
    .bind(serde_json::to_string(lease)?)
    .bind(serde_json::to_string(keys)?)
    .execute(tx)
    .await?;
    Ok(())
}

/// The lease that was kept, and the pinned keys.
pub(crate) async fn lease(
    readers: &SqlitePool,
    id: ProfileId,
) -> Result<Option<(SignedLease, Vec<LeaseKey>)>, EngineError> {
    let row: Option<(String, String)> = sqlx::query_as("SELECT lease, keys FROM leases WHERE profile_id = ?1")
        .bind(id.to_string())
        .fetch_optional(readers)
        .await?;
    row.map(|(lease, keys)| Ok((serde_json::from_str(&lease)?, serde_json::from_str(&keys)?))).transpose()
}
