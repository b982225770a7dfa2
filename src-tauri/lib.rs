//! The shell: puts the host into windows.
//!
//! No rule and no SQL lives here. A command is decoded, handed to [`carrel_host`] and its answer encoded ([`ipc`]); events go
//! out through one channel for each window; the rest is what only a windowing system has – windows, tray, notifications,
//! links, the media protocol.

#[cfg(target_os = "android")]
mod android;
#[cfg(desktop)]
mod dbus;
mod desk;
mod diagnostics;
mod ipc;
mod links;
mod notifications;
mod protocol;
mod saving;
#[cfg(desktop)]
mod tray;
mod windows;
mod words;

use std::path::PathBuf;

use tauri::{Builder, Context, RunEvent, Runtime};

pub use desk::Desk;

/// Another folder for the library, for tests and for two Carrels side by side.
const DATA_DIR: &str = "CARREL_DATA_DIR";

/// The service offered at the first sign-in.
const SERVICE: &str = "CARREL_SERVICE";

/// Where an app lives, and what it offers.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder of the library; none: the platform's own.
    pub data_dir: Option<PathBuf>,
    /// The service offered at the first sign-in.
    pub suggested_service: Option<String>,
}

impl Options {
    /// As the environment says: `CARREL_DATA_DIR`, `CARREL_SERVICE`.
    #[must_use]
    pub fn from_env() -> Self {
        Self {
            data_dir: std::env::var_os(DATA_DIR).map(PathBuf::from),
            suggested_service: std::env::var(SERVICE).ok().filter(|url| !url.is_empty()),
        }
    }
}

/// Runs the app until it is quit.
#[cfg_attr(mobile, tauri::mobile_entry_point)]
pub fn run() {
    let options = Options::from_env();
    let builder = with_platform(Builder::default(), &options);
    match with_host(builder, options).build(context()) {
        Ok(app) => app.run(|app, event| match event {
            RunEvent::Exit => desk::close(app),
            #[cfg(desktop)]
            RunEvent::WindowEvent { label, event: tauri::WindowEvent::Destroyed, .. } if label == windows::MAIN => {
                // The diagnostics window alone is no app.
                app.exit(0);
            }
            _ => {}
        }),
        Err(error) => {
            // Without a window there is nobody else to tell.
            eprintln!("Carrel can't start: {error}");
            std::process::exit(1);
        }
    }
}

/// What the build put in: configuration, permissions, the UI.
#[must_use]
pub fn context<R: Runtime>() -> Context<R> {
    tauri::generate_context!()
}

/// Everything that does not touch the desktop: the host, commands, media, the diagnostics pool. Tests build on it.
#[must_use]
pub fn with_host<R: Runtime>(builder: Builder<R>, options: Options) -> Builder<R> {
    let shell_commands = ipc::shell_commands();
    let builder = builder
        .plugin(tauri_plugin_sql::Builder::new().build())
        .plugin(tauri_plugin_opener::init())
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_notification::init())
        .manage(Desk::default())
        .manage(ipc::Subscriptions::default())
        .manage(links::Pending::default())
        .invoke_handler(move |invoke| ipc::handle(invoke, &shell_commands))
        .on_page_load(links::on_page_load)
        .setup(move |app| {
            // The window shows at once; what it asks before the store is open waits for it.
            tauri::async_runtime::spawn(desk::open(app.handle().clone(), options.clone()));
            #[cfg(desktop)]
            tray::set_up(app.handle());
            #[cfg(unix)]
            tauri::async_runtime::spawn(quit_when_asked(app.handle().clone()));
            links::set_up(app.handle());
            Ok(())
        });
    protocol::register(builder)
}

/// A session that ends, or a person at a terminal, asks by signal; the store is closed then as on any other way out.
#[cfg(unix)]
async fn quit_when_asked<R: Runtime>(app: tauri::AppHandle<R>) {
    use tokio::signal::unix::{SignalKind, signal};
    if let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        app.exit(0);
    }
}

/// What belongs to the machine's user: one running app, a log, windows where they were, links.
fn with_platform<R: Runtime>(builder: Builder<R>, options: &Options) -> Builder<R> {
    let builder = builder.plugin(log_plugin(options));
    // A Carrel with a folder of its own is another Carrel; the store's lock keeps two from one folder.
    #[cfg(desktop)]
    let builder = if options.data_dir.is_none() {
        builder
            .plugin(tauri_plugin_single_instance::init(|app, _, _| windows::show_main(app)))
            .plugin(tauri_plugin_window_state::Builder::new().build())
    } else {
        builder
    };
    builder.plugin(tauri_plugin_deep_link::init())
}

fn log_plugin<R: Runtime>(options: &Options) -> tauri::plugin::TauriPlugin<R> {
    use tauri_plugin_log::{Builder as Log, RotationStrategy, Target, TargetKind};
    let level = std::env::var("CARREL_LOG").ok().and_then(|level| level.parse().ok());
    let file = match &options.data_dir {
        Some(folder) => TargetKind::Folder { path: folder.join("logs"), file_name: None },
        None => TargetKind::LogDir { file_name: None },
    };
    Log::new()
        .targets([Target::new(TargetKind::Stderr), Target::new(file)])
        .level(log::LevelFilter::Warn)
        .level_for("carrel_app", level.unwrap_or(log::LevelFilter::Info))
        .level_for("carrel_host", level.unwrap_or(log::LevelFilter::Info))
        .level_for("carrel_engine", level.unwrap_or(log::LevelFilter::Info))
        .level_for("carrel_transfer", level.unwrap_or(log::LevelFilter::Info))
        .rotation_strategy(RotationStrategy::KeepSome(4))
        .max_file_size(2 * 1024 * 1024)
        .build()
}
