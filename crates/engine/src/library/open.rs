//! Opening: look first, then change. Nothing is written to a database before it is known to be ours, sound and not newer.

use std::{
    io,
    path::{Path, PathBuf},
};

use carrel_model::TimeMs;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migrator},
    sqlite::SqlitePoolOptions,
};

use super::{DATABASE_FILE, lock::unusable, pragmas, salvage};
use crate::{OpenError, OpenNotice, ports::Clock};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How many readers: enough that a long list never holds up a short answer, few enough to cost nothing.
const READERS: u32 = 3;
/// Backups of databases as they were before migrations.
const BACKUPS_KEPT: usize = 2;
/// Less room than this on the disk, and SQLite's I/O errors are taken for a full disk: it reports some of them vaguely.
const FULL_BELOW_BYTES: u64 = 256 * 1024;

const SQLITE_READONLY: i32 = 8;
const SQLITE_IOERR: i32 = 10;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// The writer, the readers, and what the learner must be told.
pub(super) async fn open(
    data_dir: &Path,
    clock: &dyn Clock,
) -> Result<(SqlitePool, SqlitePool, Vec<OpenNotice>), OpenError> {
    let path = data_dir.join(DATABASE_FILE);
    let mut notices = Vec::new();
    let mut set_aside = None;
    match look(&path).await.map_err(|error| opening_failed(data_dir, error))? {
        Found::Nothing => {}
        Found::Sound { applied } => {
            if let Some(found) = applied.iter().copied().find(|version| !MIGRATIONS.version_exists(*version)) {
                return Err(OpenError::DatabaseTooNew { found, known: newest_known() });
            }
            if applied.len() < MIGRATIONS.iter().count() {
                back_up(&path, clock.now()).await.map_err(|error| opening_failed(data_dir, error))?;
            }
        }
        Found::Damaged => set_aside = Some(move_aside(&path, clock.now()).map_err(|e| unusable(data_dir, e))?),
    }

    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(pragmas::writer(&path))
        .await
        .map_err(|error| opening_failed(data_dir, error))?;
    MIGRATIONS.run(&writer).await.map_err(|error| opening_failed(data_dir, migrate_error(error)))?;
    // A file that can't be written is noticed now, not with the first answer of a learner.
    let probe = writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| opening_failed(data_dir, error))?;
    probe.rollback().await.map_err(|error| opening_failed(data_dir, error))?;

    if let Some(old) = set_aside {
        let salvaged = salvage::salvage(&old, &writer).await.map_err(|error| opening_failed(data_dir, error))?;
        let file_name = old.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tracing::warn!(file_name, salvaged, "the database could not be read and was set aside");
        notices.push(OpenNotice::DatabaseSetAside { file_name, salvaged });
    }
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(pragmas::reader(&path))
        .await
        .map_err(|error| opening_failed(data_dir, error))?;
    Ok((writer, readers, notices))
}

/// What lies where the database should be.
enum Found {
    Nothing,
    Sound { applied: Vec<i64> },
    Damaged,
}

async fn look(path: &Path) -> Result<Found, sqlx::Error> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(sqlx::Error::Io(error)),
        // An empty file is how SQLite leaves a database that nothing was ever written to.
        Ok(found) if found.len() == 0 => return Ok(Found::Nothing),
        Ok(_) => {}
    }
    match inspect(path).await {
        Ok(found) => Ok(found),
        Err(error) if matches!(primary_code(&error), Some(SQLITE_NOTADB | SQLITE_CORRUPT)) => Ok(Found::Damaged),
        Err(error) => Err(error),
    }
}

async fn inspect(path: &Path) -> Result<Found, sqlx::Error> {
    let mut connection: SqliteConnection = pragmas::reader(path).connect().await?;
    let found = inspect_with(&mut connection).await;
    connection.close().await.ok();
    found
}

async fn inspect_with(connection: &mut SqliteConnection) -> Result<Found, sqlx::Error> {
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await?;
    if verdict != "ok" {
        tracing::warn!(verdict, "quick_check");
        return Ok(Found::Damaged);
    }
    let migrated: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')")
            .fetch_one(&mut *connection)
            .await?;
    let applied = if migrated {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version DESC")
            .fetch_all(connection)
            .await?
    } else {
        Vec::new()
    };
    Ok(Found::Sound { applied })
}

fn newest_known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// A copy of the database as it is, before migrations change it.
async fn back_up(path: &Path, now: TimeMs) -> Result<(), sqlx::Error> {
    let copy = path.with_file_name(format!("{DATABASE_FILE}.before-{}", file_stamp(now)));
    let mut connection = pragmas::reader(path).pragma("query_only", "OFF").connect().await?;
    let copied = sqlx::query("VACUUM INTO ?1").bind(copy.to_string_lossy()).execute(&mut connection).await;
    connection.close().await?;
    copied?;
    forget_old_backups(path);
    Ok(())
}

/// Keeps the newest; a backup that can't be removed is no reason not to open.
fn forget_old_backups(path: &Path) {
    let prefix = format!("{DATABASE_FILE}.before-");
    let Some(Ok(entries)) = path.parent().map(std::fs::read_dir) else { return };
    let mut backups: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .collect();
    // The time is part of the name, so the order of names is the order of age.
    backups.sort_unstable();
    for old in backups.iter().rev().skip(BACKUPS_KEPT) {
        if let Err(error) = std::fs::remove_file(old) {
            tracing::warn!(%error, "an old backup stays");
        }
    }
}

/// Renames a database that can't be read, together with its journal. Never deletes.
fn move_aside(path: &Path, now: TimeMs) -> io::Result<PathBuf> {
    let aside = path.with_file_name(format!("{DATABASE_FILE}.damaged-{}", file_stamp(now)));
    for suffix in ["-wal", "-shm"] {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A time that every file system takes as part of a name.
fn file_stamp(now: TimeMs) -> String {
    now.to_string().chars().filter(|c| !matches!(c, ':' | '.')).collect()
}

/// SQLite's result code without its extension.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

fn migrate_error(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}

fn opening_failed(data_dir: &Path, error: sqlx::Error) -> OpenError {
    let full = || fs4::available_space(data_dir).is_ok_and(|free| free < FULL_BELOW_BYTES);
    match (primary_code(&error), error) {
        (Some(SQLITE_FULL), _) => OpenError::StorageFull(data_dir.to_owned()),
        (Some(SQLITE_IOERR | SQLITE_CANTOPEN), _) if full() => OpenError::StorageFull(data_dir.to_owned()),
        (Some(SQLITE_READONLY | SQLITE_IOERR | SQLITE_CANTOPEN), error) => {
            OpenError::StorageUnavailable { path: data_dir.to_owned(), source: io::Error::other(error) }
        }
        (_, sqlx::Error::Io(source)) => unusable(data_dir, source),
        (_, error) => OpenError::Database(error),
    }
}
