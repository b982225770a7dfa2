//! A PostgreSQL of our own, for as long as this process lives: in a temporary folder, on a socket and on no port.
//!
//! A shell stands between: it waits for the end of its input, which comes when this process ends, however it ends, and
//! then ends the server and removes the folder. So nothing is left behind and nothing is ended by name.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What to say where there is none.
pub const MISSING: &str = "PostgreSQL is missing; install it: apt-get install --no-install-recommends postgresql";
const KEEP: &str = r#"
trap '' INT TERM HUP
programs=$1
folder=$2
shift 2
"$programs/postgres" -D "$folder/data" -k "$folder" -h '' "$@" >"$folder/log" 2>&1 &
server=$!
read -r end
kill -QUIT "$server"
wait "$server"
rm -rf "$folder"
"#;

/// What a server promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As PostgreSQL comes: a commit is on the disk before it is answered.
    Durable,
    /// Nothing is synced: for tests that don't test it.
    Forgetful,
}

/// A server; gone when this is.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    /// The shell; its input is open for as long as this is.
    _keeper: Child,
}

impl PostgresServer {
    /// Makes a cluster and starts its server, which is up a moment later: whoever connects tries again until then.
    pub fn start(durability: Durability) -> io::Result<Self> {
        let programs = programs().ok_or_else(|| io::Error::other(MISSING))?;
        let folder = tempfile::Builder::new().prefix("carrel-pg").tempdir()?.keep();
        let user = user()?;
        #[cfg(unix)]
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
        }
        let made = as_user(&programs.join("initdb"), user)
            .args(["--no-sync", "--auth=trust", "--username=carrel", "--encoding=UTF8", "--no-locale", "-D"])
            .arg(folder.join("data"))
            .stderr(Stdio::piped())
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("initdb: {}", String::from_utf8_lossy(&made.stderr))));
        }
        let mut keep = as_user(Path::new("/bin/sh"), user);
        keep.args(["-c", KEEP, "keep"]).args([&programs, &folder]).args(["-c", "max_connections=200"]);
        if durability == Durability::Forgetful {
            for setting in
                ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "shared_buffers=32MB", "autovacuum=off"]
            {
                keep.args(["-c", setting]);
            }
        }
        let keeper = keep.stdin(Stdio::piped()).spawn()?;
        Ok(Self { folder, _keeper: keeper })
    }

    /// `postgres://…` of one of its databases, as sqlx reads it.
    #[must_use]
    pub fn address(&self, database: &str) -> String {
        let folder = self.folder.to_string_lossy().bytes().fold(String::new(), |mut text, byte| {
            // Writing into a text can't fail.
            let _ = write!(text, "%{byte:02X}");
            text
        });
        format!("postgres://carrel@{folder}/{database}")
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    if let Some((uid, gid)) = user {
        use std::os::unix::process::CommandExt as _;
        command.uid(uid).gid(gid);
    }
    #[cfg(not(unix))]
    let _ = user;
    command
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
fn user() -> io::Result<Option<(u32, u32)>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
            let users = std::fs::read_to_string("/etc/passwd")?;
            let line = users.lines().find(|line| line.starts_with("postgres:"));
            let mut fields = line.into_iter().flat_map(|line| line.split(':').skip(2)).map_while(|id| id.parse().ok());
            return match (fields.next(), fields.next()) {
                (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
                _ => Err(io::Error::other(MISSING)),
            };
        }
    }
    Ok(None)
}
