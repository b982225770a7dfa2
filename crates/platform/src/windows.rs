//! The cost of the connection and the power manager, as Windows tells them. Its events come on threads of its own.

use carrel_engine::ports::{Link, Power};
use windows::{
    Foundation::EventHandler,
    Networking::Connectivity::{
        ConnectionCost, ConnectionProfile, NetworkConnectivityLevel, NetworkCostType, NetworkInformation,
        NetworkStatusChangedEventHandler,
    },
    System::Power::{PowerManager, PowerSupplyStatus},
    core::Result,
};

use crate::Platform;

pub(crate) fn watch(platform: &Platform) {
    platform.say(link(), power());
    if let Err(error) = follow(platform) {
        tracing::warn!(%error, "Windows doesn't tell of changes of network and power");
    }
}

/// The handlers are never taken back: they are wanted as long as the process lives.
fn follow(platform: &Platform) -> Result<()> {
    let network = platform.clone();
    NetworkInformation::NetworkStatusChanged(&NetworkStatusChangedEventHandler::new(move |_| {
        // Told where it is the same, too: another network may have the same price.
        network.link.say(link());
        Ok(())
    }))?;
    let supply = platform.clone();
    PowerManager::PowerSupplyStatusChanged(&EventHandler::new(move |_, _| {
        supply.power.say(power());
        Ok(())
    }))?;
    Ok(())
}

fn link() -> Link {
    match connected() {
        Ok(Some(profile)) => profile.GetConnectionCost().and_then(|cost| price(&cost)).unwrap_or(Link::Unknown),
        Ok(None) => Link::Down,
        Err(_) => Link::Unknown,
    }
}

/// The connection to the internet or, where there is none, to a network at all: a classroom may have no more.
fn connected() -> Result<Option<ConnectionProfile>> {
    // Windows says "none" by an error that is no error.
    if let Ok(profile) = NetworkInformation::GetInternetConnectionProfile() {
        return Ok(Some(profile));
    }
    let local = |profile: &ConnectionProfile| {
        profile.GetNetworkConnectivityLevel().is_ok_and(|level| level != NetworkConnectivityLevel::None)
    };
    Ok(NetworkInformation::GetConnectionProfiles()?.into_iter().find(local))
}

fn price(cost: &ConnectionCost) -> Result<Link> {
    if cost.Roaming()? {
        return Ok(Link::Metered);
    }
    Ok(match cost.NetworkCostType()? {
        NetworkCostType::Unrestricted => Link::Unmetered,
        NetworkCostType::Fixed | NetworkCostType::Variable => Link::Metered,
        _ => Link::Unknown,
    })
}

fn power() -> Power {
    match PowerManager::PowerSupplyStatus() {
        Ok(PowerSupplyStatus::Adequate) => Power::Charging,
        Ok(PowerSupplyStatus::NotPresent | PowerSupplyStatus::Inadequate) => Power::Battery,
        _ => Power::Unknown,
    }
}
