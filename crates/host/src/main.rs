//! `carrel-host`: Carrel's engine and UI for a browser on this machine, for tests and development.
//!
//! Standard output has one line, the link to open; everything else goes to standard error.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use carrel_host::{EngineConfig, Host, HostConfig, Ports, device::device_name, http::HttpHost, media::MediaAddresses};
use carrel_platform::Platform;
use clap::Parser;
use tokio_util::sync::CancellationToken;

/// Serves Carrel to a browser on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The folder of the library and of downloaded files.
    #[arg(long, env = "CARREL_DATA_DIR")]
    data: PathBuf,
    /// The address of the service that is offered at the first sign-in.
    #[arg(long, env = "CARREL_SERVICE")]
    service: Option<String>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    listen: SocketAddr,
    /// The folder of the built UI. Without it: `ui` beside this program, else `ui/dist` in the current folder.
    #[arg(long)]
    ui: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let log = tracing_subscriber::EnvFilter::try_from_env("CARREL_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));

    let ports = Platform::watch().within(Ports::system(&options.data).await?);
    let http = HttpHost::bind(options.listen, &*ports.clock).await?;
    let media = MediaAddresses::new(http.media_route(), ports.clock.clone());
    let config = HostConfig {
        engine: EngineConfig { data_dir: options.data, device_name: device_name() },
        suggested_service: options.service,
    };
    let host = Host::open(config, ports, media).await;

    let mut stdout = std::io::stdout();
    writeln!(stdout, "Open {}", http.link())?;
    stdout.flush()?;
    http.serve(host.clone(), options.ui.unwrap_or_else(default_ui), stop).await?;
    host.close().await;
    Ok(())
}

fn default_ui() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("ui")));
    beside.filter(|folder| folder.is_dir()).unwrap_or_else(|| Path::new("ui").join("dist"))
}

async fn stop_on_signal(stop: CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return stop.cancel();
        }
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
}
