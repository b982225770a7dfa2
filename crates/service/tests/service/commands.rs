//! The binary: served on a socket, worked on from the command line meanwhile, ended by a signal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::site::{CourseFiles, On, Site, id};

fn run(data: &Path, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_carrel-service"))
        .args(arguments)
        .env("CARREL_DATA", data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeeds(data: &Path, arguments: &[&str], stdin: &str) -> String {
    let output = run(data, arguments, stdin);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_carrel-service"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("CARREL_DATA", data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ends what a failed assertion left behind; one that has ended already is no error.
        let _ = self.child.kill();
    }
}

#[tokio::test]
async fn everything_can_be_done_from_the_command_line_while_the_service_runs() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::new(On::Sqlite).await;
    let CourseFiles { root } = site.course("rivers");
    let data = site.folder.path().join("served");
    let mut served = Served::start(&data);
    let published = succeeds(&data, &["publish", root.to_str().unwrap()], "");
    assert_eq!(published, "rivers: 1 units changed, 0 as they were, 0 gone; 0 lessons and 0 assets gone\n");
    succeeds(&data, &["account", "add", "Amina", "--password-stdin"], "river bank\n");
    succeeds(&data, &["enrol", "amina", "rivers", "--role", "premium", "--until", "2999-12-31"], "");
    assert!(succeeds(&data, &["account", "list"], "").contains("\tamina\tAmina"));

    let client = reqwest::Client::new();
    let api = format!("{}/api/v1", served.url);
    let sign_in = async |password: &str| {
        let request = json!({ "name": "amina", "password": password, "device_id": id::<carrel_model::DeviceId>(1) });
        client.post(format!("{api}/auth/sign-in")).json(&request).send().await.unwrap()
    };
    let token = sign_in("river bank").await.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();
    let units: Value =
        client.get(format!("{api}/content/units")).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(units["units"].as_array().unwrap().len(), 1, "published and enrolled while it ran");

    succeeds(&data, &["account", "password", "amina", "--password-stdin"], "delta\n");
    let signed_out = client.get(format!("{api}/content/units")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(signed_out.status(), 401, "a new password ends every session");
    assert_eq!(sign_in("delta").await.status(), 200);
    succeeds(&data, &["unenrol", "amina", "rivers"], "");

    for (arguments, said) in [
        (&["enrol", "nobody", "rivers"][..], "no such account"),
        (&["enrol", "amina", "seas"], "no course \"seas\""),
        (&["unenrol", "amina", "rivers"], "not enrolled"),
        (&["account", "add", "amina", "--password-stdin"], "an account of that name"),
        (&["publish", "/nonexistent"], "/nonexistent"),
    ] {
        let output = run(&data, arguments, "x\n");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{arguments:?} says {error:?}");
    }

    #[cfg(unix)]
    {
        let told = Command::new("kill").args(["-TERM", &served.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        assert!(served.child.wait().unwrap().success(), "a signal ends it in order");
        assert!(!data.join("carrel-service.db-wal").exists(), "and the log is folded into the database");
    }
}
