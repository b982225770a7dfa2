//! The observer on a bus of its own, with services that say what NetworkManager and UPower would.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that meets the unexpected has failed")]

use std::{path::Path, process::Stdio, time::Duration};

use carrel_engine::ports::{Link, NetworkObserver as _, Power, PowerObserver as _};
use carrel_platform::{Platform, linux};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use zbus::{Connection, connection, interface, object_server::InterfaceRef};

/// A private bus; it ends with this.
struct Bus {
    _daemon: Child,
    address: String,
}

impl Bus {
    async fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1", "--address=unix:tmpdir=/tmp"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("dbus-daemon: {error}; apt-get install dbus"));
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let address = lines.next_line().await.unwrap().unwrap();
        Self { _daemon: daemon, address }
    }

    async fn connect(&self) -> Connection {
        connection::Builder::address(self.address.as_str()).unwrap().build().await.unwrap()
    }
}

struct NetworkManager {
    state: u32,
    metered: u32,
    connectivity: u32,
}

#[interface(name = "org.freedesktop.NetworkManager")]
impl NetworkManager {
    #[zbus(property)]
    fn state(&self) -> u32 {
        self.state
    }

    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }

    #[zbus(property)]
    fn connectivity(&self) -> u32 {
        self.connectivity
    }

    #[zbus(property)]
    fn primary_connection_type(&self) -> String {
        "802-11-wireless".to_owned()
    }
}

struct UPower {
    on_battery: bool,
}

#[interface(name = "org.freedesktop.UPower")]
impl UPower {
    #[zbus(property)]
    fn on_battery(&self) -> bool {
        self.on_battery
    }
}

async fn serve<T: zbus::object_server::Interface>(
    bus: &Bus,
    name: &'static str,
    path: &'static str,
    object: T,
) -> (Connection, InterfaceRef<T>) {
    let connection = bus.connect().await;
    connection.object_server().at(path, object).await.unwrap();
    connection.request_name(name).await.unwrap();
    let served = connection.object_server().interface(path).await.unwrap();
    (connection, served)
}

async fn watched(bus: &Bus, interfaces: &Path) -> Platform {
    let (platform, connection, interfaces) = (Platform::default(), bus.connect().await, interfaces.to_owned());
    let watching = platform.clone();
    tokio::spawn(async move { linux::watch(&connection, &watching, interfaces).await });
    platform
}

async fn until_link(platform: &Platform, link: Link) {
    let mut said = platform.link.link();
    let waited = tokio::time::timeout(Duration::from_secs(20), said.wait_for(|now| *now == link)).await;
    assert!(waited.is_ok(), "still {:?} and not {link:?}", platform.link.now());
}

async fn until_power(platform: &Platform, power: Power) {
    let mut said = platform.power.power();
    let waited = tokio::time::timeout(Duration::from_secs(20), said.wait_for(|now| *now == power)).await;
    assert!(waited.is_ok(), "still {:?} and not {power:?}", platform.power.now());
}

#[tokio::test]
async fn what_network_manager_and_upower_say_is_followed_and_silence_is_unknown() {
    let (bus, none) = (Bus::start().await, tempfile::tempdir().unwrap());
    let platform = watched(&bus, none.path()).await;
    assert_eq!((platform.link.now(), platform.power.now()), (Link::Unknown, Power::Unknown), "nobody is there");

    let manager = NetworkManager { state: 70, metered: 4, connectivity: 4 };
    let path = "/org/freedesktop/NetworkManager";
    let (manager_bus, manager) = serve(&bus, "org.freedesktop.NetworkManager", path, manager).await;
    until_link(&platform, Link::Unmetered).await;
    let (_upower_bus, upower) =
        serve(&bus, "org.freedesktop.UPower", "/org/freedesktop/UPower", UPower { on_battery: true }).await;
    until_power(&platform, Power::Battery).await;

    manager.get_mut().await.metered = 1;
    manager.get().await.metered_changed(manager.signal_emitter()).await.unwrap();
    until_link(&platform, Link::Metered).await;
    manager.get_mut().await.state = 20;
    manager.get().await.state_changed(manager.signal_emitter()).await.unwrap();
    until_link(&platform, Link::Down).await;
    upower.get_mut().await.on_battery = false;
    upower.get().await.on_battery_changed(upower.signal_emitter()).await.unwrap();
    until_power(&platform, Power::Charging).await;

    manager_bus.close().await.unwrap();
    until_link(&platform, Link::Unknown).await;
}

#[tokio::test]
async fn a_portal_that_was_left_is_told_although_the_link_is_the_same() {
    let (bus, none) = (Bus::start().await, tempfile::tempdir().unwrap());
    let portal = NetworkManager { state: 70, metered: 2, connectivity: 2 };
    let path = "/org/freedesktop/NetworkManager";
    let (_manager_bus, manager) = serve(&bus, "org.freedesktop.NetworkManager", path, portal).await;
    let platform = watched(&bus, none.path()).await;
    until_link(&platform, Link::Unmetered).await;
    let mut said = platform.link.link();
    said.borrow_and_update();
    manager.get_mut().await.connectivity = 4;
    manager.get().await.connectivity_changed(manager.signal_emitter()).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), said.changed()).await;
    assert!(told.is_ok(), "so that the service is asked at once");
    assert_eq!(*said.borrow(), Link::Unmetered);
}

#[tokio::test]
async fn a_network_that_network_manager_does_not_look_after_is_not_called_down() {
    let (bus, kernel) = (Bus::start().await, tempfile::tempdir().unwrap());
    for (name, state) in [("lo", "unknown"), ("eth0", "up")] {
        std::fs::create_dir(kernel.path().join(name)).unwrap();
        std::fs::write(kernel.path().join(name).join("operstate"), format!("{state}\n")).unwrap();
    }
    let platform = watched(&bus, kernel.path()).await;
    let upower = UPower { on_battery: false };
    let (_upower_bus, _upower) = serve(&bus, "org.freedesktop.UPower", "/org/freedesktop/UPower", upower).await;
    let manager = NetworkManager { state: 20, metered: 0, connectivity: 1 };
    let path = "/org/freedesktop/NetworkManager";
    let (_manager_bus, manager) = serve(&bus, "org.freedesktop.NetworkManager", path, manager).await;
    until_power(&platform, Power::Charging).await;
    assert_eq!(platform.link.now(), Link::Unknown);
    std::fs::write(kernel.path().join("eth0/operstate"), "down\n").unwrap();
    manager.get().await.state_changed(manager.signal_emitter()).await.unwrap();
    until_link(&platform, Link::Down).await;
}
