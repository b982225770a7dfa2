//! What is shown while the service's word takes the place of what waited.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use carrel_model::{TimeMs, op::Op, progress::PositionReached, trusted_time::Reading};

use super::*;
use crate::{library::Library, outbox::Outbox, ports::Clock};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_falls_back_while_a_sent_place_becomes_the_services_word() {
    let folder = tempfile::tempdir().unwrap();
    let (library, _) = Library::open(folder.path(), &Noon).await.unwrap();
    let profile: ProfileId = "01900000-0000-7000-8000-000000000001".parse().unwrap();
    let lesson: LessonId = "01900000-0000-7000-8000-000000000002".parse().unwrap();
    let mut tx = library.write().await.unwrap();
    sqlx::query(
        "INSERT INTO profiles (id, learner_id, service_url, name, display_name, device_id, used_at, created_at)
         VALUES (?1, ?1, 'http://127.0.0.1', 'amina', 'Amina', ?1, 0, 0)",
    )
    .bind(profile.to_string())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let outbox = Outbox::new(library.clone(), Arc::new(Noon));

    let (kept, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let reading = {
        let (library, kept, over) = (library.clone(), Arc::clone(&kept), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let at_least = kept.load(Ordering::SeqCst);
                let one = of_lesson(library.readers(), profile, lesson).await.unwrap().position;
                assert!(one >= at_least, "{one} is shown, {at_least} was kept");
                let all = of_all(library.readers(), profile).await.unwrap();
                let one = all.get(&lesson).map_or(0, |view| view.position);
                assert!(one >= at_least, "{one} is shown in a list, {at_least} was kept");
            }
        })
    };
    for position in 1..=400 {
        let reached = PositionReached { attempt: 1, position, percent: 1 };
        let mut tx = library.write().await.unwrap();
        let stamp = outbox.enqueue(&mut tx, profile, &Op::Position(lesson, reached)).await.unwrap();
        tx.commit().await.unwrap();
        kept.store(position, Ordering::SeqCst);
        let word = Progress {
            lesson_id: lesson,
            attempt: 1,
            status: ProgressStatus::InProgress,
            percent: 1,
            completed_at: None,
            position: Some(Position { value: position, stamp }),
        };
        let mut tx = library.write().await.unwrap();
        put(&mut tx, profile, &word, 1).await.unwrap();
        sqlx::query("DELETE FROM outbox").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    reading.await.unwrap();
}
