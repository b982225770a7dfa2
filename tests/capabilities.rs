//! No window may do more than it uses: the capability files are held to the command table.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected has failed")]

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// Commands of the shell itself, beside the host's table.
const SHELL: &[(&str, &[&str])] =
    &[("open_diagnostics", &["main"]), ("save_file", &["main"]), ("subscribe", &["main"])];

/// What a window uses of plugins. Everything here has a caller in `ui/src/lib/host/tauri.ts`.
const PLUGINS: &[(&str, &[&str])] =
    &[("main", &["opener:allow-open-url", "opener:allow-default-urls"]), ("diagnostics", &["sql:allow-select"])];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn capabilities() -> Vec<(String, Value)> {
    let files = fs::read_dir(root().join("capabilities")).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), json(&path))).collect()
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| entry.as_str().expect("plain names only, no scopes of their own").to_owned())
        .collect()
}

/// The permissions a window should have, no more and no fewer.
fn expected(window: &str) -> BTreeSet<String> {
    let table = fs::read_to_string(root().join("crates/host/gen/commands.txt")).unwrap();
    let commands = table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        words.any(|allowed| allowed == window).then(|| name.to_owned())
    });
    let shell = SHELL.iter().filter(|(_, windows)| windows.contains(&window)).map(|(name, _)| (*name).to_owned());
    let plugins = PLUGINS.iter().filter(|(label, _)| *label == window).flat_map(|(_, names)| names.iter());
    commands
        .chain(shell)
        .map(|name| format!("allow-{}", name.replace('_', "-")))
        .chain(plugins.map(|name| (*name).to_owned()))
        .collect()
}

#[test]
fn each_window_may_do_what_it_uses_and_nothing_else() {
    let files = capabilities();
    assert_eq!(files.len(), PLUGINS.len(), "one file for each window");
    for (name, capability) in &files {
        let window = name.strip_suffix(".json").unwrap();
        assert_eq!(
            strings(&capability["windows"]),
            BTreeSet::from([window.to_owned()]),
            "{name} is for its own window"
        );
        assert_eq!(strings(&capability["permissions"]), expected(window), "{name}");
        for wider in ["remote", "webviews", "platforms"] {
            assert!(capability.get(wider).is_none(), "{name} reaches further than its window: {wider}");
        }
    }
}

#[test]
fn only_diagnostics_may_select_and_nobody_may_load_or_execute() {
    for (name, capability) in capabilities() {
        for permission in strings(&capability["permissions"]).iter().filter(|permission| permission.starts_with("sql:"))
        {
            assert_eq!((name.as_str(), permission.as_str()), ("diagnostics.json", "sql:allow-select"));
        }
    }
}

fn configurations() -> Vec<(String, Value)> {
    let files = fs::read_dir(root()).unwrap().map(|file| file.unwrap().path());
    let named = files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path));
    let configs = named.filter(|(name, _)| name.starts_with("tauri.") && name.ends_with("conf.json"));
    configs.map(|(name, path)| (name, json(&path))).collect()
}

#[test]
fn windows_have_only_the_capabilities_that_are_checked_here() {
    for (name, config) in configurations() {
        if let Some(listed) = config.pointer("/app/security/capabilities") {
            assert_eq!(strings(listed), BTreeSet::from(["diagnostics".to_owned(), "main".to_owned()]), "{name}");
        } else {
            assert_ne!(name, "tauri.conf.json", "without a list, every file in the folder would apply");
        }
        assert_ne!(config.pointer("/app/withGlobalTauri"), Some(&Value::Bool(true)), "{name}");
        assert!(config.pointer("/plugins/sql").is_none(), "{name}: the plugin opens nothing by itself");
    }
}

#[test]
fn pages_run_no_inline_code() {
    let (_, config) = configurations().into_iter().find(|(name, _)| name == "tauri.conf.json").unwrap();
    let policy = config.pointer("/app/security/csp").unwrap().as_object().unwrap();
    assert_eq!(policy["default-src"], "'none'", "what is not named is not allowed");
    assert_eq!(policy["script-src"], "'self'");
    for (directive, sources) in policy {
        let sources = sources.as_str().unwrap();
        assert!(!sources.contains("unsafe"), "{directive} {sources}");
        assert!(
            !sources.split(' ').any(|source| ["*", "http:", "https:", "data:"].contains(&source)),
            "{directive} {sources}"
        );
    }
    for (name, config) in configurations() {
        assert!(name == "tauri.conf.json" || config.pointer("/app/security").is_none(), "{name} loosens nothing");
    }
}
