//! Signing out: what waits is the learner's choice, everything else goes.

use carrel_engine::{
    access::view::{SignOut, UnsentChoice},
    learning::view::CompleteLesson,
};
use carrel_model::{ErrorCode, content::LessonKind};

use crate::world::{Device, World};

/// A device with a completed lesson that could not be sent.
async fn with_a_waiting_write(world: &mut World) -> (Device, carrel_model::ProfileId) {
    let device = world.device("tablet").await;
    let amina = device.signed_in(world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    (device, amina)
}

#[tokio::test(flavor = "multi_thread")]
async fn is_refused_while_what_should_be_sent_can_not_be() {
    let mut world = World::new().await;
    let (device, amina) = with_a_waiting_write(&mut world).await;
    let choice = SignOut { unsent: UnsentChoice::Send };
    let error = device.engine.access().sign_out(amina, choice.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnsentWrites);
    assert_eq!(device.sync(amina).await.waiting, 1, "it is still there");

    world.relay.come_back().await.unwrap();
    device.engine.access().sign_out(amina, choice).await.unwrap();
    assert_eq!(world.count("SELECT count(*) FROM op_log").await, 1, "sent first");
    assert_eq!(device.engine.access().current().await.unwrap(), None);
    assert!(device.engine.access().profiles().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_waits_until_the_learner_comes_back() {
    let mut world = World::new().await;
    let (device, amina) = with_a_waiting_write(&mut world).await;
    device.engine.access().sign_out(amina, SignOut { unsent: UnsentChoice::Keep }).await.unwrap();
    assert!(device.engine.access().profiles().await.unwrap().is_empty(), "nobody is shown");
    assert!(device.engine.catalogue().library(amina).await.is_err(), "nothing of theirs is shown");

    world.relay.come_back().await.unwrap();
    let device = device.killed_and_started().await;
    let again = device.signed_in(&world, "amina").await;
    assert_eq!(again.id, amina);
    device.everything_is_sent(amina).await;
    assert_eq!(world.count("SELECT count(*) FROM op_log WHERE outcome = 'applied'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn discards_what_waits_by_explicit_choice() {
    let mut world = World::new().await;
    let (device, amina) = with_a_waiting_write(&mut world).await;
    device.engine.access().sign_out(amina, SignOut { unsent: UnsentChoice::Discard }).await.unwrap();
    let rows: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM events) + (SELECT count(*) FROM profiles)
             + (SELECT count(*) FROM units) + (SELECT count(*) FROM assets) + (SELECT count(*) FROM downloads)",
    )
    .fetch_one(device.engine.read_only_pool())
    .await
    .unwrap();
    assert_eq!(rows, 0, "nothing of the learner is left");
}
