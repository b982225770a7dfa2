//! The programs `manifest` and `fetch` as their users meet them: arguments, exit codes, the last line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't be set up is to fail"
)]

mod rig;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use carrel_testbed::http_origin::{Act, Content, Library, Origin, Setup};
use rig::{MIB, content};
use serde_json::Value;

fn program(name: &str) -> PathBuf {
    let deps = env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build -p carrel-transfer --examples", path.display());
    path
}

fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).output().unwrap()
}

/// Exit code and last line.
async fn fetch(arguments: &[&str]) -> (i32, Value) {
    let owned: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let output =
        tokio::task::spawn_blocking(move || run("fetch", &owned.iter().map(String::as_str).collect::<Vec<_>>()));
    let output = output.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().last().unwrap_or_default();
    let line = serde_json::from_str(line).unwrap_or_else(|_| panic!("the last line is JSON, not {line:?}"));
    (output.status.code().unwrap(), line)
}

const FILES: [(&str, u64); 6] = [
    ("a.bin", 30_000),
    ("empty", 0),
    ("sub/big one.bin", 5 * MIB + 17),
    ("sub/deeper/100%?#.bin", 2 * MIB),
    ("sub/ü.bin", 1),
    ("z", MIB),
];

struct Shelf {
    folder: tempfile::TempDir,
    origin: Origin,
    manifest: String,
}

impl Shelf {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("in");
        let mut files = BTreeMap::new();
        for (seed, (path, size)) in (1..).zip(FILES) {
            let bytes = content(size, seed);
            let place = source.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, &bytes).unwrap();
            let encoded = path.replace('%', "%25").replace(' ', "%20").replace('?', "%3F").replace('#', "%23");
            files.insert(format!("base/{}", encoded.replace('ü', "%C3%BC")), Content::Memory(bytes.into()));
        }
        let output = run("manifest", &[source.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let manifest = folder.path().join("in.json");
        fs::write(&manifest, output.stdout).unwrap();
        let origin = Setup::new(Library::Folder(files)).start().await.unwrap();
        let manifest = manifest.to_str().unwrap().to_owned();
        Self { folder, origin, manifest }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn path(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn files(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.manifest).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["files"].as_array().unwrap().clone()
    }

    fn assert_there(&self) {
        for (path, _) in FILES {
            let (was, is) = (self.folder.path().join("in").join(path), self.out().join(path));
            assert!(fs::read(was).unwrap() == fs::read(is).unwrap(), "{path} is as it was");
        }
        assert_eq!(names(&self.out()), ["a.bin", "empty", "sub", "z"], "and nothing else is there");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_arrives_as_it_was_and_is_not_fetched_again() {
    let shelf = Shelf::new().await;
    let paths: Vec<_> = shelf.files().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, FILES.map(|(path, _)| path), "sorted by path");
    let (out, base) = (shelf.out(), shelf.origin.url("/base"));
    let out = out.to_str().unwrap();
    let (code, line) = fetch(&["--manifest", &shelf.manifest, "--out", out, "--sources", &base]).await;
    let bytes: u64 = FILES.iter().map(|(_, size)| size).sum();
    assert_eq!((code, &line["outcome"], &line["files"]), (0, &"verified".into(), &6.into()), "{line}");
    assert_eq!((&line["bytes"], &line["bytes_fetched"], &line["failed"]), (&bytes.into(), &bytes.into(), &0.into()));
    shelf.assert_there();

    let asked = shelf.origin.seen().len();
    fs::write(shelf.out().join("a.bin"), b"edited by hand").unwrap();
    let array = shelf.path("array.json", &serde_json::to_string(&shelf.files()).unwrap());
    let (code, line) = fetch(&["--manifest", &array, "--out", out, &format!("{base}/")]).await;
    assert_eq!((code, &line["bytes_fetched"]), (0, &30_000.into()), "only what was wrong; also as an array: {line}");
    assert_eq!(shelf.origin.seen().len() - asked, 1, "one request");
    shelf.assert_there();

    let lines: Vec<_> = shelf.files().iter().map(ToString::to_string).collect();
    let lines = shelf.path("lines.json", &lines.join("\n"));
    let (code, line) = fetch(&["--manifest", &lines, "--out", out, &base]).await;
    assert_eq!((code, &line["bytes_fetched"], &line["bytes"]), (0, &0.into(), &bytes.into()), "also as lines: {line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_counted_and_the_rest_arrives() {
    let shelf = Shelf::new().await;
    shelf.origin.script_at("/base/z", std::iter::repeat_n(Act::status(404), 8));
    let (out, base) = (shelf.out(), shelf.origin.url("/base"));
    let out = out.to_str().unwrap();
    let (code, line) = fetch(&["--manifest", &shelf.manifest, "--out", out, "--sources", &base]).await;
    assert_eq!((code, &line["failed"]), (1, &1.into()), "{line}");
    assert!(line["outcome"].as_str().unwrap().contains("no source"), "the first failure: {line}");
    let dead = "http://127.0.0.1:9/nothing";
    shelf.origin.recover();
    let (code, line) = fetch(&["--manifest", &shelf.manifest, "--out", out, "--sources", dead, &base]).await;
    assert_eq!((code, &line["outcome"]), (0, &"verified".into()), "a mirror that is dead is no loss: {line}");
    shelf.assert_there();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_keeps_its_ways() {
    let shelf = Shelf::new().await;
    let folder = shelf.folder.path();
    let output = run("manifest", &[folder.join("in/z").to_str().unwrap()]);
    let manifest = shelf.path("z.json", &String::from_utf8(output.stdout).unwrap());
    let (file, journal) = (folder.join("z.part"), folder.join("z.journal"));
    let (file, journal) = (file.to_str().unwrap(), journal.to_str().unwrap());
    let url = shelf.origin.url("/base/z");
    let (code, line) = fetch(&["--manifest", &manifest, "--out", file, "--journal", journal, &url]).await;
    assert_eq!((code, &line["outcome"], &line["bytes"]), (0, &"verified".into(), &MIB.into()), "{line}");
    assert!(line["files"].is_null() && line["seconds"].is_number() && line["retries"] == 0, "its fields: {line}");
    for (option, http2) in [("--http2", true), ("--http2=auto", false), ("--http2=off", false)] {
        fs::remove_file(file).unwrap();
        let (code, line) = fetch(&[option, "--manifest", &manifest, "--out", file, "--journal", journal, &url]).await;
        assert_eq!((code, &line["outcome"]), (0, &"verified".into()), "{option}: {line}");
        assert_eq!(shelf.origin.seen().last().unwrap().http2, http2, "{option} without TLS");
    }
    fs::remove_file(file).unwrap();
    let limited = ["--rate", "2Mi", "--connections", "1", "--manifest", &manifest, "--out", file, &url];
    let (code, line) = fetch(&limited).await;
    assert!(code == 0 && line["seconds"].as_f64().unwrap() > 0.2, "1 MiB at 2 MiB/s isn't there at once: {line}");
    assert_eq!(names(folder).iter().filter(|name| name.contains("carrel-journal")).count(), 0, "no journal is left");
    shelf.origin.always(Act::status(404));
    fs::remove_file(file).unwrap();
    let (code, line) = fetch(&["--manifest", &manifest, "--out", file, "--journal", journal, &url]).await;
    assert_eq!(code, 1, "no verified file: {line}");
    let damaged = shelf.path("damaged.json", "{\"hash\":\"00\"}");
    let (code, line) = fetch(&["--manifest", &damaged, "--out", file, "--journal", journal, &url]).await;
    assert!(code == 3 && line["outcome"].as_str().unwrap().contains("damaged"), "{code} {line}");
    for wrong in [&["--rate", "fast"][..], &["--connections", "17"], &["--http2=maybe"], &["--connections", "0"]] {
        let usual = ["--manifest", &manifest, "--out", file, "--journal", journal, &url];
        let (code, line) = fetch(&[wrong, &usual].concat()).await;
        assert!(code == 2 && line["outcome"].as_str().unwrap().contains(wrong[0].split('=').next().unwrap()), "{line}");
    }
    let usual = ["--manifest", &manifest, "--out", file, "--sources"];
    let (code, line) = fetch(&[&usual[..], &["ftp://127.0.0.1/x"]].concat()).await;
    assert_eq!((code, &line["bytes_fetched"]), (2, &0.into()), "{line}");
    let (code, line) = fetch(&[&usual[..], &[&url, "--journal", file]].concat()).await;
    assert!(code == 2 && line["outcome"].as_str().unwrap().contains("journal"), "it would take its place: {line}");
    shelf.origin.always(Act::Serve);
    let long = folder.join("x".repeat(250));
    let (code, line) = fetch(&["--manifest", &manifest, "--out", long.to_str().unwrap(), "--sources", &url]).await;
    assert_eq!((code, &line["outcome"]), (0, &"verified".into()), "a name that leaves no room: {line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_out_of_the_folder() {
    let shelf = Shelf::new().await;
    let base = shelf.origin.url("/base");
    let out = shelf.out();
    let file = shelf.files().into_iter().next().unwrap();
    let with = |path: &str| {
        let mut file = file.clone();
        file["path"] = path.into();
        file
    };
    let hostile = [
        vec!["/etc/passwd"],
        vec!["../out2/a"],
        vec!["a/../../b"],
        vec!["a/./b"],
        vec!["a//b"],
        vec![""],
        vec!["C:\\a"],
        vec!["c:a"],
        vec!["\\\\host\\share"],
        vec!["a\\..\\..\\b"],
        vec!["a\0b"],
        vec!["a/"],
        vec![".carrel-journal/x"],
        vec!["a", "a"],
        vec!["a/b", "a"],
    ];
    for paths in hostile {
        let manifest = serde_json::json!({ "files": paths.iter().map(|path| with(path)).collect::<Vec<_>>() });
        let manifest = shelf.path("hostile.json", &manifest.to_string());
        let (code, line) = fetch(&["--manifest", &manifest, "--out", out.to_str().unwrap(), "--sources", &base]).await;
        assert!(code == 3 && line["outcome"].as_str().unwrap().contains("not allowed"), "{paths:?}: {code} {line}");
        assert!(!out.exists(), "nothing was made for {paths:?}");
    }
    assert!(shelf.origin.seen().is_empty(), "nothing was asked for");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_through_a_link_inside_the_folder() {
    for link in ["sub", "a.bin", ".carrel-journal"] {
        let shelf = Shelf::new().await;
        let elsewhere = shelf.folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::create_dir(shelf.out()).unwrap();
        let target = if link == "a.bin" { elsewhere.join("file") } else { elsewhere.clone() };
        std::os::unix::fs::symlink(target, shelf.out().join(link)).unwrap();
        let (out, base) = (shelf.out(), shelf.origin.url("/base"));
        let (code, line) =
            fetch(&["--manifest", &shelf.manifest, "--out", out.to_str().unwrap(), "--sources", &base]).await;
        assert_eq!(code, 1, "{link}: {line}");
        assert!(line["outcome"].as_str().unwrap().contains("symbolic link"), "{line}");
        assert_eq!(names(&elsewhere), [""; 0], "{link}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_counted_for_small_files_as_well() {
    let shelf = Shelf::new().await;
    let (out, base) = (shelf.out(), shelf.origin.url("/base"));
    let arguments = ["--manifest", &shelf.manifest, "--out", out.to_str().unwrap(), "--connections", "2", &base];
    let (code, line) = fetch(&arguments).await;
    assert_eq!(code, 0, "{line}");
    assert!(shelf.origin.connections() <= 2, "{} connections", shelf.origin.connections());
}
