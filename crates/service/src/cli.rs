//! The commands.

use std::error::Error;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use carrel_model::{LearnerId, TimeMs, lease::Role, time::DAY_MS};
use carrel_service::{
    RunningService, Service,
    accounts::{Passwords, folded_name},
    clock::system_clock,
    config::Config,
    openapi_json,
    publish::publish_folder,
    start,
    store::{Account, StoreError},
};
use clap::{Args, Parser, Subcommand};
use rand::TryRngCore as _;

type Outcome = Result<(), Box<dyn Error>>;

/// The content service of Carrel.
#[derive(Parser)]
#[command(name = "carrel-service", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Settings {
    /// A TOML file with settings; the environment and flags count for more
    #[arg(long, env = "CARREL_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The folder of the database, the objects and the secrets [default: .carrel/service]. A database elsewhere is named by
    /// the environment: CARREL_DATABASE=postgres://user@host/name
    #[arg(long, env = "CARREL_DATA", global = true)]
    data: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to end
    Serve {
        /// Where to listen [default: 127.0.0.1:8080]
        #[arg(long, env = "CARREL_LISTEN")]
        listen: Option<SocketAddr>,
        /// `https://host` that signed addresses begin with; without it they are paths
        #[arg(long, env = "CARREL_PUBLIC_ADDRESS")]
        public_address: Option<String>,
        /// Bytes a learner may keep downloaded
        #[arg(long, env = "CARREL_QUOTA_BYTES")]
        quota_bytes: Option<u64>,
        /// Seconds a signed address holds [default: 900]
        #[arg(long, env = "CARREL_URL_LIFETIME_SECONDS")]
        url_lifetime_seconds: Option<u32>,
    },
    /// Publish the course in a folder, or publish it again
    Publish {
        /// The folder with course.toml
        folder: PathBuf,
    },
    /// Withdraw a course
    Withdraw {
        /// Its key
        course: String,
    },
    /// Accounts
    #[command(subcommand)]
    Account(AccountCommand),
    /// Enrol a learner in a course, or change role and end
    Enrol {
        /// Account name
        name: String,
        /// The course's key
        course: String,
        /// learner, premium or teacher
        #[arg(long, default_value = "learner")]
        role: Role,
        /// The last day (2027-06-30, to its end in UTC) or moment (RFC 3339)
        #[arg(long, value_parser = last_moment)]
        until: Option<TimeMs>,
    },
    /// End an enrolment
    Unenrol {
        /// Account name
        name: String,
        /// The course's key
        course: String,
    },
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Subcommand)]
enum AccountCommand {
    /// Add an account
    Add {
        /// What is typed at sign-in
        name: String,
        /// What the learner is called [default: the name]
        #[arg(long)]
        display_name: Option<String>,
        /// Bytes this learner may keep downloaded
        #[arg(long)]
        quota_bytes: Option<u64>,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// List accounts
    List,
    /// Change a password; every device has to sign in again
    Password {
        /// Account name
        name: String,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
}

pub(crate) async fn run(arguments: Arguments) -> Outcome {
    let mut config = match &arguments.settings.config {
        Some(path) => Config::from_file(path)?,
        None => Config::default(),
    };
    if let Some(data) = arguments.settings.data {
        config.data = data;
    }
    if let Ok(address) = std::env::var("CARREL_DATABASE")
        && !address.is_empty()
    {
        config.database = Some(address.into());
    }
    match arguments.command {
        Command::Serve { listen, public_address, quota_bytes, url_lifetime_seconds } => {
            config.listen = listen.unwrap_or(config.listen);
            config.public_address = public_address.or(config.public_address);
            config.quota_bytes = quota_bytes.or(config.quota_bytes);
            config.url_lifetime_seconds = url_lifetime_seconds.unwrap_or(config.url_lifetime_seconds);
            serve(config).await
        }
        Command::Openapi => {
            print!("{}", openapi_json()?);
            Ok(())
        }
        command => {
            let service = Service::open(config, system_clock()).await?;
            let done = manage(&service, command).await;
            service.store.close().await;
            done
        }
    }
}

async fn serve(config: Config) -> Outcome {
    let running: RunningService = start(config).await?;
    // The one line on standard output, for whoever started the service on port 0.
    println!("listening on {}", running.url());
    std::io::stdout().flush()?;
    told_to_end().await?;
    tracing::info!("ending");
    running.shutdown().await;
    Ok(())
}

async fn told_to_end() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

async fn manage(service: &Service, command: Command) -> Outcome {
    let store = service.store.as_ref();
    match command {
        Command::Publish { folder } => {
            let (key, done) = publish_folder(store, &service.objects, &folder, &service.clock).await?;
            println!(
                "{key}: {} units changed, {} as they were, {} gone; {} lessons and {} assets gone",
                done.units_changed.len(),
                done.units_unchanged,
                done.units_removed.len(),
                done.lessons_removed,
                done.assets_removed
            );
        }
        Command::Withdraw { course } => {
            store.withdraw(&course, (service.clock)()).await?;
        }
        Command::Account(command) => account(service, command).await?,
        Command::Enrol { name, course, role, until } => {
            let learner = learner(service, &name).await?;
            store.enrol(learner, &course, role, until, (service.clock)()).await?;
        }
        Command::Unenrol { name, course } => {
            let learner = learner(service, &name).await?;
            store.unenrol(learner, &course, (service.clock)()).await?;
        }
        Command::Serve { .. } | Command::Openapi => {}
    }
    Ok(())
}

async fn account(service: &Service, command: AccountCommand) -> Outcome {
    match command {
        AccountCommand::Add { name, display_name, quota_bytes, password_stdin } => {
            let display_name = display_name.unwrap_or_else(|| name.trim().to_owned());
            let name = folded_name(&name).ok_or("an account name has 1 to 200 bytes and no control characters")?;
            let password_hash = Passwords::default().hash(password(password_stdin)?).await?;
            let now = (service.clock)();
            let mut random = [0; 10];
            rand::rngs::OsRng.try_fill_bytes(&mut random)?;
            let learner = LearnerId::from_parts(now, random);
            let account = Account { learner, name, display_name, password_hash, quota_bytes, created_at: now };
            service.store.add_account(&account).await?;
            println!("{learner}");
        }
        AccountCommand::List => {
            for account in service.store.accounts().await? {
                println!("{}\t{}\t{}", account.learner, account.name, account.display_name);
            }
        }
        AccountCommand::Password { name, password_stdin } => {
            let learner = learner(service, &name).await?;
            let hash = Passwords::default().hash(password(password_stdin)?).await?;
            service.store.set_password(learner, &hash).await?;
        }
    }
    Ok(())
}

async fn learner(service: &Service, name: &str) -> Result<LearnerId, StoreError> {
    let name = folded_name(name).ok_or(StoreError::UnknownAccount)?;
    Ok(service.store.account_by_name(&name).await?.ok_or(StoreError::UnknownAccount)?.learner)
}

/// Asked for or piped, never an argument: arguments can be seen by everybody on the machine.
fn password(from_stdin: bool) -> Result<String, Box<dyn Error>> {
    if from_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return Err("no terminal to ask for the password: use --password-stdin".into());
    }
    let password = rpassword::prompt_password("Password: ")?;
    if password != rpassword::prompt_password("Again: ")? {
        return Err("the two passwords differ".into());
    }
    Ok(password)
}

fn last_moment(text: &str) -> Result<TimeMs, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let day: TimeMs =
        format!("{text}T00:00:00Z").parse().map_err(|_| format!("{text:?} is neither a day nor a time"))?;
    Ok(day.plus_ms(DAY_MS))
}
