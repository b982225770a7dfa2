//! The limit on what the store takes of this device, in the table `metadata`: the store is shared by all learners, and so
//! is its limit.

use sqlx::Row as _;

use crate::{EngineError, library::Library, rows::signed};

const NAME: &str = "storage_quota";

pub(super) async fn kept(library: &Library) -> Result<Option<u64>, EngineError> {
    let row =
        sqlx::query("SELECT value FROM metadata WHERE name = ?").bind(NAME).fetch_optional(library.readers()).await?;
    let text: Option<String> = row.map(|row| row.try_get("value")).transpose()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

pub(super) async fn keep(library: &Library, bytes: Option<u64>) -> Result<(), EngineError> {
    let mut tx = library.write().await?;
    match bytes {
        Some(bytes) => {
            sqlx::query(
                "INSERT INTO metadata (name, value) VALUES (?, ?)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(NAME)
            .bind(signed(bytes).to_string())
            .execute(&mut *tx)
            .await?;
        }
        None => {
            sqlx::query("DELETE FROM metadata WHERE name = ?").bind(NAME).execute(&mut *tx).await?;
        }
    }
    Ok(tx.commit().await?)
}
