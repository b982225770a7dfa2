//! One notification when a download has ended, if the learner wants them. Which ones, the host knows.

use carrel_host::{Host, endings::Ending};
use futures_util::StreamExt as _;
use tauri::{AppHandle, Runtime};

use crate::words::Language;

/// Shows them until the host is gone.
pub(crate) async fn show_endings<R: Runtime>(app: AppHandle<R>, host: Host) {
    let mut endings = host.endings();
    while let Some(ending) = endings.next().await {
        let language = Language::of(ending.language.as_deref());
        let what = if ending.ready { language.ready_offline() } else { language.download_failed() };
        show(&app, what, ending).await;
    }
}

#[cfg(desktop)]
async fn show<R: Runtime>(_: &AppHandle<R>, what: &'static str, ending: Ending) {
    // It talks to the notification server and waits for its answer.
    let shown = tauri::async_runtime::spawn_blocking(move || {
        let mut notification = notify_rust::Notification::new();
        notification.appname("Carrel").summary(what).body(&ending.title);
        #[cfg(windows)]
        notification.app_id("org.carrel.app");
        notification.show().map(drop)
    });
    if let Ok(Err(error)) = shown.await {
        log::info!("no notification: {error}");
    }
}

#[cfg(mobile)]
async fn show<R: Runtime>(app: &AppHandle<R>, what: &'static str, ending: Ending) {
    use tauri_plugin_notification::NotificationExt as _;
    if let Err(error) = app.notification().builder().title(what).body(ending.title).show() {
        log::info!("no notification: {error}");
    }
}
