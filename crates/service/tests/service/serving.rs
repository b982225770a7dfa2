//! Starting in-process, as the tests of other rooms do.

use carrel_service::{StartError, config::Config, start, store::StoreError};

use crate::site::{On, Site};

#[tokio::test]
async fn starts_on_an_empty_folder_answers_and_ends() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let config =
        Config { listen: "127.0.0.1:0".parse().unwrap(), data: folder.path().join("new/folder"), ..Config::default() };
    let running = start(config.clone()).await.unwrap();
    let health = format!("{}/api/v1/health", running.url());
    let answer: serde_json::Value = reqwest::get(&health).await.unwrap().json().await.unwrap();
    assert_eq!(answer["service"], "carrel");
    let taken = start(Config { listen: running.address, ..config.clone() }).await.err().unwrap();
    assert!(matches!(&taken, StartError::Io { .. }), "an address in use is said to be: {taken}");
    running.shutdown().await;
    assert!(reqwest::get(&health).await.is_err(), "it no longer answers");
    start(config).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_database_of_a_newer_service_and_a_file_of_rubbish_are_refused() {
    let site = Site::new(On::Sqlite).await;
    let data = site.folder.path().join("data");
    site.service.store.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("carrel-service.db"));
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), data: data.clone(), ..Config::default() };
    let newer = start(config.clone()).await.err().unwrap();
    assert!(matches!(newer, StartError::Store(StoreError::TooNew)), "{newer}");

    std::fs::write(data.join("carrel-service.db"), "rubbish ".repeat(1000)).unwrap();
    let damaged = start(config.clone()).await.err().unwrap();
    assert!(matches!(damaged, StartError::Store(StoreError::Database(_))), "{damaged}");
    std::fs::write(data.join("lease-signing.key"), "short").unwrap();
    let no_key = start(config).await.err().unwrap();
    assert!(matches!(no_key, StartError::Secrets(_)), "{no_key}");
}

#[tokio::test]
async fn settings_come_from_a_file_and_mistakes_in_it_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:9\"\nquota_bytes = 5\n").unwrap();
    let config = Config::from_file(&file).unwrap();
    assert_eq!((config.listen.port(), config.quota_bytes, config.url_lifetime_seconds), (9, Some(5), 900));
    std::fs::write(&file, "listen = \"127.0.0.1:9\"\npassword = \"x\"\n").unwrap();
    let error = Config::from_file(&file).unwrap_err().to_string();
    assert!(error.contains("service.toml") && error.contains("password"), "{error}");
}

#[tokio::test]
async fn signed_addresses_are_paths_or_begin_with_the_public_address() {
    for (public_address, begins) in
        [(None, "/api/v1/blobs/"), (Some("https://learn.example/".to_owned()), "https://learn.example/api/v1/blobs/")]
    {
        let site = Site::with(On::Sqlite, Config { public_address, ..Config::default() }).await;
        let course = site.course("rivers");
        course.write("course.toml", "title = \"Rivers\"\nopen = true");
        site.publish(&course).await;
        let amina = site.learner(1, "amina").await;
        let unit = site.get("/content/units?scope=global", Some(&amina)).await.ok()["units"][0]["id"].clone();
        let wanted = serde_json::json!({ "unit_id": unit });
        let granted = site.post("/downloads/authorize", Some(&amina), &wanted).await.ok();
        let url = granted["blobs"][0]["url"].as_str().unwrap();
        assert!(url.starts_with(begins), "{url}");
    }
}
