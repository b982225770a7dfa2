use carrel_model::{
    content::{AssetKind, Quality},
    op::Op,
};

use super::{
    deletion,
    view::{ClearAll, DeleteUnit, UndoDelete},
};
use crate::{
    EngineError,
    downloads::fixture::{Device, MIB, School, bytes, files, id},
    playback::MediaContent,
};

/// Units 5 and 6 share a picture; learner 1 has both, learner 2 has 6.
async fn overlapping(folder: &std::path::Path, school: &std::sync::Arc<School>) -> Device {
    let (shared, _) = school.serve(bytes(9, 40_000)).await;
    for n in [5, 6] {
        let (own, _) = school.serve(bytes(u8::try_from(n).unwrap(), 2 * MIB + n as usize)).await;
        let assets = vec![
            school.asset(n * 10 + 1, AssetKind::Video, Some(id(n * 10 + 2)), &[(Quality::Medium, own)]),
            school.asset(n * 10 + 3, AssetKind::Image, Some(id(n * 10 + 2)), &[(Quality::Medium, shared)]),
        ];
        school.publish(n, None, assets);
    }
    let device = Device::open(folder, school).await;
    for (profile, unit) in [(1, 5), (1, 6), (2, 6)] {
        let started = device.start(profile, id(unit)).await.unwrap();
        device.until_complete(profile, started.id).await;
    }
    device
}

fn on_disk(folder: &std::path::Path) -> u64 {
    files(folder).into_values().sum()
}

#[tokio::test]
async fn the_numbers_are_the_files_and_a_deletion_frees_exactly_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let device = overlapping(folder.path(), &school).await;
    school.waiting.lock().unwrap().insert(id(5), 2);

    let usage = device.storage.usage(id(1)).await.unwrap();
    assert_eq!(usage.used_bytes, on_disk(folder.path()), "to the byte");
    assert_eq!(usage.by_kind.iter().map(|kind| kind.bytes).sum::<u64>(), usage.used_bytes, "also by kind");
    let unit = |n: u32| usage.units.iter().find(|unit| unit.unit_id == id(n)).unwrap();
    assert_eq!(unit(5).bytes, 2 * MIB as u64 + 5 + 40_000);
    assert_eq!(unit(5).frees_bytes, 2 * MIB as u64 + 5, "the picture is needed by the other unit");
    assert_eq!(unit(6).frees_bytes, 0, "the other learner has all of it too");

    let before = on_disk(folder.path());
    let deleted = device.storage.delete_unit(id(1), DeleteUnit { unit_id: id(5) }).await.unwrap();
    assert_eq!((deleted.frees_bytes, deleted.waiting), (2 * MIB as u64 + 5, 2), "what goes and what is kept is said");
    assert_eq!(on_disk(folder.path()), before, "nothing is gone while it can be undone");
    assert!(
        matches!(device.playback.content(id(1), id(51), None).await.unwrap(), MediaContent::Remote { .. }),
        "but it doesn't play from the disk any more"
    );
    school.clock.advance(10_000);
    deletion::release(&device.storage.parts, deletion::Due::At(deleted.undo_until)).await.unwrap();
    assert_eq!(on_disk(folder.path()), before - deleted.frees_bytes);
    let usage = device.storage.usage(id(1)).await.unwrap();
    assert_eq!((usage.used_bytes, usage.units.len()), (on_disk(folder.path()), 1));
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM downloads WHERE deleted_reason = 'learner_unit'")
        .fetch_one(device.library.readers())
        .await
        .unwrap();
    assert_eq!(kept, 1, "the record stays");
    let told = school.reported.lock().unwrap().clone();
    assert!(matches!(told.last(), Some(Op::Download(_, told)) if told.deleted && told.unit_id == id(5)), "{told:?}");
    let other = device.downloads.list(id(2)).await.unwrap();
    assert_eq!(other.downloads.len(), 1, "the other learner keeps theirs");
}

#[tokio::test]
async fn a_deletion_is_taken_back_within_ten_seconds_and_not_after() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let device = overlapping(folder.path(), &school).await;
    let all = device.storage.clear_all(id(1), ClearAll::default()).await.unwrap();
    assert_eq!((all.unit_ids.len(), all.frees_bytes), (2, 2 * MIB as u64 + 5));
    assert!(device.storage.usage(id(1)).await.unwrap().units.is_empty());
    school.clock.advance(9_000);
    let back = device.storage.undo_delete(id(1), UndoDelete { unit_ids: all.unit_ids.clone() }).await.unwrap();
    assert_eq!(back.units.len(), 2, "all is back, without a fetch");
    assert!(matches!(device.playback.content(id(1), id(51), None).await.unwrap(), MediaContent::File { .. }));

    device.storage.clear_all(id(1), ClearAll::default()).await.unwrap();
    school.clock.advance(10_001);
    let late = device.storage.undo_delete(id(1), UndoDelete { unit_ids: all.unit_ids }).await.unwrap();
    assert!(late.units.is_empty(), "too late");
    device.kill().await;
    let device = Device::open(folder.path(), &school).await;
    assert_eq!(on_disk(folder.path()), 2 * MIB as u64 + 6 + 40_000, "the next start lets the files go");
    let usage = device.storage.usage(id(2)).await.unwrap();
    assert_eq!(usage.used_bytes, on_disk(folder.path()), "and what is left is the other learner's");
    let nothing = device.storage.delete_unit(id(1), DeleteUnit { unit_id: id(5) }).await;
    assert!(matches!(nothing, Err(EngineError::NotFound(_))), "{nothing:?}");
}
