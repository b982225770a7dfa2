//! The host in the app: opened behind the window, waited for by whoever needs it, closed at the end.

use std::{sync::Arc, time::Duration};

use carrel_host::{
    EngineConfig, Host, HostConfig, Ports,
    device::device_name,
    media::{MediaAddresses, MediaHandler, MediaServer, Route, SCHEME},
};
use carrel_platform::Platform;
use tauri::{AppHandle, Manager as _, Runtime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Options, diagnostics, notifications};

/// How long the app waits for the store to close before it goes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A part of a film held in memory at once, where the platform can't stream.
const LONGEST_PART_BYTES: u64 = 4 * 1024 * 1024;

/// The host, once it is there. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk(watch::Sender<Option<Opened>>);

#[derive(Debug, Clone)]
struct Opened {
    host: Host,
    media: MediaHandler,
}

impl Default for Desk {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Desk {
    /// The host; waits until it is there.
    pub async fn host(&self) -> Host {
        self.opened().await.host
    }

    pub(crate) async fn media(&self) -> MediaHandler {
        self.opened().await.media
    }

    pub(crate) fn host_now(&self) -> Option<Host> {
        self.0.borrow().as_ref().map(|opened| opened.host.clone())
    }

    async fn opened(&self) -> Opened {
        let mut changes = self.0.subscribe();
        loop {
            if let Some(opened) = changes.borrow_and_update().as_ref() {
                return opened.clone();
            }
            // The sender is `self`: it can't go away while we wait.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Opens the store and everything around it.
pub(crate) async fn open<R: Runtime>(app: AppHandle<R>, options: Options) {
    match prepare(&app, options).await {
        Ok(opened) => {
            let host = opened.host.clone();
            app.state::<Desk>().0.send_replace(Some(opened));
            tauri::async_runtime::spawn(diagnostics::offer(app.clone(), host.clone()));
            tauri::async_runtime::spawn(notifications::show_endings(app.clone(), host.clone()));
            #[cfg(desktop)]
            tauri::async_runtime::spawn(crate::tray::speak(app, host));
        }
        Err(error) => {
            // No HTTP client, no loopback port, no home folder: the machine is in no state to run anything.
            log::error!("Carrel can't start: {error}");
            app.exit(1);
        }
    }
}

async fn prepare<R: Runtime>(
    app: &AppHandle<R>,
    options: Options,
) -> Result<Opened, Box<dyn std::error::Error + Send + Sync>> {
    let data_dir = match options.data_dir {
        Some(folder) => folder,
        None => app.path().app_data_dir()?,
    };
    let platform = Platform::watch();
    #[cfg(target_os = "android")]
    tauri::async_runtime::spawn(crate::android::watch(app.clone(), platform.clone()));
    let ports = platform.within(Ports::system(&data_dir).await?);
    let server = if Route::needs_loopback() { Some(MediaServer::start().await?) } else { None };
    let route = server.as_ref().map_or(Route::Scheme, |server| Route::Loopback(server.address()));
    let media = MediaAddresses::new(route, ports.clock.clone());
    let config = HostConfig {
        engine: EngineConfig { data_dir, device_name: device_name() },
        suggested_service: options.suggested_service,
    };
    let host = Host::open(config, ports, media).await;

    let hosts = match route {
        Route::Loopback(address) => vec![address.to_string()],
        Route::SameOrigin | Route::Scheme => vec!["localhost".to_owned(), format!("{SCHEME}.localhost")],
    };
    let mut media = MediaHandler::new(Arc::new(host.clone()), host.media().clone(), host.http_client().clone(), hosts);
    if tauri::is_dev()
        && let Some(page) = &app.config().build.dev_url
    {
        media = media.allow_origin(page.origin().ascii_serialization());
    }
    match server {
        Some(server) => drop(server.serve(media.clone(), CancellationToken::new())),
        None => media = media.limit_parts(LONGEST_PART_BYTES),
    }
    Ok(Opened { host, media })
}

/// Closes the store. What was acknowledged is durable already; this only leaves a tidy file behind.
pub(crate) fn close<R: Runtime>(app: &AppHandle<R>) {
    let Some(host) = app.state::<Desk>().host_now() else { return };
    tauri::async_runtime::block_on(async {
        if tokio::time::timeout(PATIENCE, host.close()).await.is_err() {
            log::warn!("the store took too long to close");
        }
    });
}
