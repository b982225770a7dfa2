//! What the diagnostics window shows without writing SQL.

use carrel_engine::EngineError;
use sqlx::SqlitePool;

use crate::{Host, HostError};

/// For the diagnostics window.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, ts_rs::TS)]
pub struct DiagnosticsView {
    /// Version of the app.
    pub version: String,
    /// Version of SQLite at run time.
    pub sqlite_version: String,
    /// Result of `PRAGMA quick_check`: "ok" or what is wrong.
    pub quick_check: String,
    /// Rows by table.
    pub rows: Vec<(String, u32)>,
}

impl Host {
    pub(crate) async fn diagnostics(&self) -> Result<DiagnosticsView, HostError> {
        let engine = self.engine()?;
        Ok(read(engine.read_only_pool()).await.map_err(EngineError::from)?)
    }
}

async fn read(pool: &SqlitePool) -> Result<DiagnosticsView, sqlx::Error> {
    let sqlite_version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(pool).await?;
    let problems: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(20)").fetch_all(pool).await?;
    let tables: Vec<String> = sqlx::query_scalar(
        r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name",
    )
    .fetch_all(pool)
    .await?;
    let mut rows = Vec::with_capacity(tables.len());
    for table in tables {
        let count = format!(r#"SELECT count(*) FROM "{}""#, table.replace('"', "\"\""));
        rows.push((table, sqlx::query_scalar(&count).fetch_one(pool).await?));
    }
    Ok(DiagnosticsView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sqlite_version,
        quick_check: problems.join("\n"),
        rows,
    })
}
