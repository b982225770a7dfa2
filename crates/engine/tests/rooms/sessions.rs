//! Signing in, staying signed in, and being signed out by the service.

use std::time::{Duration, Instant};

use carrel_engine::{
    EngineError,
    access::view::SignIn,
    learning::view::CompleteLesson,
    sync::view::{NetworkState, SyncNowOutcome},
};
use carrel_model::{ErrorCode, content::LessonKind};

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_library_is_there_after_one_fetch_and_stays_without_a_service() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await;
    let library = device.engine.catalogue().library(amina.id).await.unwrap();
    assert_eq!(library.courses[0].course.title, "Rivers");
    assert_eq!(library.courses[0].units[0].lesson_count, 2);
    assert!(library.fetched_at.is_some(), "it says when");

    world.relay.go_down().await;
    let device = device.killed_and_started().await;
    let current = device.engine.access().current().await.unwrap().unwrap();
    assert!(current.signed_in, "still signed in, offline too");
    assert_eq!(device.engine.catalogue().library(amina.id).await.unwrap().courses, library.courses, "from this device");
    device.engine.access().permits(amina.id, library.courses[0].course.id, false, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sign_in_says_why() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let code = async |request: SignIn| device.engine.access().sign_in(request).await.unwrap_err().code();
    let wrong = SignIn { password: "guessed".to_owned(), ..world.sign_in("amina") };
    assert_eq!(code(wrong).await, ErrorCode::WrongCredentials);
    let plain = SignIn { service_url: "http://learn.example".to_owned(), ..world.sign_in("amina") };
    assert_eq!(code(plain).await, ErrorCode::InvalidRequest, "plain http is for this machine only");

    let portal = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = portal.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = portal.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let page =
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
            let _ = stream.write_all(page.as_bytes()).await;
        }
    });
    let portal = SignIn { service_url: format!("http://{address}"), ..world.sign_in("amina") };
    assert_eq!(code(portal).await, ErrorCode::NotAService);

    let request = world.sign_in("amina");
    world.relay.go_down().await;
    assert_eq!(code(request).await, ErrorCode::ServiceUnreachable);
    assert!(device.engine.access().profiles().await.unwrap().is_empty(), "nobody was let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_guesses_are_told_how_long_to_wait() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let wrong = SignIn { password: "guessed".to_owned(), ..world.sign_in("amina") };
    for _ in 0..50 {
        let error = device.engine.access().sign_in(wrong.clone()).await.unwrap_err();
        if let EngineError::Service { code: ErrorCode::RateLimited, retry_after_ms, .. } = error {
            assert!(retry_after_ms.is_some_and(|ms| ms > 0), "it says how long");
            return;
        }
    }
    panic!("guessing was never slowed down");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_access_token_is_renewed_without_anybody_noticing() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await;
    world.meddle("UPDATE access_tokens SET expires_at = 0").await;
    device.engine.catalogue().refresh(amina.id).await.unwrap();
    assert!(device.engine.access().current().await.unwrap().unwrap().signed_in);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_stops_sending_and_nothing_else() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await;
    let page = device.lesson(amina.id, LessonKind::Page).await;
    device.everything_is_sent(amina.id).await;
    world.meddle("DELETE FROM access_tokens; DELETE FROM refresh_tokens").await;

    device.engine.learning().complete(amina.id, CompleteLesson { lesson_id: page.id }).await.unwrap();
    eventually("the session is known to have ended", async || {
        !device.engine.access().current().await.unwrap().unwrap().signed_in
    })
    .await;
    assert_eq!(device.sync(amina.id).await.waiting, 1, "it waits");
    let asked = device.engine.sync().now(amina.id).await.unwrap();
    assert_eq!(asked.outcome, SyncNowOutcome::SignInNeeded);

    let again = device.signed_in(&world, "amina").await;
    assert_eq!(again.id, amina.id, "the same learner");
    device.everything_is_sent(amina.id).await;
    assert_eq!(world.count("SELECT count(*) FROM op_log WHERE kind = 'progress.completed'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_badge_turns_when_the_service_goes_and_comes() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    device.signed_in(&world, "amina").await;
    device.badge_is(NetworkState::Online).await;
    let within = async |state| {
        let asked = Instant::now();
        device.badge_is(state).await;
        let took = asked.elapsed();
        // Five seconds between two looks, and what a busy machine adds.
        assert!(took < Duration::from_secs(8), "{state:?} took {took:?}");
    };
    world.relay.go_down().await;
    within(NetworkState::Limited).await;
    world.relay.come_back().await.unwrap();
    within(NetworkState::Online).await;
}
