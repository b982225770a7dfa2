//! The outbox over a real database, with a clock that the test turns.

use std::sync::atomic::{AtomicI64, Ordering};

use carrel_model::{
    LessonId, SessionId,
    op::RejectCode,
    progress::{LessonCompleted, PositionReached},
    quiz::Response,
    session::AnswerRecorded,
    trusted_time::Reading,
    wire::sync::{PushOutcome, PushResult},
};

use super::{view::OutboxState, *};

#[derive(Debug, Default)]
struct Turned(AtomicI64);

impl Clock for Turned {
    fn read(&self) -> Reading {
        Reading { wall: TimeMs::from_ms(self.0.load(Ordering::SeqCst)), monotonic_ms: 0 }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

struct Desk {
    outbox: Outbox,
    clock: Arc<Turned>,
    profile: ProfileId,
    _folder: tempfile::TempDir,
}

fn id<T: std::str::FromStr>(n: u64) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("01900000-0000-7000-8000-{n:012x}").parse().unwrap()
}

impl Desk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Turned::default());
        let (library, _) = Library::open(folder.path(), clock.as_ref()).await.unwrap();
        let profile: ProfileId = id(1);
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
        let outbox = Outbox::new(library, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { outbox, clock, profile, _folder: folder }
    }

    async fn write(&self, at: i64, op: &Op) -> Stamp {
        self.clock.0.store(at, Ordering::SeqCst);
        let mut tx = self.outbox.library.write().await.unwrap();
        let stamp = self.outbox.enqueue(&mut tx, self.profile, op).await.unwrap();
        tx.commit().await.unwrap();
        stamp
    }

    async fn seqs(&self, limit: usize, now: i64) -> Vec<u64> {
        let batch = self.batch(limit, now).await;
        batch.map(|batch| batch.ops.iter().map(|op| op.seq).collect()).unwrap_or_default()
    }

    async fn batch(&self, limit: usize, now: i64) -> Option<Batch> {
        self.outbox.take_batch(self.profile, limit, TimeMs::from_ms(now)).await.unwrap()
    }

    async fn settle(&self, batch: &Batch, outcome: PushOutcome, now: i64) {
        let results = batch.ops.iter().map(|op| PushResult { seq: op.seq, outcome: outcome.clone() }).collect();
        self.outbox.settle(batch, Verdicts::Each(results), TimeMs::from_ms(now)).await.unwrap();
    }

    async fn takes_the_id(&self, new: u64) {
        let mut tx = self.outbox.library.write().await.unwrap();
        rekey(&mut tx, self.profile, id(new)).await.unwrap();
        sqlx::query("UPDATE profiles SET device_id = ?1")
            .bind(id::<DeviceId>(new).to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn count(&self) -> (u32, u32) {
        let count = self.outbox.count(self.profile).await.unwrap();
        (count.waiting, count.refused)
    }
}

fn place(lesson: u64, position: u64, percent: u8) -> Op {
    Op::Position(id::<LessonId>(lesson), PositionReached { attempt: 1, position, percent })
}

fn done(lesson: u64) -> Op {
    Op::Completed(id::<LessonId>(lesson), LessonCompleted { attempt: 1 })
}

fn said(session: u64, text: &str) -> Op {
    let response = Response::ShortText { text: text.to_owned() };
    Op::Answer(id::<SessionId>(session), AnswerRecorded { lesson_id: id(9), question_id: "q".to_owned(), response })
}

#[tokio::test]
async fn stamps_never_run_backwards_when_the_clock_does() {
    let desk = Desk::new().await;
    let mut stamps = Vec::new();
    for (at, lesson) in [(5_000, 1), (1_000, 2), (4_999, 3), (6_000, 4)] {
        stamps.push(desk.write(at, &done(lesson)).await);
    }
    let times: Vec<i64> = stamps.iter().map(|stamp| stamp.at.as_ms()).collect();
    assert_eq!(times, [5_000, 5_000, 5_000, 6_000]);
    assert!(stamps.is_sorted(), "and their order is the order of writing");
}

#[tokio::test]
async fn places_coalesce_until_they_were_sent_once_and_never_after() {
    let desk = Desk::new().await;
    desk.write(1, &place(1, 100, 80)).await;
    desk.write(2, &place(2, 5, 5)).await;
    let replaced = desk.write(3, &place(1, 40, 10)).await;
    assert_eq!(replaced.seq, 1, "the same entry");
    let batch = desk.batch(500, 10).await.unwrap();
    assert_eq!(
        batch.ops[0].payload,
        json!({ "attempt": 1, "position": 40, "percent": 80 }),
        "last place, highest percentage"
    );
    assert_eq!((batch.ops.len(), batch.ops[0].at.as_ms()), (2, 3));

    // The request is lost; what was in it may be at the service.
    desk.outbox.settle(&batch, Verdicts::None, TimeMs::from_ms(10)).await.unwrap();
    let later = desk.write(11, &place(1, 60, 20)).await;
    assert_eq!(later.seq, 3, "a new entry");
    let again = desk.batch(2, 12).await.unwrap();
    assert_eq!(again.ops, batch.ops, "what was sent is sent again unchanged");
}

#[tokio::test]
async fn an_op_that_waits_holds_back_only_its_own_entity() {
    let desk = Desk::new().await;
    for (session, text) in [(1, "a"), (2, "b"), (1, "c"), (2, "d")] {
        desk.write(1, &said(session, text)).await;
    }
    let first = desk.batch(1, 1).await.unwrap();
    desk.settle(&first, PushOutcome::Retry { after_ms: 1_000 }, 1).await;
    assert_eq!(desk.seqs(500, 2).await, [2, 4], "the other session goes ahead");
    assert_eq!(desk.outbox.next_due(desk.profile).await.unwrap(), Some(TimeMs::from_ms(1_001)));
    assert_eq!(desk.seqs(500, 1_001).await, [1, 2, 3, 4], "in order, once its time has come");
}

#[tokio::test]
async fn only_definite_answers_make_dead_letters() {
    let desk = Desk::new().await;
    desk.write(1, &done(1)).await;
    let mut now = 1;
    for _ in 0..100 {
        let batch = desk.batch(500, now).await.unwrap();
        desk.outbox.settle(&batch, Verdicts::None, TimeMs::from_ms(now)).await.unwrap();
        now += 1;
    }
    assert_eq!(desk.count().await, (1, 0), "a hundred lost answers count for nothing");
    for round in 1..=8 {
        assert_eq!(desk.count().await, (1, 0), "round {round}");
        let batch = desk.batch(500, now).await.unwrap();
        desk.settle(&batch, PushOutcome::Retry { after_ms: 10 }, now).await;
        now += 10;
    }
    assert_eq!(desk.count().await, (0, 1), "eight times \"not now\" is enough");
    assert_eq!(desk.seqs(500, now).await, [] as [u64; 0], "it is not sent any more");
}

#[tokio::test]
async fn a_refused_one_stays_with_its_reason_until_it_is_retried_or_discarded() {
    let desk = Desk::new().await;
    desk.write(1, &done(1)).await;
    let batch = desk.batch(500, 1).await.unwrap();
    let refusal = PushOutcome::Rejected { code: RejectCode::NotEnrolled, detail: "at the time".to_owned() };
    desk.settle(&batch, refusal, 1).await;
    let entry = desk.outbox.list(desk.profile).await.unwrap().entries.remove(0);
    assert_eq!((entry.state, entry.rejected), (OutboxState::Refused, Some(RejectCode::NotEnrolled)));

    let request = OutboxRequest { seq: 1 };
    desk.outbox.retry(desk.profile, request.clone()).await.unwrap();
    assert_eq!(desk.count().await, (1, 0));
    let waiting = desk.outbox.discard(desk.profile, request).await;
    assert!(waiting.is_err(), "what waits can't be thrown away by mistake");
}

#[tokio::test]
async fn what_the_service_has_is_laid_over_until_it_was_pulled() {
    let desk = Desk::new().await;
    desk.write(1, &done(1)).await;
    let batch = desk.batch(500, 1).await.unwrap();
    desk.settle(&batch, PushOutcome::Applied, 1).await;
    assert_eq!(desk.count().await, (0, 0), "it no longer waits");
    let readers = desk.outbox.library.readers();
    let laid_over = overlay(&mut readers.acquire().await.unwrap(), desk.profile, None).await.unwrap();
    assert_eq!((laid_over.progress.len(), laid_over.unsent.len()), (1, 0), "but it is still shown");
    let mut tx = desk.outbox.library.write().await.unwrap();
    forget_acked(&mut tx, desk.profile).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        overlay(&mut readers.acquire().await.unwrap(), desk.profile, None).await.unwrap().progress.len(),
        0,
        "until its row has come"
    );
}

#[tokio::test]
async fn a_batch_keeps_within_the_bytes_the_service_takes() {
    let desk = Desk::new().await;
    let long = "é".repeat(8_000);
    for _ in 0..60 {
        desk.write(1, &said(1, &long)).await;
    }
    let batch = desk.batch(500, 1).await.unwrap();
    let bytes = serde_json::to_vec(&batch.ops).unwrap().len();
    assert!(bytes <= carrel_model::op::MAX_BATCH_BYTES, "{bytes}");
    assert!((20..60).contains(&batch.ops.len()), "{} ops", batch.ops.len());
}

#[tokio::test]
async fn a_date_that_was_far_off_once_is_forgotten_when_its_writes_are_sent() {
    const TEN_YEARS: i64 = 10 * 365 * 86_400_000;
    let desk = Desk::new().await;
    let op = |n| Op::Completed(id::<LessonId>(n), LessonCompleted { attempt: 1 });
    assert_eq!(desk.write(TEN_YEARS, &op(1)).await.at.as_ms(), TEN_YEARS);
    assert_eq!(desk.write(5_000, &op(2)).await.at.as_ms(), TEN_YEARS, "while it waits, nothing is older than it");
    let batch = desk.batch(10, 5_000).await.unwrap();
    desk.settle(&batch, PushOutcome::Applied, 5_000).await;
    assert_eq!(desk.write(6_000, &op(3)).await.at.as_ms(), 6_000, "the right date counts again");
    let batch = desk.batch(10, 6_000).await.unwrap();
    desk.settle(&batch, PushOutcome::Applied, 6_000).await;
    assert_eq!(
        desk.write(5_900, &op(4)).await.at.as_ms(),
        6_000,
        "a clock that is put right by a moment turns nothing round"
    );
}

#[tokio::test]
async fn a_cloned_device_takes_only_what_is_in_conflict_along_under_its_new_id() {
    let desk = Desk::new().await;
    for lesson in 1..=4 {
        desk.write(1_000, &done(lesson)).await;
    }
    let batch = desk.batch(3, 1_000).await.unwrap();
    let verdict = Verdicts::Regressed { known: vec![1], conflicting: vec![2] };
    desk.outbox.settle(&batch, verdict, TimeMs::from_ms(2_000)).await.unwrap();
    let unjudged = desk.batch(10, 2_000).await.unwrap();
    assert_eq!(unjudged.device_id, id(1));
    assert_eq!(unjudged.ops.iter().map(|op| op.seq).collect::<Vec<_>>(), [3, 4], "what was not judged goes as it is");
    assert_eq!(unjudged.ops[0], batch.ops[2], "a twin may have sent the very same");
    assert!(desk.outbox.has_regressed(desk.profile).await.unwrap());
    desk.takes_the_id(77).await;
    assert!(!desk.outbox.has_regressed(desk.profile).await.unwrap());
    let batch = desk.batch(10, 2_000).await.unwrap();
    assert_eq!((batch.device_id, batch.ops[0].seq, batch.ops.len()), (id(77), 2, 1), "only the one in conflict");
    desk.settle(&batch, PushOutcome::Applied, 2_000).await;
    let batch = desk.batch(10, 2_000).await.unwrap();
    assert_eq!((batch.device_id, batch.ops.len()), (id(1), 2), "the others keep their key for as long as it takes");

    let verdict = Verdicts::Regressed { known: vec![], conflicting: vec![3] };
    desk.outbox.settle(&batch, verdict, TimeMs::from_ms(2_000)).await.unwrap();
    assert!(!desk.outbox.has_regressed(desk.profile).await.unwrap(), "there is a new id already");
    let batch = desk.batch(10, 2_000).await.unwrap();
    assert_eq!((batch.device_id, batch.ops[0].seq, batch.ops.len()), (id(77), 3, 1));
}

#[tokio::test]
async fn what_was_written_under_a_former_id_is_told_again_under_that_id() {
    let desk = Desk::new().await;
    desk.write(1_000, &done(1)).await;
    let batch = desk.batch(10, 1_000).await.unwrap();
    desk.settle(&batch, PushOutcome::Applied, 1_000).await;
    let mut tx = desk.outbox.library.write().await.unwrap();
    forget_acked(&mut tx, desk.profile).await.unwrap();
    tx.commit().await.unwrap();
    desk.takes_the_id(77).await;
    let mut tx = desk.outbox.library.write().await.unwrap();
    send_again(&mut tx, desk.profile).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(desk.batch(10, 2_000).await.unwrap(), batch);
}

#[tokio::test]
async fn a_service_that_was_put_back_is_told_everything_again_under_the_same_keys() {
    let desk = Desk::new().await;
    desk.write(1_000, &done(1)).await;
    desk.write(1_000, &done(2)).await;
    let batch = desk.batch(1, 1_000).await.unwrap();
    desk.settle(&batch, PushOutcome::Applied, 1_000).await;
    let mut tx = desk.outbox.library.write().await.unwrap();
    forget_acked(&mut tx, desk.profile).await.unwrap();
    tx.commit().await.unwrap();
    let batch = desk.batch(10, 1_000).await.unwrap();
    desk.settle(&batch, PushOutcome::Applied, 1_000).await;
    assert_eq!(desk.count().await, (0, 0), "one is forgotten, one is acknowledged");
    let mut tx = desk.outbox.library.write().await.unwrap();
    send_again(&mut tx, desk.profile).await.unwrap();
    send_again(&mut tx, desk.profile).await.unwrap();
    tx.commit().await.unwrap();
    let again = desk.batch(10, 2_000).await.unwrap();
    assert_eq!(again.ops.iter().map(|op| op.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(again.ops[1], batch.ops[0], "the same key and the same content");
}

#[tokio::test]
async fn a_long_list_shows_its_beginning_and_all_that_was_refused() {
    let desk = Desk::new().await;
    for n in 0..250 {
        desk.write(1, &Op::Completed(id(n), LessonCompleted { attempt: 1 })).await;
    }
    let mut tx = desk.outbox.library.write().await.unwrap();
    sqlx::query("UPDATE outbox SET state = 'refused' WHERE seq IN (249, 250)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let listed = desk.outbox.list(desk.profile).await.unwrap().entries;
    let seqs: Vec<u64> = listed.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=198).chain([249, 250]).collect::<Vec<_>>());
    assert_eq!(
        desk.outbox.export(desk.profile).await.unwrap().content.matches("\"seq\"").count(),
        250,
        "a file has all"
    );
}
