//! What NetworkManager and UPower mean by what they say. Pure but for a look at the kernel's interfaces.

use std::path::Path;

use carrel_engine::ports::{Link, Power};
use zbus::zvariant::OwnedValue;

use super::Properties;

/// The part of NetworkManager's properties that matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NetworkSaid {
    /// `NMState`: 10–30 without, 40 on the way, 50–70 connected ever further.
    state: u32,
    /// `NMMetered`: 1 yes, 2 no, 3 and 4 the same as guesses.
    metered: u32,
    /// `NMConnectivityState`: 2 is a portal.
    connectivity: u32,
    /// Such as `802-11-wireless` or `gsm`.
    kind: String,
}

impl NetworkSaid {
    pub(super) fn read(said: &Properties) -> Self {
        let number = |name: &str| said.get(name).and_then(|value| u32::try_from(value).ok()).unwrap_or_default();
        let kind = said.get("PrimaryConnectionType").and_then(|value: &OwnedValue| <&str>::try_from(value).ok());
        Self {
            state: number("State"),
            metered: number("Metered"),
            connectivity: number("Connectivity"),
            kind: kind.unwrap_or_default().to_owned(),
        }
    }

    /// The link. NetworkManager calls a machine disconnected whose network somebody else looks after: `another` tells
    /// whether there is such a one.
    pub(super) fn link(&self, another: impl FnOnce() -> bool) -> Link {
        match (self.state, self.metered) {
            (10..=40, _) if another() => Link::Unknown,
            (10..=40, _) => Link::Down,
            (50.., 1 | 3) => Link::Metered,
            (50.., 2 | 4) => Link::Unmetered,
            (50.., _) if matches!(self.kind.as_str(), "gsm" | "cdma" | "wimax" | "bluetooth") => Link::Metered,
            _ => Link::Unknown,
        }
    }
}

pub(super) fn power(said: &Properties) -> Power {
    match said.get("OnBattery").map(bool::try_from) {
        Some(Ok(true)) => Power::Battery,
        Some(Ok(false)) => Power::Charging,
        _ => Power::Unknown,
    }
}

/// Whether the kernel has an interface that is up, besides the machine's own.
pub(super) fn another_interface_is_up(interfaces: &Path) -> bool {
    let Ok(found) = std::fs::read_dir(interfaces) else { return false };
    found.flatten().any(|interface| {
        let state = std::fs::read_to_string(interface.path().join("operstate"));
        interface.file_name() != "lo" && state.is_ok_and(|state| state.trim() == "up")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(state: u32, metered: u32, kind: &str, another: bool) -> Link {
        NetworkSaid { state, metered, connectivity: 4, kind: kind.to_owned() }.link(|| another)
    }

    #[test]
    fn metered_is_metered_even_where_it_is_a_guess() {
        assert_eq!([1, 3].map(|metered| link(70, metered, "802-11-wireless", false)), [Link::Metered; 2]);
        assert_eq!([2, 4].map(|metered| link(70, metered, "gsm", false)), [Link::Unmetered; 2], "its owner said so");
        assert_eq!(link(70, 0, "gsm", false), Link::Metered, "a phone's network costs");
        assert_eq!(link(70, 0, "802-3-ethernet", false), Link::Unknown, "nobody said");
        assert_eq!(link(60, 4, "", false), Link::Unmetered, "a network without the internet is one");
    }

    #[test]
    fn disconnected_is_down_unless_somebody_else_looks_after_the_network() {
        for state in [10, 20, 30, 40] {
            assert_eq!(link(state, 0, "", false), Link::Down, "{state}");
            assert_eq!(link(state, 0, "", true), Link::Unknown, "{state}");
        }
        assert_eq!(link(0, 0, "", true), Link::Unknown);
        assert_eq!(NetworkSaid::default().link(|| false), Link::Unknown, "nobody answered");
    }
}
