//! The diagnostics window's view of the database.
//!
//! tauri-plugin-sql runs any SQL it is given. So it is given one pool only, the engine's read-only one (`mode=ro`,
//! `query_only`), no window may load another, and the diagnostics window alone may select.

use carrel_host::Host;
use futures_util::StreamExt as _;
use tauri::{AppHandle, Manager as _, Runtime};
use tauri_plugin_sql::{DbInstances, DbPool};

/// The name the UI asks for.
const NAME: &str = "sqlite:carrel.db";

/// Hands the pool to the plugin, again after each reopening.
pub(crate) async fn offer<R: Runtime>(app: AppHandle<R>, host: Host) {
    let mut pools = host.read_only_pools();
    while let Some(pool) = pools.next().await {
        app.state::<DbInstances>().0.write().await.insert(NAME.to_owned(), DbPool::Sqlite(pool));
    }
}
