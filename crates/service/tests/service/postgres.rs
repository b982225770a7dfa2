//! A PostgreSQL of our own, for as long as this process lives: in a temporary folder, on a socket, syncing nothing.
//!
//! A shell stands between: it waits for the end of its input, which comes when this process ends, however it ends, and
//! then ends the server and removes the folder. So nothing is left behind and nothing is ended by name.

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};

/// How long a server may take to come up on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(60);
const MISSING: &str = "PostgreSQL is missing; install it: apt-get install --no-install-recommends postgresql";
const KEEP: &str = r#"
trap '' INT TERM HUP
"$1/postgres" -D "$2/data" -k "$2" -h '' -c fsync=off -c full_page_writes=off -c synchronous_commit=off \
    -c shared_buffers=32MB -c max_connections=200 -c autovacuum=off >"$2/log" 2>&1 &
server=$!
read -r end
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
"#;

struct Server {
    folder: PathBuf,
    /// The shell; its input is open for as long as this is.
    _keeper: Child,
    databases: AtomicU32,
}

/// The address of a database that nobody has used: empty, or a copy of another of which the address is given.
pub(crate) async fn fresh_database(copy_of: Option<&str>) -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(Server::start);
    let name = format!("carrel{}", server.databases.fetch_add(1, Ordering::SeqCst));
    let started = std::time::Instant::now();
    let mut connection = loop {
        match PgConnection::connect(&server.address("postgres")).await {
            Ok(connection) => break connection,
            Err(error) if started.elapsed() > UP_WITHIN => panic!("{error}\n{}", server.log()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let template = copy_of.and_then(|address| address.rsplit('/').next()).unwrap_or("template1");
    connection.execute(format!("CREATE DATABASE {name} TEMPLATE {template}").as_str()).await.unwrap();
    connection.close().await.unwrap();
    server.address(&name)
}

impl Server {
    fn start() -> Self {
        let programs = programs().expect(MISSING);
        let folder = tempfile::Builder::new().prefix("carrel-pg").tempdir().unwrap().keep();
        let user = user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let as_user = |program: &Path| {
            let mut command = Command::new(program);
            command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = as_user(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=carrel", "--encoding=UTF8", "--no-locale", "-D"])
            .arg(folder.join("data"))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let keeper = as_user(Path::new("/bin/sh"))
            .args(["-c", KEEP, "keep"])
            .args([&programs, &folder])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { folder, _keeper: keeper, databases: AtomicU32::new(0) }
    }

    fn address(&self, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().bytes().fold(String::new(), |mut text, byte| {
            write!(text, "%{byte:02X}").unwrap();
            text
        });
        format!("postgres://carrel@{folder}/{database}")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

/// The folder of the newest server of Debian's, which keeps it out of the search path, or of whichever is in there.
fn programs() -> Option<PathBuf> {
    let has_all = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin")).filter(has_all).max_by_key(version);
    debian.or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(has_all))
}

/// The server refuses to run as root; then it runs as the user its package made.
fn user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let fields: Vec<&str> =
        users.lines().find(|line| line.starts_with("postgres:")).expect(MISSING).split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}
