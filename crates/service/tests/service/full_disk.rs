//! A disk that is full is no fault of whoever writes: they are told to come back, and can.
//!
//! The limit on the size of the service's files stands in for the disk; it can be lifted while the service runs.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use carrel_model::op::{BookmarkPut, Op};
use carrel_service::config::Config;
use serde_json::{Value, json};

use crate::site::{On, Site, id, lesson};

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_full_disk_is_answered_with_come_back_and_loses_nothing() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::with(On::Sqlite, Config::default()).await;
    let course = site.course("rivers");
    course.write("course.toml", "title = \"Rivers\"\nopen = true");
    site.publish(&course).await;
    let amina = site.learner(1, "amina").await;
    let page = lesson(&site, &amina, "What a river carries").await;
    let data = site.folder.path().join("data");
    site.service.store.close().await;

    let limited = "trap '' XFSZ; ulimit -S -f 2048; exec \"$0\" serve --listen 127.0.0.1:0";
    let mut child = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_carrel-service")])
        .env("CARREL_DATA", &data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let served = Served(child);
    let api = format!("{}/api/v1", line.trim().strip_prefix("listening on ").unwrap());
    let client = reqwest::Client::new();
    let request = json!({ "name": "amina", "password": "amina's password", "device_id": amina.device });
    let signed_in = client.post(format!("{api}/auth/sign-in")).json(&request).send().await.unwrap();
    let token = signed_in.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let push = async |seq: u64| {
        let put = BookmarkPut { lesson_id: page, position: 1, note: "n".repeat(8_000) };
        let ops: Vec<_> = (0..10)
            .map(|n| Op::BookmarkPut(id(1_000 + seq * 10 + n), put.clone()).encode(seq * 10 + n, site.now()))
            .collect();
        let ops: Vec<_> = ops.into_iter().map(Result::unwrap).collect();
        let body = json!({ "device_id": amina.device, "client_now": site.now(), "ops": ops });
        client.post(format!("{api}/sync/push")).bearer_auth(&token).json(&body).send().await.unwrap()
    };
    let (mut taken, mut refused) = (0, None);
    for seq in 1..200 {
        let answer = push(seq).await;
        if answer.status() != 200 {
            refused = Some((seq, answer));
            break;
        }
        taken += 10;
    }
    let (seq, answer) = refused.expect("two MiB are full at some time");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"), "it says when to come back");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "service_failed");
    assert_eq!(push(seq).await.status(), 503, "as long as it is full");

    let pid = served.0.id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:unlimited"]).status().unwrap().success());
    let answer: Value = push(seq).await.json().await.unwrap();
    assert_eq!(answer["results"][0]["outcome"], "applied", "there is room again: {answer}");
    let pull = client.get(format!("{api}/sync/pull?limit=500")).bearer_auth(&token);
    let mut bookmarks = 0;
    let mut page: Value = pull.send().await.unwrap().json().await.unwrap();
    loop {
        bookmarks += page["bookmarks"].as_array().unwrap().len();
        if !page["has_more"].as_bool().unwrap() {
            break;
        }
        let next = format!("{api}/sync/pull?limit=500&cursor={}", page["cursor"].as_str().unwrap());
        page = client.get(next).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    }
    assert_eq!(bookmarks, taken + 10, "all that was acknowledged, and what came when there was room");
}
