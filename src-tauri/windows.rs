//! The windows, as `tauri.conf.json` describes them.

#[cfg(desktop)]
use tauri::Manager as _;
use tauri::{AppHandle, Runtime, WebviewWindowBuilder};

/// The learner's window.
pub(crate) const MAIN: &str = "main";

/// The window that looks into the database.
const DIAGNOSTICS: &str = "diagnostics";

/// Brings the learner's window to the front.
#[cfg(desktop)]
pub(crate) fn show_main<R: Runtime>(app: &AppHandle<R>) {
    let Some(window) = app.get_webview_window(MAIN) else { return };
    let shown = window.unminimize().and_then(|()| window.show()).and_then(|()| window.set_focus());
    if let Err(error) = shown {
        log::warn!("the window can't be shown: {error}");
    }
}

/// Opens the diagnostics window, or brings it to the front.
pub(crate) fn show_diagnostics<R: Runtime>(app: &AppHandle<R>) -> tauri::Result<()> {
    #[cfg(desktop)]
    if let Some(window) = app.get_webview_window(DIAGNOSTICS) {
        return window.set_focus();
    }
    let described = app.config().app.windows.iter().find(|window| window.label == DIAGNOSTICS);
    let described = described.ok_or(tauri::Error::WindowNotFound)?;
    WebviewWindowBuilder::from_config(app, described)?.build()?;
    Ok(())
}
