use carrel_model::{ProfileId, content::AssetKind};

use super::*;
use crate::{
    downloads::fixture::{Device, School, bytes, id, manifest_of},
    ports::Clock as _,
};

/// An entry of a learner as if it was opened some days ago.
async fn opened(device: &Device, school: &School, n: u32, kind: AssetKind, days: i64, size: i64, lesson: bool) {
    let hash = manifest_of(&bytes((n % 251) as u8, 1 + n as usize)).hash();
    let mut tx = device.library.write().await.unwrap();
    sqlx::query("INSERT INTO blobs (hash, size, kind, mime) VALUES (?, ?, ?, '')")
        .bind(hash.to_string())
        .bind(size)
        .bind(kind.as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO cache_entries (profile_id, asset_id, quality, hash, mime, unit_id, lesson_id, used_at)
         VALUES (?, ?, 'medium', ?, '', '', ?, ?)",
    )
    .bind(id::<ProfileId>(1).to_string())
    .bind(format!("asset-{n:04}"))
    .bind(hash.to_string())
    .bind(if lesson { format!("lesson-{n}") } else { String::new() })
    .bind(school.clock.now().plus_ms(-days * DAY_MS).as_ms())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn left(device: &Device) -> Vec<String> {
    sqlx::query_scalar("SELECT asset_id FROM cache_entries ORDER BY asset_id")
        .fetch_all(device.library.readers())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_opened_is_kept_within_its_policy_and_covers_as_long_as_they_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let device = Device::open(folder.path(), &school).await;
    let now = school.clock.now();
    for n in 0..52 {
        opened(&device, &school, n, AssetKind::Video, i64::from(n % 20), 10, true).await;
    }
    opened(&device, &school, 100, AssetKind::Video, 31, 10, true).await;
    opened(&device, &school, 101, AssetKind::Document, 59, 10, true).await;
    opened(&device, &school, 102, AssetKind::Document, 61, 10, true).await;
    opened(&device, &school, 103, AssetKind::Image, 3_000, 10, false).await;
    assert_eq!(trim(&device.library, now).await.unwrap(), 4, "two films too many, one too old, and one page");
    let kept = left(&device).await;
    assert_eq!(kept.iter().filter(|name| name.as_str() < "asset-0100").count(), 50, "the limit of films");
    assert!(kept.contains(&"asset-0101".to_owned()), "59 days are not 60");
    assert!(!kept.contains(&"asset-0102".to_owned()));
    assert!(kept.contains(&"asset-0103".to_owned()), "nothing was pulled yet: a cover may still be listed");
    assert_eq!(trim(&device.library, now).await.unwrap(), 0, "once");

    // Pages are limited by their bytes as well: the newest that fit stay.
    for (n, days) in [(200, 0), (201, 1), (202, 2)] {
        opened(&device, &school, n, AssetKind::Document, days, 200 << 20, true).await;
    }
    assert_eq!(trim(&device.library, now).await.unwrap(), 2, "the third, and what is older still");
    let kept = left(&device).await;
    assert!(kept.contains(&"asset-0201".to_owned()) && !kept.contains(&"asset-0202".to_owned()), "{kept:?}");

    let mut tx = device.library.write().await.unwrap();
    sqlx::query("INSERT INTO sync_state (profile_id, units_fetched_at) VALUES (?, 1)")
        .bind(id::<ProfileId>(1).to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(trim(&device.library, now).await.unwrap(), 1, "now it is known that nothing shows the cover");
    assert!(!left(&device).await.contains(&"asset-0103".to_owned()));
}
