//! Places are never exceeded and never forgotten; the urgent come first.

use std::time::Duration;

use proptest::prelude::*;

use super::{Host, SHARED_AT_ONCE, Way};
use crate::Urgency;

const NOW: Duration = Duration::from_secs(100);

fn fill(host: &mut Host, way: Way, now: Duration) -> usize {
    (0..1000).take_while(|_| host.enter(way, Urgency::Playing, now)).count()
}

#[test]
fn so_many_places_and_no_more() {
    let mut host = Host::new(4);
    assert_eq!((fill(&mut host, Way::Own, NOW), fill(&mut host, Way::Shared, NOW)), (4, SHARED_AT_ONCE));
    host.leave(Way::Own);
    assert!(host.enter(Way::Own, Urgency::Refresh, NOW));
}

#[test]
fn the_urgent_come_first_and_then_the_early() {
    let mut host = Host::new(1);
    assert!(host.enter(Way::Own, Urgency::Asked, NOW));
    let refresh = host.wait(Way::Own, Urgency::Refresh);
    let asked = host.wait(Way::Own, Urgency::Asked);
    let later = host.wait(Way::Own, Urgency::Asked);
    let playing = host.wait(Way::Own, Urgency::Playing);
    assert!(host.is_wanted(Way::Own, Urgency::Asked, false), "somebody wants to play");
    let mut order = Vec::new();
    for _ in 0..4 {
        host.leave(Way::Own);
        assert!(!host.enter(Way::Own, Urgency::Refresh, NOW), "others wait already");
        order.extend(host.admit(NOW));
        assert_eq!(host.admit(NOW), None);
    }
    assert_eq!(order, [playing, asked, later, refresh]);
}

#[test]
fn urgency_changes_while_waiting() {
    let mut host = Host::new(1);
    assert!(host.enter(Way::Own, Urgency::Asked, NOW));
    let one = host.wait(Way::Own, Urgency::Asked);
    let other = host.wait(Way::Own, Urgency::Refresh);
    assert!(!host.is_wanted(Way::Own, Urgency::Asked, false));
    assert!(host.is_wanted(Way::Own, Urgency::Asked, true), "a second lane makes room for a first one");
    host.change_urgency(other, Urgency::Playing);
    host.leave(Way::Own);
    assert_eq!(host.admit(NOW), Some(other));
    assert!(host.stop_waiting(one));
    assert!(!host.stop_waiting(one));
}

#[test]
fn limits_are_halved_once_and_rise_again() {
    let mut host = Host::new(4);
    assert_eq!(fill(&mut host, Way::Shared, NOW), 100);
    for _ in 0..100 {
        host.busy(NOW, Some(Duration::ZERO), NOW + Duration::from_secs(1));
        host.leave(Way::Shared);
    }
    let after = NOW + Duration::from_secs(1);
    assert_eq!(fill(&mut host, Way::Shared, after), 50, "all hundred answers mean one halving");
    (0..50).for_each(|_| host.leave(Way::Shared));
    let half_a_minute = after + Duration::from_secs(15);
    assert_eq!(fill(&mut host, Way::Shared, half_a_minute), 75);
    (0..75).for_each(|_| host.leave(Way::Shared));
    assert!(!host.is_idle(half_a_minute));
    assert!(host.is_idle(after + Duration::from_secs(60)));
    for _ in 0..20 {
        host.busy(after + Duration::from_secs(100), Some(Duration::ZERO), after + Duration::from_secs(100));
    }
    assert_eq!(fill(&mut host, Way::Own, after + Duration::from_secs(100)), 1, "one is always let in");
}

#[test]
fn requests_to_a_busy_host_follow_each_other_slower_and_then_faster_again() {
    let mut host = Host::new(4);
    assert!(host.enter(Way::Shared, Urgency::Asked, NOW) && host.enter(Way::Shared, Urgency::Asked, NOW));
    let mut now = NOW + Duration::from_millis(1);
    for _ in 0..2 {
        host.busy(NOW, None, now);
    }
    assert!(!host.enter(Way::Shared, Urgency::Asked, now), "not at once");
    assert_eq!(host.served_at(), None);
    let ticket = host.wait(Way::Shared, Urgency::Asked);
    assert_eq!(
        (host.admit(now), host.opens_in(now)),
        (None, Some(Duration::from_millis(50))),
        "two answers, one slowing"
    );
    now += Duration::from_millis(50);
    (0..2).for_each(|_| host.leave(Way::Shared));
    assert_eq!((host.opens_in(now), host.admit(now)), (None, Some(ticket)));
    assert!(!host.enter(Way::Shared, Urgency::Asked, now), "one by one");
    for _ in 0..50 {
        host.served(now);
    }
    assert_eq!(host.served_at(), Some(now));
    host.leave(Way::Shared);
    assert!(host.enter(Way::Shared, Urgency::Asked, now));
    host.leave(Way::Shared);
    assert!(host.enter(Way::Shared, Urgency::Asked, now), "as fast as ever");
    host.leave(Way::Shared);
    host.leave(Way::Shared);
    assert!(host.is_idle(now + Duration::from_secs(61)));
}

#[test]
fn retry_after_holds_for_everybody() {
    let mut host = Host::new(4);
    host.busy(NOW, Some(Duration::from_secs(20)), NOW);
    host.busy(NOW, Some(Duration::from_secs(5)), NOW);
    assert_eq!(host.not_before(), NOW + Duration::from_secs(20));
}

proptest! {
    #[test]
    fn places_add_up(events in prop::collection::vec((0_u8..5, 0_u8..3), 0..300)) {
        let mut host = Host::new(3);
        let (mut used, mut waiting, mut now) = (0_usize, Vec::new(), NOW);
        for (event, urgency) in events {
            let urgency = [Urgency::Playing, Urgency::Asked, Urgency::Refresh][usize::from(urgency)];
            match event {
                0 | 1 => {
                    if host.enter(Way::Own, urgency, now) {
                        used += 1;
                    } else {
                        waiting.push(host.wait(Way::Own, urgency));
                    }
                }
                2 if used > 0 => {
                    host.leave(Way::Own);
                    used -= 1;
                }
                3 => {
                    if let Some(ticket) = waiting.pop() {
                        prop_assert!(host.stop_waiting(ticket));
                    }
                }
                _ => {
                    now += Duration::from_secs(1);
                    host.busy(now, None, now);
                    // The pace is slower now: until the next one may come.
                    now += Duration::from_secs(5);
                }
            }
            while let Some(ticket) = {
                now += host.opens_in(now).unwrap_or_default();
                host.admit(now)
            } {
                prop_assert!(waiting.contains(&ticket));
                waiting.retain(|other| *other != ticket);
                used += 1;
            }
            prop_assert!(used <= 3);
            prop_assert!(used > 0 || waiting.is_empty(), "nobody waits for nothing");
        }
    }
}

#[test]
fn while_requests_are_kept_apart_the_urgent_come_first_whichever_way_they_travel() {
    let mut host = Host::new(4);
    assert!(host.enter(Way::Own, Urgency::Asked, NOW));
    host.busy(NOW, None, NOW);
    let refresh = host.wait(Way::Own, Urgency::Refresh);
    let playing = host.wait(Way::Shared, Urgency::Playing);
    host.leave(Way::Own);
    let mut now = NOW;
    for expected in [playing, refresh] {
        now += host.opens_in(now).unwrap();
        assert!(!host.enter(Way::Shared, Urgency::Refresh, now), "others wait for this moment");
        assert_eq!(host.admit(now), Some(expected));
        assert_eq!(host.admit(now), None, "one at a time");
    }
}
