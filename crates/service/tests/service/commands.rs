//! The binary: served on a socket, worked on from the command line meanwhile, ended by a signal.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres::fresh_database;
use crate::site::{CourseFiles, On, Site, id};

/// Where a service keeps what it has.
struct Place {
    data: PathBuf,
    database: Option<String>,
}

impl Place {
    async fn new(on: On, data: PathBuf) -> Self {
        let database = match on {
            On::Sqlite => None,
            On::Postgres => Some(fresh_database(None).await),
        };
        Self { data, database }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carrel-service"));
        command.env("CARREL_DATA", &self.data).envs(self.database.iter().map(|address| ("CARREL_DATABASE", address)));
        command
    }
}

fn run(place: &Place, arguments: &[&str], stdin: &str) -> Output {
    let mut child = place
        .command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn succeeds(place: &Place, arguments: &[&str], stdin: &str) -> String {
    let output = run(place, arguments, stdin);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(place: &Place) -> Self {
        let mut child =
            place.command().args(["serve", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    /// Asks it to end, as a system does.
    fn tell_to_end(&self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ends what a failed assertion left behind; one that has ended already is no error.
        let _ = self.child.kill();
    }
}

async fn everything_can_be_done_from_the_command_line_while_the_service_runs(on: On) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let site = Site::new(On::Sqlite).await;
    let CourseFiles { root } = site.course("rivers");
    let data = Place::new(on, site.folder.path().join("served")).await;
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

    served.tell_to_end();
    assert!(served.child.wait().unwrap().success(), "a signal ends it in order");
    assert!(!data.data.join("carrel-service.db-wal").exists(), "and the log is folded into the database");
}

async fn a_request_under_way_is_finished_when_the_service_is_told_to_end(on: On) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(on, folder.path().join("served")).await;
    let mut served = Served::start(&place);
    succeeds(&place, &["account", "add", "amina", "--password-stdin"], "river bank\n");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let device = id::<carrel_model::DeviceId>(1);
    let request = json!({ "name": "amina", "password": "river bank", "device_id": device });
    let sign_in = reqwest::Client::new().post(format!("{}/api/v1/auth/sign-in", served.url)).json(&request);
    let token = sign_in.send().await.unwrap().json::<Value>().await.unwrap()["access_token"].clone();
    let body = json!({ "device_id": device, "client_now": "2026-11-20T10:00:00.000Z", "ops": [
        { "seq": 1, "kind": "from.tomorrow", "entity_id": "x", "at": "2026-11-20T10:00:00.000Z", "payload": {} }] });
    let body = body.to_string();
    let (first, rest) = body.split_at(body.len() / 2);

    let mut socket = std::net::TcpStream::connect(served.url.strip_prefix("http://").unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /api/v1/sync/push HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        token.as_str().unwrap(),
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    // That it wants the body shows that the request has begun.
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&go_on));
    socket.write_all(first.as_bytes()).unwrap();
    served.tell_to_end();
    // The door is closed before the guests have left.
    let address = served.url.strip_prefix("http://").unwrap();
    let closed = std::time::Instant::now();
    while std::net::TcpStream::connect(address).is_ok() {
        assert!(closed.elapsed() < Duration::from_secs(9), "it still takes connections");
        std::thread::sleep(Duration::from_millis(5));
    }
    socket.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("unsupported"), "{answer}");
    assert!(served.child.wait().unwrap().success(), "and then it leaves in order");
}

crate::on_both_stores! {
    everything_can_be_done_from_the_command_line_while_the_service_runs,
    a_request_under_way_is_finished_when_the_service_is_told_to_end,
}
