//! Damaged files of every kind, each opened as a learner's next start would.

use std::{
    fs,
    path::{Path, PathBuf},
};

use carrel_model::{TimeMs, trusted_time::Reading};
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::super::{DATABASE_FILE, Library};
use crate::{OpenNotice, ports::Clock};

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

/// A database with one learner, signed in, who has two writes waiting; closed. Gives the root page of `object`.
async fn used(folder: &Path, object: &str) -> (PathBuf, usize, usize) {
    let (library, _) = Library::open(folder, &Noon).await.unwrap();
    let mut tx = library.write().await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO profiles (id, learner_id, service_url, name, display_name, device_id, next_seq, signed_in, used_at,
             created_at) VALUES ('p', 'l', 'http://127.0.0.1', 'amina', 'Amina', 'd', 9, 1, 0, 0);
         INSERT INTO leases VALUES ('p', '{}', '[]');
         INSERT INTO settings VALUES ('p', '{}');
         INSERT INTO metadata VALUES ('current_profile', 'p'), ('trusted_time', '{}');
         INSERT INTO sync_state (profile_id, units_cursor, records_cursor) VALUES ('p', 'far', 'on');
         INSERT INTO events (profile_id, seq, kind, entity_id, at, payload)
             VALUES ('p', 7, 'progress.completed', 'x', 5, '{}'), ('p', 8, 'progress.completed', 'y', 5, '{}');
         INSERT INTO outbox (profile_id, seq, device_id, kind, entity_id, at, payload)
             VALUES ('p', 7, 'd', 'progress.completed', 'x', 5, '{}'), ('p', 8, 'd', 'progress.completed', 'y', 5, '{}');",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let root: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = ?1")
        .bind(object)
        .fetch_one(library.readers())
        .await
        .unwrap();
    let page: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(library.readers()).await.unwrap();
    library.close().await;
    everything_is_in_the_file(folder).await;
    (folder.join(DATABASE_FILE), usize::try_from(root).unwrap(), usize::try_from(page).unwrap())
}

/// What the log beside the file still held would mend the damage that a test does to the file. Whoever closed last may have
/// left it, when a reader was still letting go.
async fn everything_is_in_the_file(folder: &Path) {
    let options = SqliteConnectOptions::new().filename(folder.join(DATABASE_FILE));
    for _ in 0..1_000 {
        let mut connection = options.connect().await.unwrap();
        let (busy, ..): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let log = fs::metadata(folder.join(format!("{DATABASE_FILE}-wal"))).map_or(0, |log| log.len());
        if busy == 0 && log == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the log beside the database stays");
}

/// Opens it again: everything that only this device has must be there.
async fn nothing_is_lost(folder: &Path, what: &str) {
    let (library, notices) = Library::open(folder, &Noon).await.unwrap();
    assert!(matches!(notices.as_slice(), [OpenNotice::DatabaseSetAside { salvaged: 2, .. }]), "{what}: {notices:?}");
    for (sql, expected) in [
        ("SELECT count(*) FROM profiles WHERE signed_in = 1 AND device_id = 'd' AND next_seq = 9", 1),
        ("SELECT count(*) FROM metadata m JOIN profiles p ON p.id = m.value WHERE m.name = 'current_profile'", 1),
        ("SELECT count(*) FROM metadata", 2),
        ("SELECT count(*) FROM leases", 1),
        ("SELECT count(*) FROM settings", 1),
        ("SELECT count(*) FROM events", 2),
        ("SELECT count(*) FROM outbox WHERE state = 'waiting'", 2),
        ("SELECT count(*) FROM sync_state WHERE units_cursor IS NULL AND records_cursor IS NULL", 1),
    ] {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(library.readers()).await.unwrap();
        assert_eq!(found, expected, "{what}: {sql}");
    }
    library.close().await;
    let (library, notices) = Library::open(folder, &Noon).await.unwrap();
    assert_eq!(notices, [], "{what}: it is told once");
    library.close().await;
}

#[tokio::test]
async fn a_truncated_database_gives_back_everything_only_this_device_has() {
    for pages in [1, 3, 9] {
        let folder = tempfile::tempdir().unwrap();
        let (path, _, page) = used(folder.path(), "units").await;
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - pages * page]).unwrap();
        nothing_is_lost(folder.path(), &format!("{pages} pages missing")).await;
    }
}

#[tokio::test]
async fn a_damaged_page_of_a_table_or_an_index_costs_only_what_is_on_it() {
    for object in ["units", "sqlite_autoindex_profiles_1", "sqlite_autoindex_metadata_1", "downloads"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, root, page) = used(folder.path(), object).await;
        let mut bytes = fs::read(&path).unwrap();
        bytes[(root - 1) * page..][..64].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        nothing_is_lost(folder.path(), object).await;
    }
}

#[tokio::test]
async fn an_empty_database_beside_files_of_learners_is_told_and_not_taken_for_a_new_device() {
    for beside in ["blobs/ab/abcd", "partial/abcd.part", "carrel.db.before-20260101T000000000Z", "carrel.db-wal"] {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join(beside);
        fs::create_dir_all(beside.parent().unwrap()).unwrap();
        fs::write(&beside, b"something").unwrap();
        fs::write(folder.path().join(DATABASE_FILE), b"").unwrap();
        let (library, notices) = Library::open(folder.path(), &Noon).await.unwrap();
        assert!(matches!(notices.as_slice(), [OpenNotice::DatabaseSetAside { salvaged: 0, .. }]), "{beside:?}");
        library.close().await;
    }
}

#[tokio::test]
async fn an_empty_database_in_a_folder_without_files_is_a_new_device() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("blobs/ab")).unwrap();
    fs::create_dir(folder.path().join("partial")).unwrap();
    fs::write(folder.path().join(DATABASE_FILE), b"").unwrap();
    let (library, notices) = Library::open(folder.path(), &Noon).await.unwrap();
    assert_eq!(notices, []);
    library.close().await;
}
