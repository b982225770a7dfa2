//! The limit on what the store takes, with real files and real sockets.

use carrel_model::{
    content::{AssetKind, Quality},
    download::{DownloadState, WaitReason},
};

use super::view::SetQuota;
use crate::{
    EngineError,
    downloads::fixture::{Device, MIB, School, bytes, files, id},
};

fn set(bytes: u64) -> SetQuota {
    SetQuota { bytes: Some(bytes) }
}

#[tokio::test]
async fn a_download_beyond_the_limit_is_refused_early_with_the_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    let (unit, ..) = school.one_video(1, bytes(1, 2 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let usage = device.storage.set_quota(id(1), set(MIB as u64)).await.unwrap();
    assert_eq!((usage.quota_bytes, usage.available_bytes), (Some(MIB as u64), MIB as u64));
    let refused = device.start(1, unit).await.unwrap_err();
    let EngineError::StorageFull { needed, available } = refused else { panic!("{refused}") };
    assert_eq!((needed, available), (2 * MIB as u64, MIB as u64));
    device.storage.set_quota(id(2), SetQuota { bytes: None }).await.unwrap();
    let started = device.start(1, unit).await.unwrap();
    device.until_complete(1, started.id).await;
    // It lasts, and holds for everybody on this device.
    device.storage.set_quota(id(1), set(3 * MIB as u64)).await.unwrap();
    device.kill().await;
    let device = Device::open(folder.path(), &school).await;
    let usage = device.storage.usage(id(2)).await.unwrap();
    assert_eq!((usage.quota_bytes, usage.available_bytes), (Some(3 * MIB as u64), MIB as u64));
}

#[tokio::test]
async fn a_limit_lowered_while_downloads_run_lets_the_rest_wait_and_raised_lets_it_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let school = School::new();
    school.settings.lock().unwrap().concurrency = 1;
    let mut assets = Vec::new();
    let mut origins = Vec::new();
    for n in 0..6_u32 {
        let (hash, origin) = school.serve(bytes(n as u8, 5 * MIB)).await;
        if n > 0 {
            origin.throttle(256 << 10);
        }
        assets.push(school.asset(100 + n, AssetKind::Video, Some(id(200 + n)), &[(Quality::Medium, hash)]));
        origins.push(origin);
    }
    let unit = school.publish(1, None, assets);
    let device = Device::open(folder.path(), &school).await;
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.bytes_done >= 5 * MIB as u64).await;
    // The second is under way: its room is taken already. Nothing more fits.
    device.storage.set_quota(id(1), set(10 * MIB as u64)).await.unwrap();
    for origin in &origins {
        origin.throttle(u64::MAX);
    }
    let waiting = device.until(1, started.id, |view| view.wait_reason == Some(WaitReason::Space)).await;
    assert_eq!(waiting.state, DownloadState::Pending);
    let used: u64 = files(folder.path()).into_values().sum();
    assert!(used <= 10 * MIB as u64, "{used}: the limit holds");
    assert!(waiting.bytes_done >= 5 * MIB as u64, "and nothing that is here is given up");
    assert_eq!(device.storage.usage(id(1)).await.unwrap().available_bytes, 0);

    device.storage.set_quota(id(1), set(100 * MIB as u64)).await.unwrap();
    device.until_complete(1, started.id).await;
    assert_eq!(files(folder.path()).into_values().sum::<u64>(), 30 * MIB as u64);
}
