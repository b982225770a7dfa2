//! Opening real files in real folders.

use std::path::Path;

use carrel_model::{TimeMs, trusted_time::Reading};

use super::*;

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn read(&self) -> Reading {
        Reading { wall: TimeMs::from_ms(1_795_176_000_000), monotonic_ms: 0 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

async fn open(folder: &Path) -> Result<(Library, Vec<OpenNotice>), OpenError> {
    Library::open(folder, &Noon).await
}

async fn insert_profile_and_write(library: &Library) {
    let mut tx = library.write().await.unwrap();
    sqlx::query(
        "INSERT INTO profiles (id, learner_id, service_url, name, display_name, device_id, next_seq, used_at, created_at)
         VALUES ('p', 'l', 'http://127.0.0.1', 'amina', 'Amina', 'd', 2, 0, 0)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO outbox (profile_id, seq, device_id, kind, entity_id, at, payload)
         VALUES ('p', 1, 'd', 'progress.completed', 'x', 5, '{}')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn waiting(library: &Library) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(library.readers()).await.unwrap()
}

#[tokio::test]
async fn runs_a_sqlite_without_the_wal_reset_bug() {
    let folder = tempfile::tempdir().unwrap();
    let (library, notices) = open(folder.path()).await.unwrap();
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(library.readers()).await.unwrap();
    let numbers: Vec<u32> = version.split('.').map(|n| n.parse().unwrap()).collect();
    assert!(numbers >= vec![3, 51, 3], "{version} has the WAL-reset bug");
    assert_eq!(notices, [], "a fresh store is nothing to tell");
}

#[tokio::test]
async fn sets_the_documented_pragmas() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    let mut tx = library.write().await.unwrap();
    for (pragma, expected) in [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("busy_timeout", 5_000),
        ("trusted_schema", 0),
        ("cell_size_check", 1),
    ] {
        let value: i64 = sqlx::query_scalar(&format!("PRAGMA {pragma}")).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn readers_can_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    for sql in ["DELETE FROM profiles", "CREATE TABLE x (y)", "PRAGMA query_only = OFF; DELETE FROM profiles"] {
        assert!(sqlx::raw_sql(sql).execute(library.readers()).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::StoreInUse(_))));
    library.close().await;
    assert!(open(folder.path()).await.is_ok(), "it is free again after closing");
}

#[tokio::test]
async fn refuses_a_newer_database_and_leaves_it_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    let mut tx = library.write().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999999, 'from the future', 1, x'00', 0)",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    library.close().await;
    let path = folder.path().join(DATABASE_FILE);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::DatabaseTooNew { found: 999_999, .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before, "not a byte was changed");
}

#[tokio::test]
async fn rubbish_is_set_aside_and_a_fresh_database_made() {
    let folder = tempfile::tempdir().unwrap();
    let rubbish = b"this is not a database".repeat(500);
    std::fs::write(folder.path().join(DATABASE_FILE), &rubbish).unwrap();
    let (library, notices) = open(folder.path()).await.unwrap();
    let [OpenNotice::DatabaseSetAside { file_name, salvaged: 0 }] = notices.as_slice() else {
        panic!("one notice: {notices:?}");
    };
    assert_eq!(std::fs::read(folder.path().join(file_name)).unwrap(), rubbish, "the old file is kept as it was");
    assert_eq!(waiting(&library).await, 0, "the new one works");
}

#[tokio::test]
async fn unsent_writes_are_carried_over_from_a_damaged_database() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    insert_profile_and_write(&library).await;
    let (root, page): (i64, i64) = (
        sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'units'")
            .fetch_one(library.readers())
            .await
            .unwrap(),
        sqlx::query_scalar("PRAGMA page_size").fetch_one(library.readers()).await.unwrap(),
    );
    library.close().await;
    let path = folder.path().join(DATABASE_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    let start = usize::try_from((root - 1) * page).unwrap();
    bytes[start..start + 64].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();

    let (library, notices) = open(folder.path()).await.unwrap();
    assert!(matches!(notices.as_slice(), [OpenNotice::DatabaseSetAside { salvaged: 1, .. }]), "{notices:?}");
    assert_eq!(waiting(&library).await, 1, "the write is in the new database");
}

#[tokio::test]
async fn every_committed_write_survives_a_copy_of_the_files_as_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    insert_profile_and_write(&library).await;
    // What a kill leaves: database and journal as they are, nobody closed anything.
    let after = tempfile::tempdir().unwrap();
    for name in [DATABASE_FILE.to_owned(), format!("{DATABASE_FILE}-wal")] {
        std::fs::copy(folder.path().join(&name), after.path().join(&name)).unwrap();
    }
    let (reopened, notices) = open(after.path()).await.unwrap();
    assert_eq!(notices, []);
    assert_eq!(waiting(&reopened).await, 1);
}

#[tokio::test]
async fn an_older_database_is_backed_up_before_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    // As an older app would have left it: the newest migration was never run.
    let mut tx = library.write().await.unwrap();
    sqlx::raw_sql("DROP TABLE settings; DELETE FROM _sqlx_migrations WHERE version = 5")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    library.close().await;
    open(folder.path()).await.unwrap();
    let backups = std::fs::read_dir(folder.path()).unwrap();
    let backups = backups.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".before-")).count();
    assert_eq!(backups, 1);
}

#[tokio::test]
async fn a_folder_that_can_not_be_made_is_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(open(&file.join("data")).await, Err(OpenError::StorageUnavailable { .. })));
}

/// A disk that is full can't be had in a test; a database that must not grow is as good as one.
#[tokio::test]
async fn a_full_disk_refuses_one_write_and_not_all_that_follow() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = open(folder.path()).await.unwrap();
    let mut tx = library.write().await.unwrap();
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *tx).await.unwrap();
    sqlx::query(&format!("PRAGMA max_page_count = {pages}")).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = library.write().await.unwrap();
    let full = sqlx::query("INSERT INTO metadata (name, value) VALUES ('large', hex(zeroblob(4000000)))")
        .execute(&mut *tx)
        .await
        .unwrap_err();
    assert_eq!(crate::EngineError::Database(full).code(), carrel_model::ErrorCode::StorageFull);
    // SQLite has rolled back by itself when the disk was full; so the one that is to follow fails.
    sqlx::query("ROLLBACK").execute(&mut *tx).await.ok();
    drop(tx);

    insert_profile_and_write(&library).await;
    assert_eq!(waiting(&library).await, 1, "there was room for this one, and it is kept");
}

#[tokio::test]
async fn a_database_that_can_only_be_read_is_noticed_at_opening() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap().0.close().await;
    // What SQLite does by itself with a file that it may only read.
    let options = pragmas::writer(&folder.path().join(DATABASE_FILE)).create_if_missing(false).read_only(true);
    let writer = SqlitePool::connect_with(options).await.unwrap();
    let error = open::try_writing(&writer).await.unwrap_err();
    let error = open::opening_failed(folder.path(), error);
    assert!(matches!(error, OpenError::StorageUnavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn what_the_disk_refuses_in_use_has_a_word_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.unwrap().0.close().await;
    let options = pragmas::writer(&folder.path().join(DATABASE_FILE)).create_if_missing(false).read_only(true);
    let read_only = SqlitePool::connect_with(options).await.unwrap();
    let refused = sqlx::query("DELETE FROM profiles").execute(&read_only).await.unwrap_err();
    let nowhere = SqlitePool::connect_with(pragmas::reader(&folder.path().join("nowhere"))).await.unwrap_err();
    for error in [refused, nowhere] {
        let error = crate::EngineError::Database(error);
        assert_eq!(error.code(), carrel_model::ErrorCode::StorageUnavailable, "{error}");
    }
}
