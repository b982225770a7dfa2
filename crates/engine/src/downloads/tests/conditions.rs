//! Wi-Fi, power and hours (D8, D9): a transfer stops where it is, says why, and goes on by itself. Proxy and rate limit hold
//! at once.

use std::{sync::Arc, time::Duration};

use carrel_testbed::http_origin::Origin;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::*;
use crate::{
    downloads::view::{DownloadView, OwnConditions, SetConditions},
    network::device::DeviceView,
    ports::{Link, Power},
    settings::{Hours, ProxyChoice, Settings},
};

const MINUTE_MS: i64 = 60_000;

/// A download that has begun and would take some seconds more.
async fn begun(school: &Arc<School>, folder: &std::path::Path) -> (Device, DownloadView, Arc<Origin>) {
    let (unit, _, origin) = school.one_video(5, bytes(1, 12 * MIB)).await;
    origin.throttle(2 * MIB as u64);
    let device = Device::open(folder, school).await;
    let started = device.start(1, unit).await.unwrap();
    let under_way = device.until(1, started.id, |view| view.bytes_done >= 2 * MIB as u64).await;
    (device, under_way, origin)
}

fn say(school: &School, change: impl FnOnce(&mut DeviceView)) {
    school.device.send_modify(change);
}

/// Waits, then says why it waits; nothing is running then.
async fn until_it_waits(device: &Device, view: &DownloadView) -> Option<WaitReason> {
    let waits = device.until(1, view.id, |view| view.wait_reason.is_some()).await;
    assert_eq!((waits.state, waits.bytes_per_second), (DownloadState::Pending, 0));
    assert!(waits.bytes_done >= view.bytes_done, "what was verified is kept");
    waits.wait_reason
}

async fn completes_with_nothing_verified_fetched_again(device: &Device, view: &DownloadView, origin: &Origin) {
    let before = origin.seen().len();
    let done = device.until(1, view.id, |view| view.wait_reason.is_none()).await.bytes_done;
    origin.throttle(400 * MIB as u64);
    device.until_complete(1, view.id).await;
    let from = origin.seen()[before.min(origin.seen().len())..]
        .iter()
        .filter_map(|seen| seen.range)
        .map(|(from, _)| from)
        .min();
    assert!(done >= view.bytes_done && from.is_none_or(|from| from >= view.bytes_done), "it went on at {from:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_stops_when_the_network_costs_and_goes_on_by_itself_over_wifi() {
    let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
    let (device, view, origin) = begun(&school, folder.path()).await;
    say(&school, |device| device.link = Link::Metered);
    assert_eq!(until_it_waits(&device, &view).await, Some(WaitReason::Wifi));
    say(&school, |device| (device.link, device.asks) = (Link::Unknown, true));
    device.downloads.wake();
    assert_eq!(until_it_waits(&device, &view).await, Some(WaitReason::Wifi), "nobody has said that it is fine");
    say(&school, |device| (device.asks, device.confirmed) = (false, true));
    completes_with_nothing_verified_fetched_again(&device, &view, &origin).await;
    device.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_stops_on_battery_and_goes_on_by_itself_on_mains() {
    let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
    school.settings.lock().unwrap().charging_only = true;
    let (device, view, origin) = begun(&school, folder.path()).await;
    say(&school, |device| device.power = Power::Battery);
    assert_eq!(until_it_waits(&device, &view).await, Some(WaitReason::Power));
    // A device that can't say is not held to what it can't know.
    say(&school, |device| device.power = Power::Unknown);
    completes_with_nothing_verified_fetched_again(&device, &view, &origin).await;
    device.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_stops_when_its_hours_end_and_the_queue_wakes_by_itself_when_they_begin() {
    let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
    let minute = |ahead_ms: i64| {
        let local = school.clock.now().plus_ms(ahead_ms).as_ms() + school.clock.utc_offset_ms(school.clock.now());
        u16::try_from(local.div_euclid(MINUTE_MS).rem_euclid(24 * 60)).unwrap()
    };
    school.settings.lock().unwrap().hours = Some(Hours { from_minute: minute(0), to_minute: minute(MINUTE_MS) });
    let (device, view, origin) = begun(&school, folder.path()).await;
    school.clock.advance(MINUTE_MS);
    device.downloads.wake();
    assert_eq!(until_it_waits(&device, &view).await, Some(WaitReason::Schedule));
    // Just before they begin again, told once; what follows is the queue's own doing.
    school.clock.advance((24 * 60 - 1) * MINUTE_MS - 300);
    device.downloads.wake();
    assert_eq!(until_it_waits(&device, &view).await, Some(WaitReason::Schedule));
    school.clock.advance(300);
    completes_with_nothing_verified_fetched_again(&device, &view, &origin).await;
    device.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn download_anyway_lets_one_run_and_is_forgotten_when_it_is_complete() {
    let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
    *school.settings.lock().unwrap() = Settings { charging_only: true, ..Settings::default() };
    say(&school, |device| (device.link, device.power) = (Link::Metered, Power::Battery));
    let (one, ..) = school.one_video(5, bytes(1, MIB)).await;
    let (other, ..) = school.one_video(6, bytes(2, MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let (one, other) = (device.start(1, one).await.unwrap(), device.start(1, other).await.unwrap());
    device.until(1, one.id, |view| view.wait_reason == Some(WaitReason::Wifi)).await;
    let set = async |own: OwnConditions| {
        device.downloads.set_conditions(id(1), SetConditions { download_id: one.id, own }).await.unwrap()
    };
    let mut own = OwnConditions { wifi_only: Some(false), ..OwnConditions::default() };
    assert_eq!(set(own).await.own, own);
    device.until(1, one.id, |view| view.wait_reason == Some(WaitReason::Power)).await;
    own.on_battery = true;
    set(own).await;
    let done = device.until_complete(1, one.id).await;
    assert_eq!(done.own, OwnConditions::default(), "a newer version of it waits for Wi-Fi again");
    assert_eq!(device.view(1, other.id).await.wait_reason, Some(WaitReason::Wifi), "the other one was not meant");
    let too_late = SetConditions { download_id: one.id, own };
    let refused = device.downloads.set_conditions(id(1), too_late).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::WrongState);
    device.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_holds_at_once_and_is_gone_at_once() {
    let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
    let (unit, ..) = school.one_video(5, bytes(1, 4 * MIB)).await;
    let device = Device::open(folder.path(), &school).await;
    let settings = device.settings(&school).await;
    let slow = Settings { rate_bytes_per_second: Some(16 << 10), ..Settings::default() };
    settings.set(id(1), slow.clone()).await.unwrap();
    let started = device.start(1, unit).await.unwrap();
    device.until(1, started.id, |view| view.state == DownloadState::Downloading).await;
    let complete = tokio::time::timeout(Duration::from_secs(2), device.until_complete(1, started.id)).await;
    assert!(complete.is_err(), "at that rate it takes four minutes");
    assert_eq!(settings.get(id(2)).await.unwrap().rate_bytes_per_second, slow.rate_bytes_per_second, "the device's");
    settings.set(id(1), Settings::default()).await.unwrap();
    device.until_complete(1, started.id).await;
    device.kill().await;
}

/// A proxy that forwards plain HTTP; how many requests came through it.
async fn proxy() -> (ProxyChoice, watch::Receiver<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (seen, count) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            seen.send_modify(|count| *count += 1);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap();
                let url: url::Url = target.parse().unwrap();
                let mut server = TcpStream::connect(url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
                server.write_all(head.replacen(target, url.path(), 1).as_bytes()).await.unwrap();
                copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    (ProxyChoice::Url { url }, count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_proxy_reaches_a_running_transfer() {
    let (folder, school) = (tempfile::tempdir().unwrap(), School::new());
    let (device, view, origin) = begun(&school, folder.path()).await;
    let settings = device.settings(&school).await;
    let (proxy, mut count) = proxy().await;
    settings.set(id(1), Settings { proxy: proxy.clone(), ..Settings::default() }).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), count.wait_for(|count| *count > 0)).await.unwrap().unwrap();
    origin.throttle(400 * MIB as u64);
    device.until_complete(1, view.id).await;
    assert_eq!(device.settings(&school).await.get(id(2)).await.unwrap().proxy, proxy, "kept, and the device's");
    let refused =
        settings.set(id(1), Settings { proxy: ProxyChoice::Url { url: "x".to_owned() }, ..Settings::default() });
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.details()["setting"], "proxy", "the word a front end chooses its sentence by");
    device.kill().await;
}
