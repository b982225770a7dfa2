//! What makes a device sync, each by itself (requirement Y1). That time alone does is the planner's own test: nobody waits
//! five minutes here.

use carrel_engine::{learning::view::CompleteLesson, sync::view::NetworkState};
use carrel_model::{LessonId, ProfileId, content::LessonKind, progress::ProgressStatus};

use crate::world::{Device, World, eventually};

/// A tablet that has synced and rests, and a laptop of the same learner.
async fn tablet_and_laptop(world: &World) -> (Device, Device, ProfileId, ProfileId, LessonId) {
    let (tablet, laptop) = (world.device("tablet").await, world.device("laptop").await);
    let on_tablet = tablet.signed_in(world, "amina").await.id;
    let on_laptop = laptop.signed_in(world, "amina").await.id;
    let page = tablet.lesson(on_tablet, LessonKind::Page).await.id;
    tablet.everything_is_sent(on_tablet).await;
    laptop.everything_is_sent(on_laptop).await;
    (tablet, laptop, on_tablet, on_laptop, page)
}

async fn status(device: &Device, profile: ProfileId) -> ProgressStatus {
    device.lesson(profile, LessonKind::Page).await.progress.status
}

async fn completes(world: &World, device: &Device, profile: ProfileId, page: LessonId) {
    device.engine.learning().complete(profile, CompleteLesson { lesson_id: page }).await.unwrap();
    eventually("the other device's work is at the service", async || {
        world.count("SELECT count(*) FROM progress WHERE status = 'completed'").await == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_alone_is_sent() {
    let world = World::new().await;
    let (tablet, _, on_tablet, _, page) = tablet_and_laptop(&world).await;
    completes(&world, &tablet, on_tablet, page).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_alone_fetches() {
    let world = World::new().await;
    let (tablet, laptop, on_tablet, on_laptop, page) = tablet_and_laptop(&world).await;
    completes(&world, &laptop, on_laptop, page).await;
    assert_eq!(status(&tablet, on_tablet).await, ProgressStatus::NotStarted, "nobody told the tablet");
    tablet.engine.sync().now(on_tablet).await.unwrap();
    eventually("it was fetched", async || status(&tablet, on_tablet).await == ProgressStatus::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coming_back_online_alone_fetches() {
    let mut world = World::new().await;
    let (tablet, laptop, on_tablet, on_laptop, page) = tablet_and_laptop(&world).await;
    world.relay.go_down().await;
    // A request is what notices it; nothing is written and nobody asks again after this.
    tablet.engine.catalogue().refresh(on_tablet).await.unwrap_err();
    tablet.badge_is(NetworkState::Limited).await;
    laptop.engine.learning().complete(on_laptop, CompleteLesson { lesson_id: page }).await.unwrap();
    assert_eq!(tablet.sync(on_tablet).await.waiting, 0, "the tablet has nothing to send");
    world.relay.come_back().await.unwrap();
    eventually("it was fetched", async || status(&tablet, on_tablet).await == ProgressStatus::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_alone_fetches() {
    let world = World::new().await;
    let (tablet, laptop, on_tablet, on_laptop, page) = tablet_and_laptop(&world).await;
    completes(&world, &laptop, on_laptop, page).await;
    assert_eq!(status(&tablet, on_tablet).await, ProgressStatus::NotStarted, "nobody told the tablet");
    let tablet = tablet.killed_and_started().await;
    eventually("it was fetched", async || status(&tablet, on_tablet).await == ProgressStatus::Completed).await;
}
