//! The committed TypeScript client is the one the command table gives.
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use std::{collections::BTreeMap, fs, path::Path};

fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in [dir.to_owned(), dir.join("types")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "ts") && entry.file_name() != "index.ts" {
                let name = entry.path().strip_prefix(dir).unwrap().to_string_lossy().replace('\\', "/");
                found.insert(name, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    found
}

#[test]
fn committed_client_follows_from_the_command_table() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui/src/lib/api");
    let fresh = tempfile::tempdir().unwrap();
    carrel_host::typescript::write_client(fresh.path()).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let _ = fs::remove_dir_all(committed.join("types"));
        carrel_host::typescript::write_client(&committed).unwrap();
    }
    let (fresh, committed) = (files(fresh.path()), files(&committed));
    let names = |m: &BTreeMap<String, String>| m.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&fresh), names(&committed), "the same files; run `cargo xtask generate`");
    for (name, text) in fresh {
        assert_eq!(Some(&text), committed.get(&name), "{name} is stale; run `cargo xtask generate`");
    }
}
