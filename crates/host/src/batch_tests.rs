use std::time::Duration;

use carrel_engine::model::{
    DownloadId, LessonId, ProfileId, TimeMs, UnitId, content::Quality, download::DownloadState,
};
use carrel_engine::{
    EngineEvent,
    downloads::view::{DownloadView, OwnConditions},
    sync::view::{NetworkState, SyncView},
};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use crate::batch::{Batch, batches};

const AT: TimeMs = TimeMs::from_ms(1);

fn amina() -> ProfileId {
    ProfileId::from_parts(AT, [1; 10])
}

fn id(n: u16) -> DownloadId {
    let [a, b] = n.to_be_bytes();
    DownloadId::from_parts(AT, [a, b, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn lesson(n: u8) -> LessonId {
    LessonId::from_parts(AT, [n; 10])
}

fn download(n: u16, bytes_done: u64) -> DownloadView {
    DownloadView {
        id: id(n),
        unit_id: UnitId::from_parts(AT, [2; 10]),
        lesson_id: None,
        title: "Rivers".to_owned(),
        cover_asset_id: None,
        accent: "#1f5f5b".to_owned(),
        quality: Quality::Medium,
        state: DownloadState::Downloading,
        wait_reason: None,
        error: None,
        bytes_done,
        bytes_total: 100,
        bytes_per_second: 1,
        seconds_left: None,
        priority: 5,
        position: 0,
        created_at: AT,
        completed_at: None,
        expires_at: None,
        own: OwnConditions::default(),
    }
}

fn changed(n: u16, bytes_done: u64) -> EngineEvent {
    EngineEvent::Downloads { profile_id: amina(), changed: vec![download(n, bytes_done)], removed: vec![] }
}

fn removed(n: u16) -> EngineEvent {
    EngineEvent::Downloads { profile_id: amina(), changed: vec![], removed: vec![id(n)] }
}

fn ended(n: u16) -> EngineEvent {
    EngineEvent::DownloadEnded { profile_id: amina(), download: download(n, 100) }
}

fn sync(waiting: u32) -> EngineEvent {
    let sync = SyncView {
        network: NetworkState::Online,
        network_since: None,
        waiting,
        refused: 0,
        syncing: false,
        last_success_at: None,
        last_error: None,
        next_attempt_at: None,
        clock_off_by_ms: None,
    };
    EngineEvent::Sync { profile_id: Some(amina()), sync }
}

fn merged(events: impl IntoIterator<Item = EngineEvent>) -> Vec<EngineEvent> {
    let mut batch = Batch::default();
    events.into_iter().for_each(|event| batch.add(event));
    batch.into_events()
}

#[test]
fn of_each_thing_only_its_last_state_is_sent() {
    assert_eq!(
        merged([changed(1, 10), sync(3), changed(2, 5), changed(1, 20), sync(1)]),
        [
            EngineEvent::Downloads {
                profile_id: amina(),
                changed: vec![download(1, 20), download(2, 5)],
                removed: vec![]
            },
            sync(1),
        ]
    );
}

#[test]
fn what_is_gone_is_not_also_changed() {
    assert_eq!(merged([changed(1, 10), removed(1)]), [removed(1)]);
    assert_eq!(merged([removed(1), changed(1, 10)]), [changed(1, 10)], "and what came back is not gone");
}

#[test]
fn endings_are_all_told() {
    assert_eq!(merged([ended(1), ended(2), EngineEvent::Resync]), [ended(1), ended(2), EngineEvent::Resync]);
    assert_eq!(merged([EngineEvent::Resync, changed(1, 1), ended(3)]), [EngineEvent::Resync, ended(3)]);
}

#[test]
fn lessons_add_up_and_none_named_means_any() {
    let learning = |ids: &[u8]| EngineEvent::Learning {
        profile_id: amina(),
        lesson_ids: ids.iter().copied().map(lesson).collect(),
    };
    assert_eq!(merged([learning(&[1]), learning(&[2, 1])]), [learning(&[1, 2])]);
    assert_eq!(merged([learning(&[1]), learning(&[])]), [learning(&[])]);
}

#[test]
fn too_much_becomes_read_everything_anew() {
    let many = (0..2_000).map(|n| changed(n, 1));
    assert_eq!(merged(many), [EngineEvent::Resync]);
    let endings = merged((0..2_000).map(ended));
    assert!(endings.len() <= 501, "endings are bounded too: {}", endings.len());
}

#[tokio::test(start_paused = true)]
async fn sends_at_once_and_then_at_most_five_times_a_second() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut messages = batches(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver));
    let start = Instant::now();
    tokio::spawn(async move {
        // A report every 10 ms for two seconds.
        for n in 0..200 {
            if sender.send(changed(1, n)).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let first = messages.next().await.unwrap();
    assert_eq!(first, [changed(1, 0)]);
    assert!(start.elapsed() < Duration::from_millis(10), "the first change is seen at once");
    let mut sent = vec![Instant::now()];
    let mut last = first;
    while let Some(batch) = messages.next().await {
        sent.push(Instant::now());
        last = batch;
    }
    assert_eq!(last, [changed(1, 199)], "the last state arrives");
    for pair in sent[..sent.len() - 1].windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(200), "no more than five a second");
    }
    assert!((10..=12).contains(&sent.len()), "{} messages in two seconds", sent.len());
}
