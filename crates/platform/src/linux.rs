//! NetworkManager and UPower over D-Bus.
//!
//! Both tell of changes by signals; after each of them what matters is read anew, so that nothing depends on what exactly a
//! signal says. A machine without a system bus, or with a bus on which neither answers, is an ordinary machine: all is
//! unknown then.

mod said;

use std::{collections::HashMap, path::PathBuf, time::Duration};

use carrel_engine::ports::Power;
use futures_util::{StreamExt as _, stream::select_all};
use zbus::{
    Connection, MatchRule, MessageStream,
    fdo::{DBusProxy, PropertiesProxy},
    message::Type,
    names::InterfaceName,
    zvariant::OwnedValue,
};

use crate::Platform;
use said::NetworkSaid;

const NETWORK: (&str, &str) = ("org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager");
const UPOWER: (&str, &str) = ("org.freedesktop.UPower", "/org/freedesktop/UPower");
/// A service that doesn't answer in this time says nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a bus is looked for again.
const PAUSE: Duration = Duration::from_secs(60);

type Properties = HashMap<String, OwnedValue>;

pub(crate) fn watch_system(platform: &Platform) {
    let platform = platform.clone();
    tokio::spawn(async move {
        loop {
            let watched = match Connection::system().await {
                Ok(bus) => watch(&bus, &platform, PathBuf::from("/sys/class/net")).await,
                Err(error) => Err(error),
            };
            if let Err(error) = watched {
                tracing::debug!(%error, "no bus says what network and power are like");
            }
            let nothing = Platform::default();
            platform.say(nothing.link.now(), nothing.power.now());
            tokio::time::sleep(PAUSE).await;
        }
    });
}

/// Watches this bus until it goes away. `interfaces` is where the kernel lists network interfaces.
pub async fn watch(bus: &Connection, platform: &Platform, interfaces: PathBuf) -> zbus::Result<()> {
    let owners = MatchRule::builder()
        .msg_type(Type::Signal)
        .interface("org.freedesktop.DBus")?
        .member("NameOwnerChanged")?
        .arg0ns("org.freedesktop")?
        .build();
    let mut rules = vec![owners];
    for (name, path) in [NETWORK, UPOWER] {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(name)?
            .path(path)?
            .interface("org.freedesktop.DBus.Properties")?
            .member("PropertiesChanged")?
            .build();
        rules.push(rule);
    }
    let mut changes = Vec::new();
    for rule in rules {
        changes.push(MessageStream::for_match_rule(rule, bus, Some(32)).await?);
    }
    let mut changes = select_all(changes);
    let mut before = None;
    loop {
        let network = read(bus, NETWORK).await.map_or_else(NetworkSaid::default, |said| NetworkSaid::read(&said));
        let power = read(bus, UPOWER).await.map_or(Power::Unknown, |said| said::power(&said));
        let link = network.link(|| said::another_interface_is_up(&interfaces));
        platform.say(link, power);
        if before.is_some_and(|before| before != network) && platform.link.now() == link {
            // A portal was left, or another network has the same price: the engine asks the service.
            platform.link.say(link);
        }
        before = Some(network);
        match changes.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
            None => return Ok(()),
        }
    }
}

/// All properties of an object whose interface has the name of its service; none where nobody answers.
async fn read(bus: &Connection, (name, path): (&'static str, &'static str)) -> Option<Properties> {
    let reading = async {
        // UPower is started by being asked; a NetworkManager that isn't running is not meant to be.
        if name == NETWORK.0 && !DBusProxy::new(bus).await.ok()?.name_has_owner(name.try_into().ok()?).await.ok()? {
            return None;
        }
        let properties = PropertiesProxy::builder(bus).destination(name).ok()?.path(path).ok()?.build().await.ok()?;
        properties.get_all(InterfaceName::try_from(name).ok()?).await.ok()
    };
    tokio::time::timeout(PATIENCE, reading).await.ok().flatten()
}
