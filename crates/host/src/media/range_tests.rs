use http::{HeaderMap, HeaderName, header};

use super::range::{Wanted, wanted};

const TAG: &str = "\"abc\"";

fn ask(headers: &[(HeaderName, &str)]) -> Wanted {
    let headers: HeaderMap = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    wanted(&headers, TAG, 1000)
}

#[test]
fn reads_every_form_of_a_single_range() {
    for (value, expected) in [
        ("bytes=0-0", Wanted::Part(0..1)),
        ("bytes=0-499", Wanted::Part(0..500)),
        ("bytes=500-", Wanted::Part(500..1000)),
        ("bytes=-300", Wanted::Part(700..1000)),
        ("bytes=-5000", Wanted::Part(0..1000)),
        ("bytes=990-5000", Wanted::Part(990..1000)),
        ("bytes=990-18446744073709551615", Wanted::Part(990..1000)),
    ] {
        assert_eq!(ask(&[(header::RANGE, value)]), expected, "{value}");
    }
}

#[test]
fn a_part_that_does_not_exist_is_unsatisfiable() {
    for value in ["bytes=1000-", "bytes=1000-2000", "bytes=99999-"] {
        assert_eq!(ask(&[(header::RANGE, value)]), Wanted::Unsatisfiable, "{value}");
    }
}

#[test]
fn what_is_no_single_range_asks_for_everything() {
    for value in
        ["bytes=5-2", "lines=1-2", "bytes", "bytes=", "bytes=a-b", "bytes=0-1,5-6", "bytes=99999999999999999999-"]
    {
        assert_eq!(ask(&[(header::RANGE, value)]), Wanted::Whole, "{value}");
    }
    assert_eq!(ask(&[]), Wanted::Whole);
}

#[test]
fn a_range_holds_only_for_the_bytes_it_was_meant_for() {
    let range = (header::RANGE, "bytes=0-9");
    assert_eq!(ask(&[range.clone(), (header::IF_RANGE, TAG)]), Wanted::Part(0..10));
    for stale in ["\"old\"", "W/\"abc\"", "Fri, 20 Nov 2026 12:00:00 GMT"] {
        assert_eq!(ask(&[range.clone(), (header::IF_RANGE, stale)]), Wanted::Whole, "{stale}");
    }
}

#[test]
fn bytes_the_caller_has_are_not_sent_again() {
    for tags in [TAG, "*", "\"x\", \"abc\"", "W/\"abc\""] {
        assert_eq!(ask(&[(header::IF_NONE_MATCH, tags)]), Wanted::NotModified, "{tags}");
    }
    assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"x\"")]), Wanted::Whole);
}
