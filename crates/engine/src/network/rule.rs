//! What the badge says, and how often to ask.

use std::time::Duration;

use crate::{ports::Link, sync::view::NetworkState};

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The service answered.
    Service,
    /// There is a network, but no service: refused, timed out, a captive portal, a gateway without its service.
    SomethingElse,
    /// Not even that: no route, no name.
    Nothing,
}

/// The badge after a probe. A link that the system knows to be there is never called offline.
pub(super) const fn state(link: Link, reached: Reached) -> NetworkState {
    match (link, reached) {
        (Link::Down, _) | (Link::Unknown, Reached::Nothing) => NetworkState::Offline,
        (_, Reached::Service) => NetworkState::Online,
        (_, Reached::SomethingElse | Reached::Nothing) => NetworkState::Limited,
    }
}

/// The pause before the next probe: short while things change, long when they stay as they are. A metered link is asked
/// less often while all is well.
pub(super) const fn pause(link: Link, failures: u32) -> Duration {
    Duration::from_secs(match (link, failures) {
        (Link::Metered, 0) => 15,
        (_, 0) => 4,
        (_, 1..=20) => 2,
        (_, 21..=60) => 10,
        _ => 60,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_badge_says_what_was_met() {
        let cases = [
            (Link::Unknown, Reached::Service, NetworkState::Online, "it answered"),
            (Link::Unknown, Reached::SomethingElse, NetworkState::Limited, "refused or a portal"),
            (Link::Unknown, Reached::Nothing, NetworkState::Offline, "no route"),
            (Link::Unmetered, Reached::Nothing, NetworkState::Limited, "the system knows better"),
            (Link::Down, Reached::Service, NetworkState::Offline, "the link went while the answer came"),
        ];
        for (link, reached, expected, why) in cases {
            assert_eq!(state(link, reached), expected, "{why}");
        }
    }

    #[test]
    fn a_change_is_noticed_within_five_seconds_at_first() {
        assert!(pause(Link::Unknown, 0) <= Duration::from_secs(5), "going");
        assert!(pause(Link::Unknown, 1) <= Duration::from_secs(5), "coming back");
        assert!(
            pause(Link::Unknown, 100) >= Duration::from_secs(30),
            "a service that is gone for good is left in peace"
        );
    }
}
