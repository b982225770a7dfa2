//! Content of a shape that this app no longer reads goes; what learners did with it stays (requirement C3).

use carrel_engine::learning::view::CompleteLesson;
use carrel_model::{ProfileId, content::LessonKind, progress::ProgressStatus};

use crate::world::{Device, World, eventually};

/// As content of a version before the oldest one would look.
const TOO_OLD: i64 = 0;

async fn number(device: &Device, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(device.engine.read_only_pool()).await.unwrap()
}

async fn units(device: &Device, profile: ProfileId) -> usize {
    device.engine.catalogue().library(profile).await.unwrap().courses.iter().map(|course| course.units.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_too_old_is_dropped_at_start_and_what_was_learnt_with_it_is_not() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    device.meddle(&format!("UPDATE units SET schema_version = {TOO_OLD}")).await;
    assert_eq!(number(&device, "SELECT count(*) FROM lessons").await, 2, "nothing happens while it runs");

    let device = device.killed_and_started().await;
    assert_eq!(number(&device, "SELECT count(*) FROM lessons").await, 0, "no lesson that can't be read");
    assert_eq!(number(&device, "SELECT count(*) FROM unit_assets").await, 0);
    assert_eq!(device.sync(amina).await.waiting, 1, "what was learnt waits on");
    assert_eq!(number(&device, "SELECT count(*) FROM events").await, 1);

    world.write(
        &world.course(),
        "01-land/01-carry.md",
        "+++\nkind = \"page\"\ntitle = \"Anew\"\n+++\nIn another shape.\n",
    );
    world.publish().await;
    world.relay.come_back().await.unwrap();
    device.everything_is_sent(amina).await;
    assert_eq!(world.count("SELECT count(*) FROM op_log WHERE outcome = 'applied'").await, 1, "it arrived");
    eventually("content of a new shape comes", async || units(&device, amina).await == 1).await;
    let lesson = device.lesson(amina, LessonKind::Page).await;
    assert_eq!((lesson.title.as_str(), lesson.progress.status), ("Anew", ProgressStatus::Completed));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_is_too_old_is_dropped_after_a_pull_and_what_was_learnt_with_it_is_not() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    device.everything_is_sent(amina).await;
    eventually("it was pulled", async || number(&device, "SELECT count(*) FROM progress").await == 1).await;
    world.write(&world.course(), "01-land/unit.toml", &format!("title = \"Land\"\nschema_version = {TOO_OLD}\n"));
    world.publish().await;

    device.engine.catalogue().refresh(amina).await.unwrap();
    assert_eq!(units(&device, amina).await, 0, "nothing is shown that can't be read");
    assert_eq!(number(&device, "SELECT count(*) FROM lessons").await, 0);
    assert_eq!(
        number(&device, "SELECT count(*) FROM progress WHERE status = 'completed'").await,
        1,
        "and nothing forgotten"
    );
    assert_eq!(number(&device, "SELECT count(*) FROM events").await, 1);
}
