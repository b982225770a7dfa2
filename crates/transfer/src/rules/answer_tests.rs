//! No header, however wrong, leads to more than reading a body from some offset – or to a typed setback.

use carrel_model::TimeMs;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use super::{Answer, Asked, SKIP_LIMIT_BYTES, judge, refusal};
use crate::{Lie, rules::patience::Setback};

const MIB: u64 = 1 << 20;
const ASKED: Asked = Asked { start: 2 * MIB, size: 9 * MIB, any_skip: false };

fn answer(asked: Asked, status: u16, headers: &[(&'static str, &str)]) -> Answer {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    judge(asked, StatusCode::from_u16(status).unwrap(), &headers, TimeMs::from_ms(0))
}

#[test]
fn reads_ranges_that_contain_the_start() {
    for (range, skip) in [
        ("bytes 2097152-5242879/9437184", 0),
        ("bytes 2097152-2097152/*", 0),
        ("bytes 2097000-5242879/9437184", 152),
        // Unreadable is as good as missing: the hash will tell.
        ("bytes */9437184", 0),
        ("lines 1-2/3", 0),
        ("bytes 9-1/9437184", 0),
        ("bytes 18446744073709551616-18446744073709551617/9437184", 0),
    ] {
        assert_eq!(answer(ASKED, 206, &[("content-range", range)]), Answer::Body { skip, page: false }, "{range}");
    }
}

#[test]
fn refuses_ranges_of_something_else() {
    let lie = |lie| Answer::Setback(Setback::Lied(lie));
    assert_eq!(answer(ASKED, 206, &[("content-range", "bytes 2097153-5242879/9437184")]), lie(Lie::Range));
    assert_eq!(answer(ASKED, 206, &[("content-range", "bytes 0-2097151/9437184")]), lie(Lie::Range));
    assert_eq!(answer(ASKED, 206, &[("content-range", "bytes 2097152-5242879/9437185")]), lie(Lie::Length));
    assert_eq!(answer(ASKED, 206, &[("content-type", "multipart/byteranges; boundary=x")]), lie(Lie::Range));
    assert_eq!(answer(ASKED, 206, &[("content-encoding", "br")]), lie(Lie::Encoding));
    assert_eq!(answer(ASKED, 204, &[]), lie(Lie::Length));
}

#[test]
fn takes_the_whole_blob_when_the_way_is_short_or_the_only_one() {
    let far = Asked { start: 6 * MIB, ..ASKED };
    let whole = [("content-length", "9437184")];
    assert_eq!(answer(ASKED, 200, &whole), Answer::Body { skip: 2 * MIB, page: false });
    assert_eq!(answer(far, 200, &whole), Answer::Setback(Setback::RangeIgnored));
    assert_eq!(answer(Asked { any_skip: true, ..far }, 200, &whole), Answer::Body { skip: 6 * MIB, page: false });
    assert_eq!(answer(ASKED, 200, &[("content-length", "9437183")]), Answer::Setback(Setback::Lied(Lie::Length)));
}

#[test]
fn only_encodings_that_change_bytes_are_lies() {
    for plain in ["", "identity", "Identity", "aws-chunked", "aws-chunked, identity"] {
        let whole = answer(ASKED, 206, &[("content-encoding", plain)]);
        assert_eq!(whole, Answer::Body { skip: 0, page: false }, "{plain:?}");
    }
    for encoded in ["gzip", "aws-chunked,gzip", "identity, br", "x"] {
        let lie = Answer::Setback(Setback::Lied(Lie::Encoding));
        assert_eq!(answer(ASKED, 206, &[("content-encoding", encoded)]), lie, "{encoded:?}");
    }
}

#[test]
fn tells_a_page_from_a_blob_that_is_one() {
    let html = ("content-type", "Text/HTML; charset=utf-8");
    assert_eq!(answer(ASKED, 200, &[html, ("content-length", "52")]), Answer::Setback(Setback::Page));
    assert_eq!(answer(ASKED, 200, &[html, ("content-encoding", "gzip")]), Answer::Setback(Setback::Page));
    assert_eq!(answer(ASKED, 200, &[html]), Answer::Body { skip: 2 * MIB, page: true });
    let blob = answer(ASKED, 200, &[html, ("content-length", "9437184")]);
    assert_eq!(blob, Answer::Body { skip: 2 * MIB, page: false });
}

#[test]
fn reads_refusals() {
    let expired = b"<Error><Code>ExpiredToken</Code></Error>";
    assert_eq!(refusal(StatusCode::BAD_REQUEST, expired), Setback::Expired);
    assert_eq!(refusal(StatusCode::FORBIDDEN, b"<Error><Code>AccessDenied</Code></Error>"), Setback::Refused);
    assert_eq!(refusal(StatusCode::BAD_REQUEST, b"\xff\xfe"), Setback::Rejected { status: 400 });
}

proptest! {
    #[test]
    fn any_headers_give_a_verdict(
        status in 200_u16..600,
        start in 0_u64..9 * MIB,
        values in prop::collection::vec("[ -~]{0,40}|bytes [0-9]{1,21}-[0-9]{1,21}/([0-9]{1,21}|\\*)", 5),
        any_skip: bool,
    ) {
        let names = ["content-range", "content-length", "content-type", "content-encoding", "retry-after"];
        let headers: Vec<(&'static str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        let asked = Asked { start, size: 9 * MIB, any_skip };
        match answer(asked, status, &headers) {
            Answer::Body { skip, .. } => {
                prop_assert!(matches!(status, 200 | 206));
                prop_assert!(skip <= start);
                prop_assert!(any_skip || skip <= SKIP_LIMIT_BYTES);
            }
            Answer::Setback(Setback::Busy { retry_after: Some(wait), .. }) => {
                prop_assert!(wait <= super::RETRY_AFTER_LIMIT);
            }
            Answer::Refusal(_) | Answer::Setback(_) => {}
        }
    }
}
