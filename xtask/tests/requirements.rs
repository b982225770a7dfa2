//! docs/REQUIREMENTS.md is true: every id is there once, and every test it names exists.
#![expect(clippy::unwrap_used, reason = "in a test a panic with a message is the report")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Areas and how many requirements each has.
const AREAS: &[(&str, u32)] = &[
    ("D", 16),
    ("S", 7),
    ("A", 6),
    ("C", 5),
    ("P", 6),
    ("L", 4),
    ("O", 5),
    ("Y", 4),
    ("M", 3),
    ("B", 7),
    ("U", 6),
    ("K", 2),
    ("X", 2),
    ("T", 4),
];

struct Row {
    id: String,
    proof: String,
}

#[test]
fn every_requirement_names_tests_that_exist() {
    let page = fs::read_to_string(root().join("docs/REQUIREMENTS.md")).unwrap();
    let rows = rows(&page);

    let found: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
    let expected: Vec<_> =
        AREAS.iter().flat_map(|(area, count)| (1..=*count).map(move |number| format!("{area}{number}"))).collect();
    assert_eq!(found, expected, "every id, once, in order");

    let tests = tests();
    for Row { id, proof } in &rows {
        let named = names(proof);
        assert!(!named.is_empty() || proof.starts_with("open:"), "{id} names no test and isn't open");
        let missing: Vec<_> = named.iter().filter(|name| !tests.contains(**name)).collect();
        assert!(missing.is_empty(), "{id} names tests that don't exist: {missing:?}");
    }
}

#[test]
fn a_name_that_no_test_has_is_noticed() {
    let rows = rows("| D1 | x | `a_test_nobody_wrote` – open: more |\n|---|---|---|\n| words | y | `z` |");
    assert_eq!(rows.len(), 1, "only rows with an id count");
    assert_eq!(names(&rows[0].proof), ["a_test_nobody_wrote"]);
    assert!(!tests().contains("a_test_nobody_wrote_at_all"));
    assert!(tests().contains("a_name_that_no_test_has_is_noticed"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rows(page: &str) -> Vec<Row> {
    let is_id = |cell: &str| {
        let mut letters = cell.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && !letters.as_str().is_empty()
            && letters.all(|c| c.is_ascii_digit())
    };
    let read = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, id, _, proof, _] = cells.as_slice() else { return None };
        is_id(id).then(|| Row { id: (*id).to_owned(), proof: (*proof).to_owned() })
    };
    page.lines().filter_map(read).collect()
}

/// What stands between backquotes and could be the name of a test.
fn names(proof: &str) -> Vec<&str> {
    let quoted = proof.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).collect()
}

/// The functions that carry a test attribute, and those listed in `on_both_stores!`, in every Rust file of ours.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["crates", "tests", "src-tauri", "xtask"] {
        collect(&root().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let (mut after_attribute, mut listed) = (false, false);
            for line in text.lines().map(str::trim) {
                if listed {
                    listed = line != "}";
                    found.extend(line.strip_suffix(',').map(str::to_owned));
                } else if line.ends_with("on_both_stores! {") {
                    listed = true;
                } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    after_attribute = true;
                } else if let Some(name) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
                    if after_attribute {
                        found.extend(name.split(['(', '<']).next().map(str::to_owned));
                    }
                    after_attribute = false;
                }
            }
        }
    }
}
