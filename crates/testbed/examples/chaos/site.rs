//! The service: a course made for this, one learner, and its database as anybody may read it.

use std::{
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use carrel_testbed::postgres::{Durability, PostgresServer};
use sqlx::{PgPool, SqlitePool, sqlite::SqliteConnectOptions};

use crate::{Failure, programs::Programs};

/// The learner.
pub(crate) const NAME: &str = "amina";
/// Their password; it protects nothing but a service on this machine's loopback.
pub(crate) const PASSWORD: &str = "rivers-and-stars";
/// Questions are called this, and by their number.
pub(crate) const QUESTION: &str = "word";
const UP_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Site {
    program: PathBuf,
    data: PathBuf,
    listen: SocketAddr,
    service: Programs,
    postgres: Option<PostgresServer>,
}

impl Site {
    /// Publishes the course and adds the learner.
    pub(crate) async fn build(programs: &Path, folder: &Path, course: Course, postgres: bool) -> Result<Self, Failure> {
        let data = folder.join("service");
        std::fs::create_dir_all(&data)?;
        let postgres = if postgres { Some(PostgresServer::start(Durability::Durable)?) } else { None };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let program = programs.join("carrel-service");
        let environment = environment(postgres.as_ref());
        let service = Programs::new(program.clone(), Vec::new(), environment, folder.join("service"));
        let site = Self { program, data, listen, service, postgres };
        let written = folder.join("words");
        course.write(&written)?;
        let began = Instant::now();
        // A PostgreSQL that was started a moment ago is not up yet.
        while let Err(error) = site.does(&["publish", &written.to_string_lossy()], "") {
            if site.postgres.is_none() || began.elapsed() > UP_WITHIN {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        site.does(&["account", "add", NAME, "--display-name", "Amina", "--password-stdin"], PASSWORD)?;
        site.does(&["enrol", NAME, "words"], "")?;
        Ok(site)
    }

    /// The service on what is in `folder` already.
    #[allow(dead_code, reason = "only one of the two programs that share this needs it")]
    pub(crate) fn reopen(programs: &Path, folder: &Path) -> Self {
        let program = programs.join("carrel-service");
        let service = Programs::new(program.clone(), Vec::new(), Vec::new(), folder.join("service"));
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { program, data: folder.join("service"), listen, service, postgres: None }
    }

    /// The operating system's id of the service.
    #[allow(dead_code, reason = "only one of the two programs that share this needs it")]
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.service.process_id()
    }

    /// Starts it, each time at the same address.
    pub(crate) async fn start(&mut self) -> Result<SocketAddr, Failure> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let arguments = vec![
            "--data".to_owned(),
            text(&self.data),
            "serve".to_owned(),
            "--listen".to_owned(),
            self.listen.to_string(),
        ];
        self.service.let_be(arguments);
        self.listen = self.service.start("http://").await?.parse()?;
        Ok(self.listen)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.service.kill();
    }

    /// What the service printed in all its lives.
    pub(crate) fn log(&self) -> String {
        self.service.log()
    }

    /// A column of texts out of its database.
    pub(crate) async fn texts(&self, sql: &str) -> Result<Vec<String>, Failure> {
        if let Some(postgres) = &self.postgres {
            let pool = PgPool::connect(&postgres.address("postgres")).await?;
            return Ok(sqlx::query_scalar(sql).fetch_all(&pool).await?);
        }
        let file = SqliteConnectOptions::new().filename(self.data.join("carrel-service.db")).read_only(true);
        let pool = SqlitePool::connect_with(file).await?;
        Ok(sqlx::query_scalar(sql).fetch_all(&pool).await?)
    }

    fn does(&self, arguments: &[&str], input: &str) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.arg("--data").arg(&self.data).args(arguments).envs(environment(self.postgres.as_ref()));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("{}: {error}; cargo build --workspace --bins makes it", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that asks for nothing may have ended before it was told.
            writeln!(stdin, "{input}").ok();
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("carrel-service {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

fn environment(postgres: Option<&PostgresServer>) -> Vec<(&'static str, String)> {
    postgres.into_iter().map(|postgres| ("CARREL_DATABASE", postgres.address("postgres"))).collect()
}

/// What there is to learn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    pub(crate) units: usize,
    /// In each unit.
    pub(crate) quizzes: usize,
    /// In each quiz.
    pub(crate) questions: usize,
    /// In each unit.
    pub(crate) pages: usize,
}

impl Course {
    fn write(self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("course.toml"), "title = \"Words\"\n")?;
        for unit in 0..self.units {
            let folder = folder.join(format!("{unit:03}-unit-{unit}"));
            std::fs::create_dir(&folder)?;
            std::fs::write(folder.join("unit.toml"), format!("title = \"Unit {unit}\"\n"))?;
            for quiz in 0..self.quizzes {
                std::fs::write(folder.join(format!("{quiz:03}-words-{quiz}.md")), self.quiz(quiz))?;
            }
            for page in 0..self.pages {
                let text = format!("+++\nkind = \"page\"\ntitle = \"Page {page}\"\n+++\nPage {page} of unit {unit}.\n");
                std::fs::write(folder.join(format!("{:03}-page-{page}.md", self.quizzes + page)), text)?;
            }
        }
        Ok(())
    }

    fn quiz(self, quiz: usize) -> String {
        let mut text = format!("+++\nkind = \"quiz\"\ntitle = \"Words {quiz}\"\npractice = true\n");
        for question in 0..self.questions {
            // Writing into a text can't fail.
            let _ = write!(
                text,
                "\n[[questions]]\nid = \"{QUESTION}{question}\"\nkind = \"short_text\"\nprompt = \"?\"\naccept = [\"silt\"]\n"
            );
        }
        text + "+++\n"
    }
}
