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

use super::{DATABASE_FILE, DiskFault, lock::unusable, pragmas, salvage};
use crate::{OpenError, OpenNotice, ports::Clock};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How many readers: enough that a long list never holds up a short answer, few enough to cost nothing.
const READERS: u32 = 3;
/// Backups of databases as they were before migrations.
const BACKUPS_KEPT: usize = 2;
/// Less room than this on the disk, and SQLite's I/O errors are taken for a full disk: it reports some of them vaguely.
const FULL_BELOW_BYTES: u64 = 256 * 1024;

/// The writer, the readers, and what the learner must be told.
pub(super) async fn open(
    data_dir: &Path,
    clock: &dyn Clock,
) -> Result<(SqlitePool, SqlitePool, Vec<OpenNotice>), OpenError> {
    let path = data_dir.join(DATABASE_FILE);
    let mut notices = Vec::new();
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
        Found::Damaged => {
            notices.push(replace(&path, clock.now()).await.map_err(|error| opening_failed(data_dir, error))?);
        }
    }

    let writer = open_writer(&path).await.map_err(|error| opening_failed(data_dir, error))?;
    try_writing(&writer).await.map_err(|error| opening_failed(data_dir, error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(pragmas::reader(&path))
        .await
        .map_err(|error| opening_failed(data_dir, error))?;
    Ok((writer, readers, notices))
}

/// The one writing connection, on a database that is up to date.
async fn open_writer(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        // SQLite rolls back by itself when the disk is full or fails, and then refuses the `ROLLBACK` that follows; sqlx
        // goes on believing in that transaction, and the connection would never begin another one.
        .before_acquire(|connection, _| {
            let stuck = connection.is_in_transaction();
            Box::pin(async move { Ok(!stuck) })
        })
        .connect_with(pragmas::writer(path))
        .await?;
    MIGRATIONS.run(&writer).await.map_err(migrate_error)?;
    Ok(writer)
}

/// A file that can't be written is noticed now, not with the first answer of a learner.
pub(super) async fn try_writing(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut probe = writer.begin_with("BEGIN IMMEDIATE").await?;
    // On a file that it may only read, SQLite makes `BEGIN IMMEDIATE` a reading one; a statement that would write tells.
    sqlx::query("DELETE FROM metadata WHERE FALSE").execute(&mut *probe).await?;
    probe.rollback().await
}

/// Puts a new database with what can be salvaged in the place of a damaged one, which stays under another name.
///
/// The new one is complete before the old one gives way: when the disk is full or the power goes, the next start tries again.
async fn replace(path: &Path, now: TimeMs) -> Result<OpenNotice, sqlx::Error> {
    let fresh = with_suffix(path, ".salvaging");
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(&fresh, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let writer = open_writer(&fresh).await?;
    let salvaged = salvage::salvage(path, &writer).await;
    let written = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&writer).await;
    writer.close().await;
    let salvaged = salvaged?;
    written?;
    let aside = move_aside(path, now)?;
    std::fs::rename(&fresh, path)?;
    let file_name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tracing::warn!(file_name, salvaged, "the database could not be read and was set aside");
    Ok(OpenNotice::DatabaseSetAside { file_name, salvaged })
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
        // An empty file is how SQLite leaves a database that nothing was ever written to. With files of learners beside
        // it, something was.
        Ok(found) if found.len() == 0 => {
            return Ok(if was_in_use(path) { Found::Damaged } else { Found::Nothing });
        }
        Ok(_) => {}
    }
    match inspect(path).await {
        Ok(found) => Ok(found),
        Err(error) if DiskFault::of(&error) == Some(DiskFault::Damaged) => Ok(Found::Damaged),
        Err(error) => Err(error),
    }
}

/// Whether there is something beside the database that only a used one can have left.
fn was_in_use(path: &Path) -> bool {
    let Some(folder) = path.parent() else { return false };
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let backup = format!("{DATABASE_FILE}.before-");
    entries(folder).any(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&backup)))
        || std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|journal| journal.len() > 0)
        || entries(&folder.join("partial")).next().is_some()
        || entries(&folder.join("blobs")).any(|folder| entries(&folder).next().is_some())
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

fn migrate_error(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}

/// Why the database can't be opened, in the words of whoever asked for it.
pub(super) fn opening_failed(data_dir: &Path, error: sqlx::Error) -> OpenError {
    let is_full = || fs4::available_space(data_dir).is_ok_and(|free| free < FULL_BELOW_BYTES);
    match (DiskFault::of(&error), error) {
        (Some(DiskFault::Full), _) => OpenError::StorageFull(data_dir.to_owned()),
        (Some(DiskFault::Unavailable), _) if is_full() => OpenError::StorageFull(data_dir.to_owned()),
        (_, sqlx::Error::Io(source)) => unusable(data_dir, source),
        (Some(DiskFault::Unavailable), error) => {
            OpenError::StorageUnavailable { path: data_dir.to_owned(), source: io::Error::other(error) }
        }
        (_, error) => OpenError::Database(error),
    }
}
