//! What goes wrong is said in the window, in words for it, and nothing is lost.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use carrel_testbed::relay::Passed;

use crate::{
    content_service::{LEARNER, PASSWORD},
    desk::Desk,
    screens,
    window::{LIMIT, Window, hook},
};

#[tokio::test]
async fn a_wrong_password_is_said_and_the_right_one_goes_in() {
    let desk = Desk::new("wrong-password").await;
    let window = desk.open_app().await;
    screens::submit_sign_in(&window, &desk.relay.url(), LEARNER, "something else").await;
    window.attribute(&hook("sign-in-error"), "data-code", |code| code == "wrong_credentials").await;
    screens::sign_in(&window, &desk.relay.url(), LEARNER, PASSWORD).await;
    screens::library(&window).await;
    no_panic(&window);
}

#[tokio::test]
async fn a_service_that_is_down_is_said_at_sign_in_and_by_the_badge() {
    let mut desk = Desk::new("service-down").await;
    let window = desk.open_app().await;
    desk.service_goes_down().await;
    screens::submit_sign_in(&window, &desk.relay.url(), LEARNER, PASSWORD).await;
    let away = |code: &str| matches!(code, "service_unreachable" | "offline");
    window.attribute(&hook("sign-in-error"), "data-code", away).await;

    desk.service_comes_back().await;
    screens::sign_in(&window, &desk.relay.url(), LEARNER, PASSWORD).await;
    screens::library(&window).await;
    desk.service_goes_down().await;
    let away = |state: &str| matches!(state, "limited" | "offline");
    window.attribute_within(LIMIT * 2, &hook("network-badge"), "data-state", away).await;
    screens::library(&window).await;
    no_panic(&window);
}

#[tokio::test]
async fn a_full_disk_refuses_the_download_and_the_rest_goes_on() {
    let desk = Desk::new("full-disk").await;
    let disk = SmallDisk::mount(desk.folder().join("small"), "24m");
    let window = Window::open(&desk, &disk.0.join("app")).await;
    screens::sign_in(&window, &desk.relay.url(), LEARNER, PASSWORD).await;
    let unit = screens::open_unit_with_every_kind(&window).await;
    window.see(&hook("download-start")).await;
    std::fs::write(disk.0.join("somebody-elses.bin"), vec![0; 17 << 20]).unwrap();
    window.click(&hook("download-start")).await;
    // Refused at once, with the numbers: a quarter of a small disk stays free.
    window.attribute(&hook("error-note"), "data-code", |code| code == "storage_full").await;

    screens::open_lesson(&window, &unit, "quiz").await;
    screens::answer_quiz(&window).await;
    no_panic(&window);
    window.kill().await;
    let window = Window::open(&desk, &disk.0.join("app")).await;
    screens::open_lesson(&window, &unit, "quiz").await;
    window.attribute(&hook("quiz"), "data-status", |status| status == "running").await;
}

#[tokio::test]
async fn a_damaged_blob_is_noticed_and_fetched_again() {
    let desk = Desk::new("damaged-blob").await;
    let window = desk.open_signed_in().await;
    let unit = screens::open_unit_with_every_kind(&window).await;
    screens::take_along(&window, &unit, "high").await;
    window.kill().await;
    let (film, film_bytes) = desk.service.film().await;
    let blob = desk.data().join("blobs").join(&film[..2]).join(&film);
    // Shorter than it should be: what a disk that was pulled out leaves.
    let kept = 3 << 20;
    std::fs::OpenOptions::new().write(true).open(&blob).unwrap().set_len(kept).unwrap();
    let is_film = |passed: &Passed| passed.target.contains(&film) && !passed.target.contains("/pieces");
    let before = desk.relay.bytes_of(is_film);

    // It is noticed at the start, and what is missing is fetched without anybody asking.
    let window = desk.open_app().await;
    let began = Instant::now();
    while std::fs::metadata(&blob).map_or(0, |file| file.len()) != film_bytes {
        assert!(began.elapsed() < LIMIT, "the file is not whole again; {}", window.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    screens::ready_offline(&window, &unit).await;
    let again = desk.relay.bytes_of(is_film) - before;
    let missing = film_bytes - kept;
    // A piece that a connection is slow with may be asked for by another one, too.
    assert!((missing..=missing + (1 << 20)).contains(&again), "{again} bytes for the {missing} that were cut off");
    screens::open_lesson(&window, &unit, "video").await;
    screens::plays(&window, "lesson-video").await;
    no_panic(&window);
}

#[tokio::test]
async fn rubbish_in_place_of_the_database_is_set_aside_and_said() {
    let desk = Desk::new("rubbish").await;
    let window = desk.open_signed_in().await;
    window.kill().await;
    let database = desk.data().join("carrel.db");
    for ending in ["-wal", "-shm"] {
        std::fs::remove_file(desk.data().join(format!("carrel.db{ending}"))).ok();
    }
    std::fs::write(&database, "this is no database ".repeat(1000)).unwrap();

    let window = desk.open_app().await;
    window.see("[data-testid=notice][data-kind=database_set_aside]").await;
    let kept = std::fs::read_dir(desk.data()).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        path != database && path.is_file() && std::fs::read(path).unwrap().starts_with(b"this is no database ")
    });
    assert!(kept, "the old file is kept");
    screens::sign_in(&window, &desk.relay.url(), LEARNER, PASSWORD).await;
    screens::library(&window).await;
    no_panic(&window);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let desk = Desk::new("newer-database").await;
    let window = desk.open_signed_in().await;
    window.kill().await;
    let before = pretend_newer(&desk.data().join("carrel.db")).await;

    let window = desk.open_app().await;
    window.attribute(&hook("failure-screen"), "data-code", |code| code == "database_too_new").await;
    no_panic(&window);
    window.kill().await;
    assert_eq!(migrations(&desk.data().join("carrel.db")).await, before, "nothing was changed");
}

fn no_panic(window: &Window) {
    assert!(!window.log().contains("panicked"), "{}", window.log());
}

/// Adds a migration that this version doesn't know.
async fn pretend_newer(database: &Path) -> Vec<i64> {
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  VALUES (999999, 'of a newer version', TRUE, x'00', 0)";
    sqlx::query(insert).execute(&pool).await.unwrap();
    pool.close().await;
    migrations(database).await
}

async fn migrations(database: &Path) -> Vec<i64> {
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", database.display())).await.unwrap();
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version").fetch_all(&pool).await.unwrap()
}

/// A disk of its own size; it is unmounted with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        as_root("mount").args(["-t", "tmpfs", "-o", &format!("size={size},mode=0777"), "tmpfs"]).arg(&at).succeed();
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the app may still be ending.
        as_root("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

trait Succeed {
    fn succeed(&mut self);
}

impl Succeed for Command {
    fn succeed(&mut self) {
        let status = self.status().unwrap();
        assert!(status.success(), "{self:?} needs root, or sudo without a password");
    }
}

fn as_root(program: &str) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout.starts_with(b"0") {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", program]);
    command
}
