//! What differs heals by itself: rows that are not the service's, and a service that was put back to a backup.

use carrel_engine::learning::view::{CompleteLesson, RecordPosition, StartQuiz};
use carrel_model::{content::LessonKind, progress::ProgressStatus};

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_differ_from_the_services_are_pulled_anew() {
    let world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    device.engine.learning().complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    device.everything_is_sent(amina).await;
    eventually("it was pulled", async || {
        let rows = "SELECT count(*) FROM progress";
        sqlx::query_scalar::<_, i64>(rows).fetch_one(device.engine.read_only_pool()).await.unwrap() == 1
    })
    .await;

    device.meddle("DELETE FROM progress").await;
    let seen = device.lesson(amina, LessonKind::Page).await.progress.status;
    assert_eq!(seen, ProgressStatus::NotStarted, "the row is gone, and nothing waits that could show it");
    device.engine.sync().now(amina).await.unwrap();
    eventually("the row is back", async || {
        device.lesson(amina, LessonKind::Page).await.progress.status == ProgressStatus::Completed
    })
    .await;
    assert_eq!(world.count("SELECT count(*) FROM op_log").await, 1, "and nothing counts twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_put_back_to_a_backup_gets_back_what_came_since() {
    let mut world = World::new().await;
    let device = world.device("tablet").await;
    let amina = device.signed_in(&world, "amina").await.id;
    let page = device.lesson(amina, LessonKind::Page).await.id;
    let quiz = device.lesson(amina, LessonKind::Quiz).await.id;
    let learning = device.engine.learning();
    learning.record_position(amina, RecordPosition { lesson_id: page, position: 500, percent: 50 }).await.unwrap();
    device.everything_is_sent(amina).await;
    world.backup().await;
    learning.complete(amina, CompleteLesson { lesson_id: page }).await.unwrap();
    learning.start_quiz(amina, StartQuiz { lesson_id: quiz, again: false }).await.unwrap();
    device.everything_is_sent(amina).await;
    world.relay.go_down().await;
    let world = world.restored_from_the_backup().await;
    assert_eq!(world.count("SELECT count(*) FROM op_log").await, 1, "what came after the backup is gone");

    device.engine.sync().now(amina).await.unwrap();
    eventually("everything is there again", async || {
        world.count("SELECT count(*) FROM op_log").await == 3
            && world.count("SELECT count(*) FROM sessions").await == 1
            && world.count("SELECT count(*) FROM progress WHERE status = 'completed'").await == 1
    })
    .await;
    device.everything_is_sent(amina).await;
    assert_eq!(device.lesson(amina, LessonKind::Page).await.progress.status, ProgressStatus::Completed);
}
