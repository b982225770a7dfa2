//! The program `carrel-host` itself. It is told to end by signal, so only where there are signals.
#![cfg(unix)]

use std::process::Stdio;

use http::StatusCode;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

use crate::desk::browser;

#[tokio::test]
async fn prints_one_link_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_carrel-host"))
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["--service", "http://127.0.0.1:9", "--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(program.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    let link = line.trim().strip_prefix("Open ").unwrap_or_else(|| panic!("{line:?}"));
    let answer = browser().get(link).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    // Its stream of events stays open and must not hold the end up.
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let events = link.split("/?").next().unwrap().to_owned() + "/api/events";
    let listening = browser().get(events).header("cookie", cookie).send().await.unwrap();
    assert_eq!(listening.status(), StatusCode::OK);

    let id = program.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    let ended = program.wait().await.unwrap();
    assert!(ended.success(), "{ended}");
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "", "one line, so that a script can read it");
}

#[tokio::test]
async fn refuses_to_listen_beyond_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_carrel-host"))
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["--listen", "0.0.0.0:0"])
        .output()
        .await
        .unwrap();
    assert!(!program.status.success());
    assert!(program.stdout.is_empty(), "no link to a door that must not exist");
}
