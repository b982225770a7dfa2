//! A service as a process, over a database of its own, with learners whose devices are signed in.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use carrel_model::{DeviceId, LearnerId, TimeMs, content::LessonKind};
use carrel_service::{
    Service,
    clock::system_clock,
    config::Config,
    publish::publish_folder,
    store::{Account, Caller, NewTokens, TokenHash, UnitScope},
};
use carrel_testbed::{
    postgres::{Durability, PostgresServer},
    processes::Process,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::{
    Arguments, Case, StoreKind,
    ops::{Lessons, Outbox},
};

/// Learners who push and pull in turns: so many that they aren't always the same few rows.
const WRITERS: u64 = 200;
/// Devices that come back have numbers from here on.
const DEVICES_FROM: u64 = 1_000_000;
const UP_WITHIN: Duration = Duration::from_secs(60);
/// Accounts made at the same time.
const AT_ONCE: usize = 12;
const PAGES: u32 = 40;
const QUIZZES: u32 = 20;

/// A device that is signed in.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) token: String,
    pub(crate) outbox: Outbox,
}

/// A device that was away for so long that its access token is no longer good.
#[derive(Debug, Clone)]
pub(crate) struct Away {
    pub(crate) device: DeviceId,
    pub(crate) number: u64,
    pub(crate) refresh: String,
}

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) lessons: Lessons,
    /// They take turns.
    pub(crate) writers: Mutex<VecDeque<Writer>>,
    pub(crate) away: Vec<Away>,
    config: Config,
    process: Process,
    /// Ends, in this order, after the process.
    _database: Option<PostgresServer>,
    _folder: tempfile::TempDir,
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Site {
    pub(crate) async fn start(service: &Path, store: StoreKind) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("carrel-load").tempdir()?;
        let database = match store {
            StoreKind::Postgres => Some(PostgresServer::start(Durability::Durable)?),
            StoreKind::Sqlite => None,
        };
        let address = database.as_ref().map(|server| server.address("postgres"));
        let config =
            Config { data: folder.path().join("data"), database: address.clone().map(Into::into), ..Config::default() };
        let opened = opened(&config).await?;
        let course = write_course(folder.path())?;
        let published = publish_folder(opened.store.as_ref(), &opened.objects, &course, &opened.clock).await;
        published.map_err(failed)?;
        let learner = LearnerId::from_parts(TimeMs::default(), [0; 10]);
        let units = opened.store.units(learner, UnitScope::Global).await.map_err(failed)?;
        opened.store.close().await;
        let mut lessons = Lessons::default();
        for lesson in units.iter().flat_map(|unit| &unit.lessons) {
            if lesson.kind == LessonKind::Quiz { &mut lessons.quizzes } else { &mut lessons.pages }.push(lesson.id);
        }

        let mut command = Command::new(service);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&config.data).env("CARREL_LOG", "warn");
        match &address {
            Some(address) => command.env("CARREL_DATABASE", address),
            None => command.env_remove("CARREL_DATABASE"),
        };
        let mut process = Process::start(&mut command, &folder.path().join("service.log"))?;
        let said = |log: &str| log.lines().find_map(|line| line.strip_prefix("listening on http://")?.parse().ok());
        let address: SocketAddr = process.wait_for(UP_WITHIN, said).await?;
        let (writers, away) = (Mutex::default(), Vec::new());
        Ok(Self { address, lessons, writers, away, config, process, _database: database, _folder: folder })
    }

    pub(crate) fn service_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Nothing of it is needed any more: it goes before its database does.
    pub(crate) fn end(mut self) {
        self.process.kill();
    }

    /// Adds the accounts a case needs, through the store, as the command line would.
    pub(crate) async fn prepare(&mut self, case: Case, arguments: &Arguments) -> io::Result<()> {
        let enough = match case {
            Case::Devices => !self.away.is_empty(),
            _ => !self.writers().is_empty(),
        };
        if enough {
            return Ok(());
        }
        let opened = opened(&self.config).await?;
        let hour = 3_600_000;
        match case {
            Case::Devices => {
                let numbers = DEVICES_FROM..DEVICES_FROM + u64::from(arguments.devices);
                let signed_in = stream::iter(numbers).map(|number| signed_in(&opened, number, -hour));
                self.away = signed_in.buffered(AT_ONCE).map_ok(|(away, _)| away).try_collect().await?;
            }
            _ => {
                let signed_in = stream::iter(1..=WRITERS).map(|number| signed_in(&opened, number, hour));
                let writers: Vec<_> = signed_in.buffered(AT_ONCE).try_collect().await?;
                let writers = writers.into_iter().map(|(away, token)| {
                    let outbox = Outbox::new(away.device, away.number);
                    Writer { token, outbox }
                });
                self.writers().extend(writers);
            }
        }
        opened.store.close().await;
        Ok(())
    }

    pub(crate) fn writers(&self) -> std::sync::MutexGuard<'_, VecDeque<Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn opened(config: &Config) -> io::Result<Service> {
    let mut last = io::Error::other("never tried");
    let began = std::time::Instant::now();
    while began.elapsed() < UP_WITHIN {
        match Service::open(config.clone(), system_clock()).await {
            Ok(service) => return Ok(service),
            // The database's server has just been started.
            Err(error) => last = failed(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(last)
}

/// An account with one device, and its access token.
async fn signed_in(service: &Service, number: u64, access_for: i64) -> io::Result<(Away, String)> {
    let mut random = [0; 10];
    for (place, byte) in random.iter_mut().skip(2).zip(number.to_be_bytes()) {
        *place = byte;
    }
    let now = (service.clock)();
    let caller = Caller { learner: LearnerId::from_parts(now, random), device: DeviceId::from_parts(now, random) };
    let account = Account {
        learner: caller.learner,
        name: format!("learner{number}"),
        display_name: format!("Learner {number}"),
        // Nobody signs in with a password here.
        password_hash: "*".to_owned(),
        quota_bytes: None,
        created_at: now,
    };
    service.store.add_account(&account).await.map_err(failed)?;
    let (access, refresh) = (format!("access-of-{number}"), format!("refresh-of-{number}"));
    let hashed = |token: &str| -> TokenHash { Sha256::digest(token.as_bytes()).into() };
    let tokens = NewTokens {
        access: hashed(&access),
        access_expires_at: now.plus_ms(access_for),
        refresh: hashed(&refresh),
        refresh_expires_at: now.plus_ms(86_400_000),
    };
    service.store.open_session(caller, "device", &tokens, now).await.map_err(failed)?;
    Ok((Away { device: caller.device, number, refresh }, access))
}

/// An open course of pages and quizzes.
fn write_course(folder: &Path) -> io::Result<PathBuf> {
    let course = folder.join("load");
    let unit = course.join("01-unit");
    std::fs::create_dir_all(&unit)?;
    std::fs::write(course.join("course.toml"), "title = \"Load\"\nopen = true\n")?;
    std::fs::write(unit.join("unit.toml"), "title = \"Unit\"\n")?;
    for n in 0..PAGES {
        let page = format!("+++\nkind = \"page\"\ntitle = \"Page {n}\"\n+++\nWords of page {n}.\n");
        std::fs::write(unit.join(format!("{n:02}-page{n}.md")), page)?;
    }
    for n in 0..QUIZZES {
        let questions: Vec<_> = (1..=5)
            .map(|q| {
                format!(
                    "{{ id = \"q{q}\", kind = \"single\", prompt = \"?\", options = [{{ id = \"a\", text = \"A\" }}, \
                     {{ id = \"b\", text = \"B\" }}], correct = \"a\" }}"
                )
            })
            .collect();
        let quiz = format!("+++\nkind = \"quiz\"\ntitle = \"Quiz {n}\"\nquestions = [{}]\n+++\n", questions.join(", "));
        std::fs::write(unit.join(format!("{:02}-quiz{n}.md", PAGES + n)), quiz)?;
    }
    Ok(course)
}
