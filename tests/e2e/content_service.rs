//! The built content service with the sample courses, and what its database holds.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use carrel_testbed::processes::Process;
use sqlx::{Row as _, SqlitePool, sqlite::SqliteConnectOptions};

use crate::desk::{built, repository};

/// Name of the learner.
pub(crate) const LEARNER: &str = "amina";
/// Their password.
pub(crate) const PASSWORD: &str = "rivers-and-stars";

const START_LIMIT: Duration = Duration::from_secs(30);

/// The service: its data, and the process while it runs.
#[derive(Debug)]
pub(crate) struct ContentService {
    folder: PathBuf,
    /// Where it listens, also after a restart.
    pub(crate) address: SocketAddr,
    process: Option<Process>,
}

/// A row of the service's op log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LoggedOp {
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) outcome: String,
}

impl ContentService {
    /// Publishes the samples, adds the learner, enrols them, and starts it on a free port.
    pub(crate) async fn start(folder: &Path) -> Self {
        let samples = repository().join("samples").join("courses");
        let folder = folder.join("service");
        std::fs::create_dir_all(&folder).unwrap();
        for course in folders(&samples) {
            succeed(command(&folder).arg("publish").arg(&course));
        }
        add_learner(&folder);
        for course in folders(&samples) {
            succeed(command(&folder).args(["enrol", LEARNER]).arg(course.file_name().unwrap()));
        }
        let mut service = Self { folder, address: SocketAddr::from(([127, 0, 0, 1], 0)), process: None };
        service.come_back(Duration::ZERO).await;
        service
    }

    /// Kills it.
    pub(crate) fn go_down(&mut self) {
        drop(self.process.take().expect("it runs"));
    }

    /// Starts it again, where it was, with a clock so far ahead of the machine's.
    pub(crate) async fn come_back(&mut self, clock_ahead: Duration) {
        let mut serve = command(&self.folder);
        serve.env("CARREL_CLOCK_AHEAD_SECONDS", clock_ahead.as_secs().to_string());
        serve.arg("serve").arg("--listen").arg(self.address.to_string());
        let mut process = Process::start(&mut serve, &self.folder.join("service.log")).unwrap();
        let address = process.wait_for(START_LIMIT, |log| {
            let start = log.find("http://")? + "http://".len();
            log[start..].split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).next()?.parse().ok()
        });
        self.address = address.await.unwrap_or_else(|error| panic!("the service does not start: {error}"));
        self.process = Some(process);
    }

    /// Ends the learner's enrolment in a course, long ago: what is done within two minutes of an end is still taken, since
    /// clocks differ.
    pub(crate) fn end_enrolment(&self, course: &str) {
        succeed(command(&self.folder).args(["enrol", LEARNER, course, "--until", "2026-01-01"]));
        succeed(command(&self.folder).args(["unenrol", LEARNER, course]));
    }

    /// Enrols the learner in a course.
    pub(crate) fn enrol(&self, course: &str) {
        succeed(command(&self.folder).args(["enrol", LEARNER, course]));
    }

    /// Hash and length of the best rendition of the film about meanders.
    pub(crate) async fn film(&self) -> (String, u64) {
        let query = "SELECT blobs.hash, blobs.size FROM blobs JOIN renditions USING (hash) JOIN assets USING (asset_id) \
                     JOIN lessons USING (lesson_id) WHERE lessons.key LIKE '%a-meander-grows' AND mime LIKE 'video/%' \
                     ORDER BY blobs.size DESC LIMIT 1";
        let row = self.row(query).await;
        (row.get(0), u64::try_from(row.get::<i64, _>(1)).unwrap())
    }

    /// The op log, in order.
    pub(crate) async fn op_log(&self) -> Vec<LoggedOp> {
        let pool = self.open().await;
        let rows = sqlx::query("SELECT op_seq, kind, outcome FROM op_log ORDER BY device_id, op_seq");
        let rows = rows.fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| LoggedOp { seq: row.get(0), kind: row.get(1), outcome: row.get(2) }).collect()
    }

    /// One number.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.row(query).await.get(0)
    }

    /// Progress by key of the lesson: status, percent, position.
    pub(crate) async fn progress(&self) -> Vec<(String, String, i64, i64)> {
        let pool = self.open().await;
        let query = "SELECT lessons.key, progress.status, progress.percent, coalesce(progress.position, 0) \
                     FROM progress JOIN lessons USING (lesson_id) ORDER BY lessons.key";
        let rows = sqlx::query(query).fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
    }

    /// The answer that counts for each question, as JSON, and how many were recorded for it.
    pub(crate) async fn answers(&self) -> Vec<(String, serde_json::Value, i64)> {
        let pool = self.open().await;
        let query = "SELECT question_id, response, (SELECT count(*) FROM answers AS every WHERE every.question_id = \
                     answers.question_id) FROM answers GROUP BY question_id HAVING op_seq = max(op_seq) ORDER BY question_id";
        let rows = sqlx::query(query).fetch_all(&pool).await.unwrap();
        let read = |row: &sqlx::sqlite::SqliteRow| serde_json::from_str(&row.get::<String, _>(1)).unwrap();
        rows.iter().map(|row| (row.get(0), read(row), row.get(2))).collect()
    }

    /// A column of texts.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(&self.open().await).await.unwrap()
    }

    async fn row(&self, query: &str) -> sqlx::sqlite::SqliteRow {
        sqlx::query(query).fetch_one(&self.open().await).await.unwrap()
    }

    async fn open(&self) -> SqlitePool {
        let file = self.folder.join("carrel-service.db");
        SqlitePool::connect_with(SqliteConnectOptions::new().filename(file).read_only(true)).await.unwrap()
    }
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(built("carrel-service"));
    command.arg("--data").arg(data);
    command
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {printed}", output.status);
}

fn add_learner(data: &Path) {
    let mut command = command(data);
    command.args(["account", "add", LEARNER, "--display-name", "Amina", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "the learner is added");
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("course.toml").is_file());
    found.sort();
    found
}
