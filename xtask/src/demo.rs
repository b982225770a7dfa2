//! `cargo xtask demo`: from a fresh clone to the running app, with the sample courses and a learner signed in.

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;

use crate::{
    build, places,
    program::{self, program},
    samples::{LEARNER, PASSWORD, SampleService},
    setup, story,
    web::SampleHost,
};

/// Where to listen and what to keep.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Port of the service; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Go on with the data of the last time
    #[arg(long)]
    keep: bool,
}

/// With a display: opens the app and waits until it is closed. Without: walks through it and says where the pictures are.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    build::run()?;
    if !has_display() {
        let pictures = places::scratch("demo").join("screens");
        println!("No display: walking through the app on a virtual one.");
        story::tour(&pictures, "real_window::tour::every_screen_shows")?;
        println!("Pictures of each screen: {}", pictures.display());
        return Ok(());
    }
    let folder = places::scratch("demo");
    if !options.keep && folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("can't remove {}", folder.display()))?;
    }
    let service = SampleService::start(&folder.join("service"), options.port)?;
    let data = folder.join("app");
    sign_in(&data, &service.url)?;
    println!("\nThe service: {}\nThe learner: {LEARNER}, password {PASSWORD}. Close the window to end.", service.url);
    program::run(program(places::built("carrel")).env("CARREL_DATA_DIR", &data).env("CARREL_SERVICE", &service.url))
}

fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

/// Signs the learner in, in the data the app will open: through the HTTP host, as a browser would.
fn sign_in(data: &Path, service: &str) -> Result<()> {
    let host = SampleHost::start(data, service, 0)?;
    host.call("access_sign_in", &json!({ "service_url": service, "name": LEARNER, "password": PASSWORD }))?;
    Ok(())
}
