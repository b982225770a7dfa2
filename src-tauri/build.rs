//! Build: permissions of our own commands, from the list that the command table of `carrel-host` is held to.

use std::{error::Error, fs, path::Path};

/// Commands of the shell itself; what they do needs a window.
const SHELL_COMMANDS: [&str; 3] = ["open_diagnostics", "save_file", "subscribe"];

fn main() -> Result<(), Box<dyn Error>> {
    let table = Path::new("crates/host/gen/commands.txt");
    println!("cargo::rerun-if-changed={}", table.display());
    let table = fs::read_to_string(table)?;
    let commands: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .chain(SHELL_COMMANDS)
        .collect();
    // The attributes live as long as the program.
    let commands: &'static [&'static str] =
        Vec::leak(commands.iter().map(|name| &*String::leak((*name).to_owned())).collect());

    // Without it Android doesn't say whether the network costs. Does nothing where there is no Android project.
    let permission = r#"<uses-permission android:name="android.permission.ACCESS_NETWORK_STATE" />"#;
    tauri_plugin::mobile::update_android_manifest("carrel-network", "manifest", permission.to_owned())?;

    stand_in_for_the_ui()?;
    let manifest = tauri_build::AppManifest::new().commands(commands);
    tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest))?;
    Ok(())
}

/// On a clean clone nothing has built the UI yet. The app must still compile then; its window says what is missing.
fn stand_in_for_the_ui() -> Result<(), Box<dyn Error>> {
    let ui = Path::new("ui/dist");
    println!("cargo::rerun-if-changed={}", ui.display());
    if ui.join("index.html").exists() {
        return Ok(());
    }
    println!("cargo::warning=the UI is not built; run `npm install && npm run build`");
    fs::create_dir_all(ui)?;
    for page in ["index.html", "diagnostics.html"] {
        let text = "<!doctype html><title>Carrel</title><p>The UI is not built: run <code>npm run build</code>.</p>";
        fs::write(ui.join(page), text)?;
    }
    Ok(())
}
