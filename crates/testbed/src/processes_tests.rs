#![expect(clippy::unwrap_used, reason = "in a test a panic with a message is the report")]

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn shell(script: &str, log: &Path) -> Process {
    Process::start(Command::new("/bin/sh").args(["-c", script]).env("CARREL_TEST_MARK", log), log).unwrap()
}

#[tokio::test]
async fn finds_what_a_program_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell("echo port 4711; sleep 60", &dir.path().join("log"));
    let port = process.wait_for(LIMIT, |log| log.strip_prefix("port ")?.trim().parse::<u16>().ok()).await.unwrap();
    assert_eq!(port, 4711);
}

#[tokio::test]
async fn a_program_that_ends_instead_is_an_error_with_what_it_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell("echo no port for you; exit 3", &dir.path().join("log"));
    let error = process.wait_for(LIMIT, |log| log.contains("ready").then_some(())).await.unwrap_err().to_string();
    assert!(error.contains("no port for you") && error.contains('3'), "{error}");
}

#[tokio::test]
async fn a_kill_takes_along_what_the_program_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = shell("sleep 60 & echo child $!; wait", &dir.path().join("log"));
    let child = process.wait_for(LIMIT, |log| log.strip_prefix("child ")?.trim().parse::<u32>().ok()).await.unwrap();
    process.kill();
    let began = Instant::now();
    while !is_gone(child) {
        assert!(began.elapsed() < LIMIT, "{child} outlived its group");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[tokio::test]
async fn a_program_is_found_by_its_environment_and_killed_by_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut process = shell("echo up; read never < /dev/null; while :; do sleep 1; done", &log);
    process.wait_for(LIMIT, |log| log.contains("up").then_some(())).await.unwrap();
    let program = std::fs::canonicalize("/bin/sh").unwrap();
    let found = find(&program, "CARREL_TEST_MARK", &log.to_string_lossy());
    assert_eq!(found, Some(process.id()));
    kill_and_wait(process.id(), LIMIT).await.unwrap();
    assert_eq!(find(&program, "CARREL_TEST_MARK", &log.to_string_lossy()), None);
}
