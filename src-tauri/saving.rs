//! An export leaves the app as a file, where the learner says.

use std::path::Path;

use carrel_host::{ErrorCode, HostError};
use tauri::{AppHandle, Runtime};
use tauri_plugin_dialog::DialogExt as _;

/// Asks where, writes the text; `false` when the person changed their mind.
#[tauri::command]
pub(crate) async fn save_file<R: Runtime>(app: AppHandle<R>, name: String, content: String) -> Result<bool, HostError> {
    // A name only: the folder is the person's choice.
    let name = Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (answer, chosen) = tokio::sync::oneshot::channel();
    app.dialog().file().set_file_name(name).save_file(move |path| {
        // Nobody waits only when the app is quitting.
        answer.send(path).ok();
    });
    let Some(path) = chosen.await.ok().flatten() else { return Ok(false) };
    let path = path.into_path().map_err(|error| HostError::new(ErrorCode::Unsupported, error.to_string()))?;
    let written = tokio::fs::write(&path, content).await;
    written.map_err(|error| HostError::new(ErrorCode::StorageUnavailable, error.to_string()))?;
    Ok(true)
}
