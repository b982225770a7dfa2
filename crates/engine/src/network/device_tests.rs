use std::time::Duration;

use super::*;
use crate::{
    network::tests::Noon,
    ports::{Observed, UnknownLink},
};

fn at(service: &str) -> Network {
    let network = Network::new(&UnknownLink::default(), Arc::new(Noon));
    network.watch_service(Some(service.parse().unwrap()));
    network
}

async fn until(device: &Device, wish: impl Fn(&DeviceView) -> bool) {
    let mut views = device.watch();
    let waited = tokio::time::timeout(Duration::from_secs(10), views.wait_for(|view| wish(view))).await;
    assert!(waited.is_ok(), "still {:?}", device.state());
}

#[test]
fn metered_is_not_wifi_and_unknown_is_asked_about() {
    let away: Url = "https://school.example/".parse().unwrap();
    let cases = [
        (Link::Unmetered, false, true, false, "nothing to ask"),
        (Link::Metered, false, false, false, "it costs"),
        (Link::Metered, true, false, false, "what the platform knows is not the learner's to say"),
        (Link::Unknown, false, false, true, "the learner is asked"),
        (Link::Unknown, true, true, false, "and has answered"),
    ];
    for (link, confirmed, wifi, asks, why) in cases {
        let view = view(link, Power::Unknown, confirmed, Some(&away));
        assert_eq!((view.counts_as_wifi(), view.asks), (wifi, asks), "{why}");
    }
    for here in ["http://127.0.0.9:80/", "http://localhost/", "http://[::1]/", "https://a.Localhost./"] {
        let view = |link| view(link, Power::Unknown, false, Some(&here.parse().unwrap()));
        assert!(view(Link::Unknown).counts_as_wifi(), "{here} is reached over no network");
        assert!(!view(Link::Metered).counts_as_wifi(), "what the platform says holds");
    }
    assert!(
        !view(Link::Unknown, Power::Unknown, false, Some(&"http://localhost.example/".parse().unwrap()))
            .counts_as_wifi()
    );
}

#[tokio::test]
async fn the_learners_word_holds_until_the_link_changes() {
    let (link, power) = (Observed::new(Link::Unknown), Observed::new(Power::Unknown));
    let background = Background::default();
    let device = Device::new(&link, &power, at("https://school.example/"), EventBus::default(), &background);
    until(&device, |view| view.asks).await;
    assert!(device.confirm_network().counts_as_wifi());
    power.say(Power::Battery);
    link.say(Link::Unknown);
    until(&device, |view| !view.counts_as_charging()).await;
    assert!(device.state().confirmed, "told again, it is the same network");
    link.say(Link::Down);
    until(&device, |view| view.link == Link::Down).await;
    link.say(Link::Unknown);
    until(&device, |view| view.asks).await;
    link.say(Link::Metered);
    until(&device, |view| view.link == Link::Metered).await;
    assert!(!device.confirm_network().counts_as_wifi(), "where the platform says that it costs, it costs");
    background.stop().await;
}

#[tokio::test]
async fn what_changes_is_told() {
    use futures_util::StreamExt as _;
    let (link, power) = (Observed::new(Link::Unmetered), Observed::new(Power::Charging));
    let (events, background) = (EventBus::default(), Background::default());
    let mut told = events.subscribe();
    let device = Device::new(&link, &power, at("https://school.example/"), events, &background);
    power.say(Power::Battery);
    let event = tokio::time::timeout(Duration::from_secs(10), told.next()).await.unwrap().unwrap();
    assert_eq!(event, EngineEvent::Device { device: device.state() });
    assert_eq!(device.state().power, Power::Battery);
    background.stop().await;
}
