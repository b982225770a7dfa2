//! Which source is asked after what has happened.

use std::time::Duration;

use carrel_model::TimeMs;

use super::Supply;
use crate::{Source, clock::Moment};

const NOW: Moment = after(0, 0);

/// So many milliseconds later by the time of day and by the steady clock.
const fn after(wall: i64, steady: u64) -> Moment {
    Moment { wall: TimeMs::from_ms(1_000_000 + wall), steady: Duration::from_millis(steady) }
}

fn source(url: &str) -> Source {
    Source::new(url.parse().unwrap())
}

fn supply(urls: &[&str]) -> Supply {
    let mut supply = Supply::default();
    supply.replace(urls.iter().map(|url| source(url)).collect(), NOW);
    supply
}

fn asked(supply: &Supply) -> String {
    supply.current().unwrap().source.url.to_string()
}

#[test]
fn turns_in_order_and_only_from_the_one_asked() {
    let mut supply = supply(&["http://a/", "file:///etc/passwd", "http://b/", "http://c/"]);
    assert_eq!((supply.len(), supply.answer().len()), (3, 4));
    let first = supply.current().unwrap().id;
    supply.turn_from(first);
    assert_eq!(asked(&supply), "http://b/");
    supply.turn_from(first);
    assert_eq!(asked(&supply), "http://b/", "two lanes may say the same");
    let second = supply.current().unwrap().id;
    supply.drop_source(second);
    assert_eq!(asked(&supply), "http://c/");
    supply.drop_source(first);
    assert_eq!(asked(&supply), "http://c/");
    assert!(supply.holds(supply.current().unwrap().id) && !supply.holds(second));
}

#[test]
fn a_liar_is_asked_only_for_what_others_lack() {
    let mut supply = supply(&["http://a/1", "http://b/1"]);
    let liar = source("http://a/1").url.origin();
    let other = source("http://b/1").url.origin();
    assert!(!supply.lied(&liar), "once may be chance");
    assert!(supply.lied(&liar));
    assert_eq!(asked(&supply), "http://b/1");
    assert_eq!(supply.other_than(std::slice::from_ref(&other)).unwrap().source.url.as_str(), "http://a/1");
    assert_eq!(supply.other_than(&[other, liar]).unwrap().source.url.as_str(), "http://b/1");
    supply.replace(vec![source("http://a/2"), source("http://b/2")], NOW);
    assert_eq!(asked(&supply), "http://b/2", "a new address is no new server");
    supply.replace(vec![source("http://a/3")], NOW);
    assert_eq!(asked(&supply), "http://a/3", "better than none");
}

#[test]
fn an_expiry_in_the_past_says_only_that_clocks_differ() {
    let mut supply = Supply::default();
    let mut late = source("http://a/");
    late.expires_at = Some(after(-1, 0).wall);
    supply.replace(vec![late.clone()], NOW);
    assert!(!supply.is_expired(after(1_000_000, 1_000_000)));
    late.expires_at = Some(after(2000, 0).wall);
    supply.replace(vec![late], NOW);
    assert!(!supply.is_expired(after(1999, 1999)));
    assert!(supply.is_expired(after(2000, 2000)));
}

#[test]
fn an_address_nobody_has_asked_ends_by_the_steady_clock_alone() {
    let mut signed = source("http://a/");
    signed.expires_at = Some(after(2000, 0).wall);
    let mut supply = Supply::default();
    supply.replace(vec![signed], NOW);
    let fresh = supply.current().unwrap();
    assert!(!supply.is_expired(after(1_000_000, 1)) && !fresh.is_expired(after(1_000_000, 1)));
    assert!(supply.is_expired(after(-1_000_000, 2000)) && fresh.is_expired(after(-1_000_000, 2000)));
    supply.note_asked(fresh.id);
    assert!(supply.is_expired(after(1_000_000, 1)), "the device may have slept");
    assert!(!fresh.is_expired(after(1_000_000, 1)), "whoever was sent before asks");
}
