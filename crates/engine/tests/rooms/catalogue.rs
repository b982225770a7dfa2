//! What changes at the service changes here, and nothing a learner did is lost by it.

use carrel_engine::learning::view::{CompleteLesson, RecordPosition};
use carrel_model::{content::LessonKind, progress::ProgressStatus};

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn changed_and_withdrawn_content_arrives_with_a_refresh() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    device.lesson(amina, LessonKind::Quiz).await;
    world.write(&world.course(), "02-sea/unit.toml", "title = \"Sea\"\n");
    world.write(&world.course(), "02-sea/01-salt.md", "+++\nkind = \"page\"\ntitle = \"Salt\"\n+++\nSalt.\n");
    std::fs::remove_file(world.course().join("01-land/02-check.md")).unwrap();
    world.publish().await;

    device.engine.catalogue().refresh(amina).await.unwrap();
    let library = device.engine.catalogue().library(amina).await.unwrap();
    let units: Vec<(&str, u32)> =
        library.courses[0].units.iter().map(|unit| (unit.title.as_str(), unit.lesson_count)).collect();
    assert_eq!(units, [("Land", 1), ("Sea", 1)], "a unit came, a lesson went");

    std::fs::remove_dir_all(world.course().join("02-sea")).unwrap();
    world.publish().await;
    device.engine.catalogue().refresh(amina).await.unwrap();
    let library = device.engine.catalogue().library(amina).await.unwrap();
    assert_eq!(library.courses[0].units.len(), 1, "a tombstone removed the unit");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM assets WHERE title = 'Salt'")
        .fetch_one(device.engine.read_only_pool())
        .await
        .unwrap();
    assert_eq!(left, 0, "and its assets");
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_an_enrolment_takes_the_course_and_leaves_the_work() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let profile = device.signed_in(&world, "amina").await;
    let amina = profile.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();

    let now = carrel_service::clock::system_clock()();
    carrel_service::store::Store::unenrol(world.service.store.as_ref(), profile.learner_id, "rivers", now)
        .await
        .unwrap();
    world.relay.come_back().await.unwrap();
    device.everything_is_sent(amina).await;
    assert_eq!(world.count("SELECT count(*) FROM op_log WHERE outcome = 'applied'").await, 1, "the work counts");
    eventually("the course goes", async || device.engine.catalogue().library(amina).await.unwrap().courses.is_empty())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_incarnation_of_the_service_is_pulled_anew_and_the_outbox_is_untouched() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    let place = RecordPosition { lesson_id: page, position: 500, percent: 50 };
    device.engine.learning().record_position(amina, place).await.unwrap();
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    // What the device holds by cursors of an epoch the service no longer knows.
    let cursors = "SELECT units_generation + records_generation FROM sync_state";
    let before: i64 = sqlx::query_scalar(cursors).fetch_one(device.engine.read_only_pool()).await.unwrap();
    let world = world.restarted_as_another_incarnation().await;

    device.everything_is_sent(amina).await;
    eventually("both were pulled anew", async || {
        sqlx::query_scalar::<_, i64>(cursors).fetch_one(device.engine.read_only_pool()).await.unwrap() == before + 2
    })
    .await;
    device.everything_is_sent(amina).await;
    let seen = device.lesson(amina, LessonKind::Page).await.progress;
    assert_eq!((seen.status, seen.position), (ProgressStatus::Completed, 500), "nothing was lost by it");
    assert_eq!(world.count("SELECT count(*) FROM op_log").await, 2, "and nothing doubled");
}
